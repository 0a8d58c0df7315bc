"""The command `leukoscope evaluate`."""

from pathlib import Path
from typing import Any

import click

from benchmarks.run_folder import Evaluation, read_run
from train.evaluation import evaluate
from train.report import REPORT


@click.command(epilog="Example: leukoscope evaluate runs/scene --with runs/random")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Where the run's data set lies now, if it was moved.")
@click.option(
    "--with",
    "sibling",
    type=click.Path(path_type=Path),
    help="An evaluated run by the same recipe on the other split, to stand beside this one in the report.",
)
@click.option(
    "--robustness/--no-robustness",
    default=True,
    show_default=True,
    help="Also judge test images made worse in stain, light, focus, noise and JPEG, each at three strengths.",
)
@click.option(
    "--robustness-images",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="How many of each class, drawn by a seed; each is judged 22 times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the evaluation as one JSON object.")
def command(
    run: Path, data: Path | None, sibling: Path | None, robustness: bool, robustness_images: int, as_json: bool
) -> None:
    """Measure a finished run on its validation and test images, and fit temperature and limits.

    Writes evaluation.json, metrics.json and report.html into the run's folder.
    """
    evaluation = evaluate_with_bar(run, data, sibling=sibling, robustness_images=robustness_images if robustness else 0)
    if as_json:
        click.echo(evaluation.model_dump_json())
    else:
        print_evaluation(evaluation, run)


def evaluate_with_bar(run: Path, data: Path | None = None, **options: Any) -> Evaluation:
    """Evaluate a run while a bar on stderr says how far it is; options: see `train.evaluation.evaluate`."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("judging", total=None)
        return evaluate(
            run, data, on_images=lambda done, total: progress.update(bar, completed=done, total=total), **options
        )


def print_evaluation(evaluation: Evaluation, run: Path) -> None:
    """Print figures with 95 % intervals and the confusion matrices."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    classes = read_run(run).classes
    table = Table("figure, % (95 % interval)", *(f"{each.part}, {each.images} images" for each in evaluation.measured))
    for name in dict.fromkeys(name for each in evaluation.measured for name in each.figures):
        cells = [
            f"{100 * figure.value:.2f} ({100 * (figure.low or 0):.1f} to {100 * (figure.high or 0):.1f})"
            if figure
            else "–"  # a part without images of a class
            for figure in (each.figures.get(name) for each in evaluation.measured)
        ]
        table.add_row(name, *cells)
    console.print(table)
    for part, counts in evaluation.confusion.items():
        table = Table(f"{part}: truth below", *(f"called {name}" for name in classes))
        for name, row in zip(classes, counts, strict=True):
            table.add_row(name, *map(str, row))
        console.print(table)
    decision = evaluation.decision
    console.print(f"temperature {decision.temperature}, threshold {decision.threshold} for {decision.positive}")
    console.print(f"The report: {run / REPORT} (private: it shows images)")
