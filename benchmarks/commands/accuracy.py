"""The command `leukoscope bench accuracy`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_app.runtimes import MAX_THREADS

if TYPE_CHECKING:
    from benchmarks.labelled import PartOrAll
    from benchmarks.results import AccuracyResults, PerturbationKind
    from edge_app.manifest import Figure

WORST = 10  # mistakes that are listed


@click.command(epilog="Example: leukoscope bench accuracy a.leuko b.leuko --data datasets/scene --output accuracy.json")
@click.argument("bundles", metavar="[BUNDLE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="A built data set, a published one as it was unpacked, or a folder with a subfolder a class.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Where the images lie that the data set was built from: judged from the file on, not from the prepared ones.",
)
@click.option(
    "--part",
    type=click.Choice(["test", "val", "train", "all"]),
    default="test",
    show_default=True,
    help="Of a data set.",
)
@click.option(
    "--perturb",
    "kinds",
    type=click.Choice(["blur", "brightness", "white-balance", "noise", "stain", "illumination", "jpeg"]),
    multiple=True,
    help="Judge the images made worse too, at three strengths; may be repeated.",
)
@click.option("--threads", type=click.IntRange(0, MAX_THREADS), default=0, help="Of the runtime; 0: all cores.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="A JSON file for the results.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
def command(
    bundles: tuple[Path, ...],
    data: Path,
    images: Path | None,
    part: "PartOrAll",
    kinds: "tuple[PerturbationKind, ...]",
    threads: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Measure bundles on images of known class, as this device judges them; abstentions are counted.

    Without a bundle, the shipped one. Several must be of one task. Ctrl-C keeps the bundles that judged all images.
    """
    from rich.console import Console
    from rich.progress import Progress

    from benchmarks.accuracy import measure_accuracy
    from benchmarks.result_files import check_output, write_results
    from edge_app.bundle import default_bundle_path

    if output:
        check_output(output)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("reading", total=None)
        results = measure_accuracy(
            bundles or (default_bundle_path(),),
            data,
            part=part,
            originals=images,
            kinds=tuple(dict.fromkeys(kinds)),
            threads=threads,
            on_progress=lambda done, total, name: progress.update(bar, completed=done, total=total, description=name),
        )
    if output:
        write_results(output, results)
    if as_json:
        click.echo(results.model_dump_json())
    else:
        print_accuracy(results)


def print_accuracy(results: "AccuracyResults") -> None:
    """Print a table with a line a run, then the surest mistakes on the images as they are, and what is invalid."""
    from rich.console import Console
    from rich.table import Table

    # Piped output is read by programs that wrap by themselves.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 1000)
    data = results.data
    counts = ", ".join(f"{count} {name}" for name, count in data.images.items())
    console.print(f"{data.name}{f', part {data.part}' if data.part else ''}: {counts}; judged from {data.judged_from}")
    table = Table(
        "%, 95 % interval", "accuracy", "coverage", "of answered", "abstentions wrong", "same label", box=None
    )
    for run in results.runs:
        worse = f", {run.perturbation.kind} {run.perturbation.strength}" if run.perturbation else ""
        table.add_row(
            f"{run.bundle.name}{worse}",
            _percent(run.figures["accuracy"]),
            _percent(run.coverage),
            _percent(run.answered["accuracy"]) if run.answered else "",
            _percent(run.strict["accuracy"]),
            ", ".join(f"{100 * each.same_label.value:.1f} {each.name}" for each in run.agreement),
        )
    console.print(table)
    for run in results.runs:
        if run.perturbation is None:
            rest = {name: figure for name, figure in run.figures.items() if name != "accuracy"}
            console.print(f"{run.bundle.name}: " + ", ".join(f"{name} {_percent(each)}" for name, each in rest.items()))
            for each in sorted(run.mistakes, key=lambda mistake: -mistake.probability)[:WORST]:
                console.print(f"  {each.image}: {each.truth}, called {each.named} at {each.probability:.1%}")
            for reason in run.invalid:
                console.print(f"  invalid: {reason}")
            if run.held_out is None:
                console.print("  not known whether the bundle was trained with these images")


def _percent(figure: "Figure") -> str:
    interval = (
        "" if figure.low is None or figure.high is None else f" ({100 * figure.low:.1f} to {100 * figure.high:.1f})"
    )
    return f"{100 * figure.value:.1f}{interval}"
