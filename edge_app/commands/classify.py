"""The command `leukoscope classify`."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from edge_app.cameras import Frame
from edge_app.commands.options import classifier_options, load_classifier, show
from edge_app.errors import InputError
from edge_app.images import find_images, read_image
from edge_app.scale import Ruler


@click.command(epilog="Example: leukoscope classify smear.jpg folder/ --json > verdicts.jsonl")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--um-per-pixel",
    type=click.FloatRange(0, 1000, min_open=True),
    help="Micrometres a pixel of all the images; without it the red cells of each are measured.",
)
@classifier_options
def command(
    paths: tuple[Path, ...], um_per_pixel: float | None, bundle: Path | None, threads: int, as_json: bool
) -> None:
    """Judge image files and folders of them, a line each; broken ones are listed at the end (exit code 3).

    An image that shows more than the model's fields do is cut into such fields, and judged by them.
    """
    from rich.console import Console
    from rich.progress import Progress

    classifier = load_classifier(bundle, threads)
    failures: list[str] = []

    def failed(path: Path, error: InputError) -> None:
        failures.append(str(error))
        if as_json:
            click.echo(json.dumps({"source": str(path), "error": str(error)}))

    files: list[Path] = []
    for path in paths:
        try:
            files += find_images(path)
        except InputError as error:
            failed(path, error)
    total = len(files) + len(failures)
    with Progress(
        console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    ) as progress:
        task = progress.add_task("classify", total=len(files), visible=len(files) > 1)
        for index, path in enumerate(files):
            try:
                line = show(classifier.judge(_read(path, index), Ruler(um_per_pixel)), as_json)
            except InputError as error:
                failed(path, error)
            else:
                click.echo(line)
            progress.advance(task)
    if failures:
        raise InputError(
            "\n  ".join([f"{len(failures)} of {total} could not be judged; mend or remove them:", *failures])
        )


def _read(path: Path, index: int) -> Frame:
    started = time.monotonic_ns()
    image = read_image(path)
    taken = time.monotonic_ns()
    return Frame(image, index, taken, datetime.now(UTC), str(path), (taken - started) / 1e6, {})
