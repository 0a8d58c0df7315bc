"""The command `leukoscope export`."""

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_app.bundle import open_bundle, write_bundle
from edge_app.errors import ExportError, GateError, LeukoscopeError
from edge_app.manifest import Format, Manifest, Measured, Precision
from export.calibration import DEFAULT_IMAGES

if TYPE_CHECKING:
    from export.export import Run

FORMATS: tuple[Format, ...] = ("tflite", "onnx", "openvino")
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


@click.command(epilog="Example: leukoscope export runs/scene --format tflite --precision int8 --output bundles")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "formats",
    type=click.Choice(FORMATS),
    multiple=True,
    help="May be given more than once; default all.",
)
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(PRECISIONS),
    multiple=True,
    help="May be given more than once; default all.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default="bundles",
    show_default=True,
    help="Folder for the bundles.",
)
@click.option("--data", type=click.Path(path_type=Path), help="Where the run's data set lies now, if it was moved.")
@click.option("--calibration-images", type=click.IntRange(1), default=DEFAULT_IMAGES, show_default=True)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the choice of calibration images."
)
@click.option(
    "--with-figures-of",
    "others",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A bundle whose own figures the card shall carry too, such as the same recipe's on the other split.",
)
@click.option("--replace", is_flag=True, help="Overwrite bundles of the same name.")
def command(
    run: Path,
    formats: tuple[Format, ...],
    precisions: tuple[Precision, ...],
    output: Path,
    data: Path | None,
    calibration_images: int,
    seed: int,
    others: tuple[Path, ...],
    replace: bool,
) -> None:
    """Turn a finished run into bundles, each held against its source model; exit code 11 if one is not certified.

    One that can't be made does not stop the others; the exit code is 10 then.
    """
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before tensorflow is imported
    from rich.console import Console
    from rich.progress import Progress

    from export.export import open_run

    also = [figures for path in others for figures in _own_figures(path)]
    opened = open_run(run, data, calibration_images=calibration_images, seed=seed)
    wanted = list(product(formats or FORMATS, precisions or PRECISIONS))
    missed, failures = [], []
    output.mkdir(parents=True, exist_ok=True)
    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        task = progress.add_task("", total=len(wanted))
        for model_format, precision in wanted:
            progress.update(task, description=f"{model_format} {precision}")
            try:
                manifest = _export(opened, model_format, precision, also, output, replace)
            except LeukoscopeError as error:
                failures.append(f"{model_format} {precision}: {error}")
                click.echo(f"{model_format} {precision}: FAILED, {error}")
            else:
                if not manifest.gate.certified:
                    missed.append(manifest.name)
            progress.advance(task)
    if failures:
        raise ExportError("\n  ".join([f"{len(failures)} of {len(wanted)} bundles were not made:", *failures]))
    if missed:
        raise GateError(f"written but not certified: {', '.join(missed)}; use a higher precision")


def _export(
    run: "Run",
    model_format: Format,
    precision: Precision,
    also: list[Measured],
    output: Path,
    replace: bool,
) -> Manifest:
    """Make and write one bundle, say on a line what the gate found, and return its manifest."""
    from export.export import make_bundle

    bundle = make_bundle(run, model_format, precision, also)
    gate, manifest = bundle.manifest.gate, bundle.manifest
    path = output / f"{manifest.name}.leuko"
    write_bundle(path, bundle, replace=replace)
    size = sum(member.bytes for name, member in manifest.files.items() if name.startswith("model."))
    click.echo(
        f"{path}: {size:,} bytes, {'certified' if gate.certified else 'NOT certified'}, same label as its source on "
        f"{gate.agreement:.2%} of {gate.images} validation images, accuracy {100 * gate.accuracy_drop:+.2f} points "
        f"lower, probabilities at most {gate.largest_probability_difference:.3f} apart"
    )
    return manifest


def _own_figures(path: Path) -> list[Measured]:
    """Return what was measured on a bundle itself, marked with its name."""
    manifest = open_bundle(path).manifest
    return [
        each.model_copy(update={"note": manifest.name})
        for each in manifest.measured
        if each.model == "bundle" and not each.note
    ]
