"""The command `leukoscope run`."""

import signal
from pathlib import Path
from types import FrameType

import click

from edge_app.cameras import list_cameras, open_camera
from edge_app.commands.options import classifier_options, load_classifier, show
from edge_app.errors import CameraError


@click.command(
    epilog="Example: leukoscope run --source 'v4l2:///dev/video0?width=1280&height=960' --json; "
    "leukoscope run --source smears/ --every-frame"
)
@click.option(
    "--source",
    help="A camera, file or folder, such as v4l2:///dev/video0, 0, PATH or demo:; without it the first camera found.",
)
@click.option("--every-frame", is_flag=True, help="Judge each frame of a video instead of the newest one.")
@click.option("--frames", type=click.IntRange(1), help="End after so many verdicts.")
@click.option(
    "--open-timeout",
    type=click.FloatRange(0, 3600, min_open=True),
    default=10.0,
    show_default=True,
    help="Seconds a camera may take to open.",
)
@click.option(
    "--read-timeout",
    type=click.FloatRange(0, 3600, min_open=True),
    default=5.0,
    show_default=True,
    help="Seconds without a frame until a camera counts as lost.",
)
@classifier_options
def command(
    source: str | None,
    every_frame: bool,
    frames: int | None,
    open_timeout: float,
    read_timeout: float,
    bundle: Path | None,
    threads: int,
    as_json: bool,
) -> None:
    """Judge the frames of a camera, a verdict a frame, until the source ends, Ctrl-C or SIGTERM."""
    classifier = load_classifier(bundle, threads)
    with open_camera(
        source or _first_camera(),
        every_frame=every_frame,
        open_timeout_s=open_timeout,
        read_timeout_s=read_timeout,
        on_event=lambda text: click.echo(text, err=True),
    ) as camera:

        def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            camera.close()
            signal.signal(number, signal.SIG_DFL)  # the second time it is meant

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        judged = labelled = 0
        last = -1
        for frame in camera:
            verdict = classifier.judge(frame)
            click.echo(show(verdict, as_json))
            judged += 1
            labelled += verdict.judgement.label is not None
            last = frame.sequence
            if judged == frames:
                break
    click.echo(
        f"{judged} frames judged: {labelled} labelled, {judged - labelled} indeterminate; "
        f"{last + 1 - judged} passed over",
        err=True,
    )


def _first_camera() -> str:
    found = list_cameras()
    if not found:
        raise CameraError("no camera found: plug one in, or name a source with --source (demo: plays drawn frames)")
    click.echo(f"source: {found[0].uri} ({found[0].name})", err=True)
    return found[0].uri
