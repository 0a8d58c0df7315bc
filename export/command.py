"""The command `leukoscope export`."""

import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_app.bundle import open_bundle, write_bundle
from edge_app.disk import check_folder
from edge_app.errors import ExportError, GateError, LeukoscopeError
from edge_app.manifest import Format, Manifest, Measured, Precision, Target
from export.calibration import DEFAULT_IMAGES

if TYPE_CHECKING:
    from export.export import Run
    from export.quantising import Progress as Show

FORMATS: tuple[Format, ...] = ("tflite", "onnx", "openvino")
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
TARGETS: tuple[Target, ...] = ("portable", "x86", "arm")


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
@click.option(
    "--target",
    type=click.Choice(TARGETS),
    default="portable",
    show_default=True,
    help="Whose instructions the int8 of ONNX suits: portable is right everywhere, x86 wants VNNI.",
)
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
    target: Target,
    calibration_images: int,
    seed: int,
    others: tuple[Path, ...],
    replace: bool,
) -> None:
    """Turn a finished run into bundles, each held against its source model; exit code 11 if one is not certified.

    One that can't be made does not stop the others; the exit code is 10 then. Of an int8 model that differs too much,
    some layers are left in float, at most eight, and the manifest says which.
    """
    import os

    # before either is imported
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    from rich.console import Console
    from rich.progress import Progress

    from export.export import open_run

    also = [figures for path in others for figures in _own_figures(path)]
    opened = open_run(run, data, calibration_images=calibration_images, seed=seed, target=target)
    try:
        check_folder(output)
    except OSError as error:
        raise ExportError(f"{output} can't be written ({error.strerror}); give --output a folder of yours") from error
    wanted = list(product(formats or FORMATS, precisions or PRECISIONS))
    made: list[Manifest] = []
    failures = []
    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        whole, step = progress.add_task("", total=len(wanted)), progress.add_task("", total=1.0)

        def show(text: str, share: float) -> None:
            progress.update(step, description=text, completed=share)

        for model_format, precision in wanted:
            progress.update(whole, description=f"{model_format} {precision}")
            try:
                made.append(_export(opened, model_format, precision, also, output, replace, show))
            except LeukoscopeError as error:
                failures.append(f"{model_format} {precision}: {error}")
                click.echo(f"{model_format} {precision}: FAILED, {error}")
            progress.advance(whole)
    if len(made) > 1:
        _print_table(made)
    missed = [each.name for each in made if not each.gate.certified]
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
    show: "Show",
) -> Manifest:
    """Make and write one bundle, say on a line what the gate found, and return its manifest."""
    from export.export import bundle_name, make_bundle

    path = output / f"{bundle_name(run, model_format, precision)}.leuko"
    if path.exists() and not replace:
        raise ExportError(f"{path} exists; say --replace, or give another folder with --output")
    bundle = make_bundle(run, model_format, precision, also, show)
    gate, manifest = bundle.manifest.gate, bundle.manifest
    float_layers = manifest.calibration.float_layers if manifest.calibration else ()
    output.mkdir(parents=True, exist_ok=True)
    write_bundle(path, bundle, replace=replace)
    verdict = "certified" if gate.certified else "NOT certified"
    left = f", in float: {', '.join(float_layers)}" if float_layers else ""
    click.echo(
        f"{path}: {_size(manifest):,} bytes, {verdict}, same label as its source on {gate.agreement:.2%} of "
        f"{gate.images} validation images, accuracy {gate.accuracy_change:+.2f} points, probabilities at "
        f"most {gate.largest_probability_difference:.3f} apart{left}"
    )
    return manifest


def _print_table(made: list[Manifest]) -> None:
    """Print a line a bundle: what the gate found, and what the model costs beside its network in float32."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "bundle", "certified", "agreement %", "accuracy, points", "MB", "of fp32", "p50 ms", "fp32's", box=None
    )
    for manifest in made:
        gate, beside = manifest.gate, manifest.gate.beside
        table.add_row(
            manifest.name,
            "yes" if gate.certified else "NO",
            f"{100 * gate.agreement:.2f}",
            f"{gate.accuracy_change:+.2f}",
            f"{_size(manifest) / 1e6:.1f}",
            *(
                (f"{beside.model_bytes / beside.fp32_bytes:.0%}", f"{beside.p50_ms:.1f}", f"{beside.fp32_p50_ms:.1f}")
                if beside
                else ("", "", "")
            ),
        )
    # piped output is read by programs that wrap by themselves
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 1000).print(table)


def _size(manifest: Manifest) -> int:
    return sum(member.bytes for name, member in manifest.files.items() if name.startswith("model."))


def _own_figures(path: Path) -> list[Measured]:
    """Return what was measured on a bundle itself, marked with its name."""
    manifest = open_bundle(path).manifest
    return [
        each.model_copy(update={"note": manifest.name})
        for each in manifest.measured
        if each.model == "bundle" and not each.note
    ]
