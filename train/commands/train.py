"""The command `leukoscope train`."""

from pathlib import Path

import click

from edge_app.errors import TrainingError
from train.commands.evaluate import evaluate_with_bar, print_evaluation
from train.recipe import load_recipe, parse_changes, recipe_names
from train.run import resume, train


@click.command(epilog="Example: leukoscope train yolo11n --data datasets/scene --output runs/scene --from-scratch")
@click.argument("recipe_name", metavar="RECIPE", type=click.Choice(recipe_names()))
@click.option("--data", type=click.Path(path_type=Path), help="A data set made by leukoscope dataset build.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="The run's new folder; default runs/RECIPE.")
@click.option("--weights", type=click.Path(path_type=Path), help="Weights to start from: .pt, or .h5 and .keras.")
@click.option("--trust-weights", is_flag=True, help="Load a .pt of --weights although the file can run code.")
@click.option("--from-scratch", is_flag=True, help="Start from random weights, with the recipe made for that.")
@click.option("--epochs", type=click.IntRange(1), help="Instead of the recipe's.")
@click.option("--batch", type=click.IntRange(1), help="Instead of the recipe's.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="Instead of the recipe's.")
@click.option("--seed", type=click.IntRange(0), help="Instead of the recipe's.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Any other field of the recipe, as in augmentation.rotation_degrees=90; give it as often as you like.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, the number of a GPU, or several as in 0,1.")
@click.option(
    "--resume",
    "resuming",
    is_flag=True,
    help="Go on with a run that was cut off, by its own recipe, data set and weights whatever else is given; --epochs "
    "may end it sooner or later.",
)
@click.option("--show-recipe", is_flag=True, help="Print the resolved recipe and stop.")
def command(
    recipe_name: str,
    data: Path | None,
    output: Path | None,
    weights: Path | None,
    trust_weights: bool,
    from_scratch: bool,
    epochs: int | None,
    batch: int | None,
    learning_rate: float | None,
    seed: int | None,
    assignments: tuple[str, ...],
    device: str,
    resuming: bool,
    show_recipe: bool,
) -> None:
    """Train a model by a recipe, then measure it as leukoscope evaluate does.

    Keras trains on tensorflow where that is installed, else on torch; KERAS_BACKEND chooses.
    """
    if from_scratch and weights:
        raise click.UsageError("--from-scratch starts from random weights; leave it out, or --weights")
    if from_scratch and not recipe_name.endswith("-scratch"):
        recipe_name = f"{recipe_name}-scratch"
    folder = output or Path("runs", recipe_name)
    if resuming:
        resume(folder, epochs=epochs, device=device)
        print_evaluation(evaluate_with_bar(folder), folder)
        return
    given = {"epochs": epochs, "batch": batch, "learning_rate": learning_rate, "seed": seed}
    changes = parse_changes(assignments) | {name: value for name, value in given.items() if value is not None}
    recipe = load_recipe(recipe_name, **changes)
    if show_recipe:
        click.echo(recipe.model_dump_json(indent=1))
        return
    if data is None:
        raise TrainingError("name a data set with --data; leukoscope dataset build makes one")
    train(
        data,
        folder,
        recipe,
        weights=weights,
        trust_weights=trust_weights,
        device=device,
        on_warning=lambda text: click.echo(f"Note: {text}", err=True),
    )
    print_evaluation(evaluate_with_bar(folder), folder)
