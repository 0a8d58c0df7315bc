"""The command `leukoscope export`."""

from pathlib import Path

import click

from edge_app.bundle import open_bundle, write_bundle
from edge_app.errors import GateError
from edge_app.manifest import Format, Measured, Precision
from export.calibration import DEFAULT_IMAGES


@click.command(epilog="Example: leukoscope export runs/scene --format tflite --precision int8 --output bundles")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "formats",
    type=click.Choice(["tflite", "onnx"]),
    multiple=True,
    help="May be given twice; default both.",
)
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(["fp32", "int8"]),
    multiple=True,
    help="May be given twice; default both.",
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
    """Turn a finished run into bundles, each held against its source model; exit code 11 if one is not certified."""
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before tensorflow is imported
    from export.export import make_bundle, open_run

    also = [figures for path in others for figures in _own_figures(path)]
    opened = open_run(run, data, calibration_images=calibration_images, seed=seed)
    failed = []
    for model_format in formats or ("tflite", "onnx"):
        for precision in precisions or ("fp32", "int8"):
            bundle = make_bundle(opened, model_format, precision, also)
            gate, manifest = bundle.manifest.gate, bundle.manifest
            path = output / f"{manifest.name}.leuko"
            output.mkdir(parents=True, exist_ok=True)
            write_bundle(path, bundle, replace=replace)
            finding = (
                f"same label as its source on {gate.agreement:.2%} of {gate.images} validation images, accuracy "
                f"{100 * gate.accuracy_drop:+.2f} points lower, probabilities at most "
                f"{gate.largest_probability_difference:.3f} apart"
            )
            size = manifest.files[manifest.model_file].bytes
            click.echo(f"{path}: {size:,} bytes, {'certified' if gate.certified else 'NOT certified'}, {finding}")
            if not gate.certified:
                failed.append(f"{manifest.name} ({finding})")
    if failed:
        raise GateError(f"written but not certified: {'; '.join(failed)}; use a higher precision")


def _own_figures(path: Path) -> list[Measured]:
    """Return what was measured on a bundle itself, marked with its name."""
    manifest = open_bundle(path).manifest
    return [
        each.model_copy(update={"note": manifest.name})
        for each in manifest.measured
        if each.model == "bundle" and not each.note
    ]
