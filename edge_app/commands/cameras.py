"""The command `leukoscope cameras`."""

import json
from dataclasses import asdict

import click

from edge_app.cameras import CameraInfo, Control, list_cameras


@click.command(epilog="Example: leukoscope cameras --json")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a camera and line.")
def command(as_json: bool) -> None:
    """List the cameras of this device, by the names that --source takes, with formats and controls."""
    cameras = list_cameras()
    if as_json:
        for camera in cameras:
            click.echo(json.dumps(asdict(camera)))
    elif cameras:
        _print_table(cameras)
    else:
        click.echo("no camera found: plug one in and look again, or use --source demo:")


def _print_table(cameras: list[CameraInfo]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "--source", "camera", "formats (pixels, at most frames a second); controls", box=None, padding=(0, 2, 0, 0)
    )
    for camera in cameras:
        table.add_row(camera.uri, camera.name, camera.problem or f"{_formats(camera)}\n{_controls(camera)}".strip())
    Console(markup=False, highlight=False).print(table)


def _formats(camera: CameraInfo) -> str:
    """Return one line for all fourccs that have the same sizes, with these from the largest on."""
    sizes: dict[str, list[str]] = {}
    for each in sorted(camera.formats, key=lambda each: -each.width * each.height):
        rate = f" at {each.fps:g}" if each.fps else ""
        sizes.setdefault(each.fourcc, []).append(f"{each.width}×{each.height}{rate}")
    fourccs: dict[str, list[str]] = {}
    for fourcc, its_sizes in sizes.items():
        fourccs.setdefault(", ".join(its_sizes), []).append(fourcc)
    return "\n".join(f"{', '.join(names)}: {text}" for text, names in fourccs.items())


def _controls(camera: CameraInfo) -> str:
    return "; ".join(_range(control) for control in camera.controls)


def _range(control: Control) -> str:
    if control.kind == "bool":
        return f"{control.name}: on or off"
    if control.kind == "menu":
        return f"{control.name}: {', '.join(control.choices)}"
    return f"{control.name}: {control.minimum:.10g} to {control.maximum:.10g} {control.unit}".rstrip()
