"""The command `leukoscope bench peers`."""

from pathlib import Path

import click

from benchmarks.commands.sizes import DEFAULT, EXCLUSIVE, SIZE
from benchmarks.latency import PRESETS
from benchmarks.peers_results import PeersResults
from benchmarks.report_tables import peers_table
from benchmarks.results import PresetName
from edge_app.preprocessing import Image

DRAWN = 4


@click.command(epilog="Example: leukoscope bench peers --run runs/scene --output peers.json")
@click.argument("bundles", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--run",
    required=True,
    type=click.Path(path_type=Path),
    help="The training run that the bundles were exported from: its weights go the other ways too.",
)
@click.option("--frames", type=click.Path(path_type=Path), help="An image or a folder of them; else fields are drawn.")
@click.option("--size", type=SIZE, metavar="WxH", help="Of drawn fields, in pixels; default 1280x960.")
@click.option(
    "--preset", type=click.Choice(list(PRESETS)), default="quick", show_default=True, help="Length for a way."
)
@click.option("--rounds", type=click.IntRange(1, 100), default=5, show_default=True, help="Processes for a way.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write everything that was measured, as JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print the same JSON in place of the table.")
def command(
    bundles: tuple[Path, ...],
    run: Path,
    frames: Path | None,
    size: tuple[int, int] | None,
    preset: PresetName,
    rounds: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Time other ways to a verdict beside ours, with the same weights, on the same frames, in one interleaved run.

    The others are Ultralytics on its own exports, OpenCV and ONNX Runtime put together by hand, OpenCV's own network
    module and the published study's steps; the bare call of the runtime is the floor. Without BUNDLES ours is the
    shipped one. The first bundle is what all are compared with. A way whose library is not installed is listed as such.
    """
    from rich.console import Console
    from rich.progress import Progress

    from benchmarks.peers import measure
    from benchmarks.result_files import check_output, write_results
    from edge_app.bundle import default_bundle_path, open_bundle

    if frames and size:
        raise click.UsageError(EXCLUSIVE)
    if output:
        check_output(output)
    opened = [open_bundle(path) for path in bundles or (default_bundle_path(),)]
    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        task = progress.add_task("reading frames", total=None)

        def notify(done: int, total: int, text: str) -> None:
            progress.update(task, completed=done, total=total, description=text)

        images = _read(frames) if frames else _draw(size or DEFAULT)
        results = measure(run, opened, images, rounds=rounds, minimum=PRESETS[preset], notify=notify)
    if output:
        write_results(output, results)
    click.echo(results.model_dump_json(indent=1) if as_json else _show(results))


def _show(results: PeersResults) -> str:
    """Return the figures as a table in Markdown, and what they stand on."""
    size = f" of {results.size} pixels" if results.size else ""
    return (
        f"{results.frames} frames{size}, {results.rounds} rounds on {results.environment.device}; × is relative to the "
        f"first row.\n\n{peers_table(results).markdown()}"
    )


def _read(path: Path) -> list[Image]:
    from edge_app.images import find_images, read_image

    return [read_image(each) for each in find_images(path)]


def _draw(size: tuple[int, int]) -> list[Image]:
    from benchmarks.reels import check_size
    from edge_app.slides import Kind
    from edge_app.smears import draw_smear

    check_size(*size)
    kinds: tuple[Kind, ...] = ("healthy", "leukaemic")
    return [draw_smear(n, kind=kinds[n % 2], width=size[0], height=size[1]).image for n in range(DRAWN)]
