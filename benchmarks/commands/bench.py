"""The command `leukoscope bench`: its subcommands are loaded only when they are called."""

import click

from edge_app.cli import LazyGroup

COMMANDS = {
    "latency": ("benchmarks.commands.latency", "Time bundles on this device, from frame to verdict."),
    "accuracy": ("benchmarks.commands.accuracy", "Measure bundles on labelled images, as this device judges them."),
    "report": ("benchmarks.commands.report", "Compare result files of any number of devices."),
    "peers": ("benchmarks.commands.peers", "Time other ways to the same verdict beside ours."),
}


@click.command(cls=LazyGroup, modules=COMMANDS, epilog="Example: leukoscope bench latency yolo11n-int8.leuko")
def command() -> None:
    """Measure bundles: how fast they are on this device, how right, and which one to take."""
