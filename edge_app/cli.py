"""The command `leukoscope`: subcommands are loaded only when they are called."""

import importlib
import sys
from collections.abc import Mapping
from typing import Any

import click

from edge_app import __version__
from edge_app.errors import LeukoscopeError, RuntimeMissingError

# name → (module, one line of help); each module has a click command `command`
COMMANDS = {
    "demo": ("edge_app.commands.demo", "Classify the shipped, drawn frames: nothing else is needed."),
    "run": ("edge_app.commands.run", "Judge the frames of a camera, one verdict a frame."),
    "classify": ("edge_app.commands.classify", "Judge image files and folders."),
    "cameras": ("edge_app.commands.cameras", "List the cameras of this device."),
    "doctor": ("edge_app.commands.doctor", "Say what this device has and what is missing."),
    "settings": ("edge_app.commands.settings", "Show every setting and its value in force, or check a file."),
    "service": ("edge_app.commands.service", "Install the app as a systemd service, remove it, or see how it is."),
    "wheelhouse": ("edge_app.commands.wheelhouse", "Gather the packages for a device that has no network."),
    "records": ("edge_app.commands.records", "List or export the verdicts that were kept."),
    "bundle": ("edge_app.commands.bundle", "Show, verify or zip a bundle."),
    "dataset": ("train.commands.dataset", "Build a data set from folders of smear images."),
    "train": ("train.commands.train", "Train a model on a data set."),
    "evaluate": ("train.commands.evaluate", "Measure a trained model on a part of its data set."),
    "export": ("export.command", "Turn a trained model into bundles."),
    "bench": ("benchmarks.commands.bench", "Measure latency and accuracy of bundles, and compare them."),
}


class LazyGroup(click.Group):
    """A group that knows its subcommands' names and help, and imports one when it is called."""

    def __init__(self, *arguments: Any, modules: Mapping[str, tuple[str, str]], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.modules = modules  # of the form of `COMMANDS`

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of `modules`."""
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return one subcommand; raises RuntimeMissingError when a library of the system is missing."""
        if cmd_name not in self.modules:
            return None
        try:
            command = importlib.import_module(self.modules[cmd_name][0]).command
        except ImportError as error:
            if "cannot open shared object file" not in str(error):
                raise
            raise RuntimeMissingError(
                f"this system lacks {str(error).partition(':')[0]}; install its package, for OpenCV with training: "
                "sudo apt install libgl1 libglib2.0-0"
            ) from None
        if not isinstance(command, click.Command):
            raise TypeError(f"{self.modules[cmd_name][0]}.command is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.modules.items()])


@click.command(cls=LazyGroup, modules=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="leukoscope")
def leukoscope() -> None:
    """Leukaemia smear classifiers on devices attached to a microscope.

    For Research Use Only. Not for use in diagnostic procedures.
    """


def run_command(command: click.Command, name: str) -> None:
    """Run a command by the process' arguments; an error of ours is one line on stderr and its exit code."""
    try:
        command.main(standalone_mode=True)
    except LeukoscopeError as error:
        click.echo(f"{name}: {error}", err=True)
        sys.exit(error.exit_code)


def main() -> None:
    """Run the command line."""
    run_command(leukoscope, "leukoscope")
