"""The command `leukoscope wheelhouse`."""

from pathlib import Path

import click

from edge_app.wheelhouse import TARGETS, write_wheelhouse


@click.command(epilog="Example: leukoscope wheelhouse --for pi5 wheelhouse/")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--for",
    "target",
    required=True,
    type=click.Choice(list(TARGETS)),
    help="; ".join(f"{key}: {target.name}" for key, target in TARGETS.items()),
)
@click.option("--extra", "extras", multiple=True, help="onnx, openvino or postgresql; may be given more than once.")
@click.option(
    "--source",
    metavar="PATH",
    help="Leukoscope's source folder or wheel; by default what this one was installed from.",
)
def command(folder: Path, target: str, extras: tuple[str, ...], source: str | None) -> None:
    """Gather the packages for a device that has no network, with the script that installs them there, in a new FOLDER.

    Needs a network and `pip install uv` here. picamera2 comes with the device's system, never from a wheel.
    """
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=None)
        wheels = write_wheelhouse(
            folder,
            TARGETS[target],
            extras=extras,
            source=source,
            on_step=lambda what, done, total: progress.update(bar, description=what, completed=done, total=total),
        )
    size = sum(wheel.stat().st_size for wheel in wheels) / 1e6
    click.echo(f"{folder}: {len(wheels)} packages, {size:.0f} MB; on the device: sh {folder.name}/install.sh")
