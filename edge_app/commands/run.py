"""The command `leukoscope run`."""

import gc
import os
import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from edge_app.commands.options import show, warn_if_uncertified

if TYPE_CHECKING:
    from edge_app.station import Station


@click.command(
    epilog="Example: leukoscope run --source 'v4l2:///dev/video0?width=1280&height=960'; "
    "leukoscope run --source smears/ --every-frame --no-page --json"
)
@click.option(
    "--source",
    help="A camera, file or folder, such as v4l2:///dev/video0, 0, PATH or demo:; without it the first camera found.",
)
@click.option("--every-frame", is_flag=True, default=None, help="Judge each frame of a video instead of the newest.")
@click.option("--frames", type=click.IntRange(1), help="End after so many verdicts.")
@click.option("--page/--no-page", default=None, help="Serve the page and keep records, or only print verdicts.")
@click.option("--address", help="Address that the page listens on; any but 127.0.0.1 asks for a token.")
@click.option("--port", type=int, help="Port of the page.")
@click.option("--records", type=click.Path(path_type=Path), help="Folder of the records.")
@click.option("--auto-capture", is_flag=True, default=None, help="Keep a record of each field once it is steady.")
@click.option("--um-per-pixel", type=float, help="Micrometres a pixel; without it the red cells are measured.")
@click.option("--open-timeout", type=float, help="Seconds a camera may take to open.")
@click.option("--read-timeout", type=float, help="Seconds without a frame until a camera counts as lost.")
@click.option("--bundle", type=click.Path(path_type=Path), help="A .leuko bundle; without it the one in use.")
@click.option("--threads", type=int, help="Threads of the runtime; 0: all cores.")
@click.option("--json", "as_json", is_flag=True, help="Print each verdict as one JSON object a line.")
@click.option("--settings", "file", type=click.Path(path_type=Path), help="A settings file; see leukoscope settings.")
def command(
    source: str | None,
    every_frame: bool | None,
    frames: int | None,
    page: bool | None,
    address: str | None,
    port: int | None,
    records: Path | None,
    auto_capture: bool | None,
    um_per_pixel: float | None,
    open_timeout: float | None,
    read_timeout: float | None,
    bundle: Path | None,
    threads: int | None,
    as_json: bool,
    file: Path | None,
) -> None:
    """Judge what a camera sees, and serve a page to work at; until the source ends, Ctrl-C or SIGTERM.

    With the page, verdicts are printed with --json only; without it, a line a verdict, and no records are kept but
    by --auto-capture.
    """
    click.get_current_context().call_on_close(gc.enable)
    gc.disable()  # looking for garbage among what modules make is a fifth of the start
    from edge_app.app import running
    from edge_app.settings import load_settings
    from edge_app.status import Judged

    settings = load_settings(
        file,
        os.environ,
        source=source,
        every_frame=every_frame,
        bundle=bundle,
        threads=threads,
        um_per_pixel=um_per_pixel,
        server__page=page,
        server__address=address,
        server__port=port,
        records__folder=records,
        records__auto_capture=auto_capture,
        camera__open_timeout_s=open_timeout,
        camera__read_timeout_s=read_timeout,
    )
    station: Station | None = None  # verdicts may come before the app is ready
    judged = labelled = 0
    last = -1

    def said(each: Judged) -> None:
        nonlocal judged, labelled, last
        if judged == frames:
            return
        judged += 1
        labelled += each.verdict.judgement.label is not None
        last = each.frame.sequence
        if as_json or not settings.server.page:
            click.echo(show(each.verdict, as_json))
        if judged == frames and station:
            station.stop()

    with running(settings, lambda text: click.echo(text, err=True), said) as app:
        gc.freeze()
        gc.enable()
        station = app.station
        if judged == frames:
            station.stop()
        warn_if_uncertified(app.station.classifier)

        def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            app.station.stop()
            signal.signal(number, signal.SIG_DFL)  # the second time it is meant

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        app.wait()
    click.echo(
        f"{judged} frames judged: {labelled} labelled, {judged - labelled} indeterminate; "
        f"{last + 1 - judged} passed over",
        err=True,
    )
