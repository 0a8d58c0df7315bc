"""The commands `leukoscope service install`, `uninstall` and `status`."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click

from edge_app.board import is_jetson, program_output
from edge_app.errors import StationError
from edge_app.service import NAME, STATE, USER, Program, unit
from edge_app.settings import SYSTEM_FILE, load_settings

UNIT_FILE = Path("/etc/systemd/system") / f"{NAME}.service"
PROPERTIES = ("LoadState", "ActiveState", "SubState", "StatusText", "NRestarts", "MemoryCurrent", "ExecMainStatus")
COMMAND_LIMIT_S = 240  # the unit may take 180 s to start


@click.group(epilog="Example: leukoscope service install --dry-run")
def command() -> None:
    """Run the app as a systemd service, which starts with the device and comes back after a failure."""


@command.command(
    epilog="Example: sudo /opt/leukoscope/.venv/bin/leukoscope service install --settings /etc/leukoscope/settings.yaml"
)
@click.option("--dry-run", is_flag=True, help="Print the unit, and change nothing.")
@click.option(
    "--settings",
    "file",
    type=click.Path(path_type=Path),
    help=f"The settings file it uses; without it {SYSTEM_FILE} where there is one.",
)
@click.option(
    "--memory-max", default="75%", show_default=True, help="At most so much memory: 1G, 800M or a percentage."
)
def install(dry_run: bool, file: Path | None, memory_max: str) -> None:
    """Write the unit for this installation of Leukoscope, make its user, start it now and at every start."""
    if not re.fullmatch(r"[1-9]\d*[KMGT]?|[1-9]\d?%|100%", memory_max):
        raise click.BadParameter(
            "write a size such as 1G or 800M, or a percentage such as 75%", param_hint="--memory-max"
        )
    settings = load_settings(file and file.absolute(), {"STATE_DIRECTORY": str(STATE)})
    program = Program(Path(sys.prefix), file and file.absolute())
    text = unit(program, settings, jetson=is_jetson(), memory_max=memory_max)
    if dry_run:
        click.echo(text, nl=False)
        return
    _must_be_root()
    if not program_output("id", "-u", USER):
        _do("useradd", "--system", "--user-group", "--home-dir", str(STATE), "--shell", "/usr/sbin/nologin", USER)
    _check_as_user(program)
    if not settings.records.folder.exists() and not settings.records.folder.is_relative_to(STATE):
        _do("install", "-d", "-o", USER, "-g", USER, "-m", "750", str(settings.records.folder))
    try:
        UNIT_FILE.write_text(text)
    except OSError as error:
        raise StationError(
            f"{UNIT_FILE} can't be written ({error.strerror}); is this a system with systemd?"
        ) from error
    _do("systemctl", "daemon-reload")
    _do("systemctl", "enable", NAME)
    _do("systemctl", "restart", NAME)
    click.echo(f"{UNIT_FILE} is written and the service runs; see: leukoscope service status, journalctl -u {NAME}")


@command.command(epilog="Example: sudo leukoscope service uninstall")
def uninstall() -> None:
    """Stop the service and remove its unit; its user, settings and records stay."""
    _must_be_root()
    if not UNIT_FILE.exists():
        raise StationError(f"there is no {UNIT_FILE}: nothing to uninstall; see: leukoscope service status")
    _do("systemctl", "disable", "--now", NAME)
    UNIT_FILE.unlink()
    _do("systemctl", "daemon-reload")
    click.echo(f"the service is removed; its records stay in {STATE}, its settings in {SYSTEM_FILE.parent}")


@command.command(epilog="Example: leukoscope service status --json")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """Say whether the service runs, how often it was restarted, and what it says of itself; exit code 0 if it runs."""
    said = program_output("systemctl", "show", NAME, *(f"--property={each}" for each in PROPERTIES))
    found = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    if found.get("LoadState") != "loaded":
        raise StationError("the service is not installed here; see: leukoscope service install --help")
    if as_json:
        click.echo(json.dumps(found))
    else:
        click.echo(f"{found['ActiveState']} ({found['SubState']}), restarted {found['NRestarts']} times")
        if found["StatusText"]:
            click.echo(found["StatusText"])
        if found["ActiveState"] != "active":
            click.echo(f"last exit code {found['ExecMainStatus']}; see: journalctl -u {NAME}")
    context.exit(0 if found["ActiveState"] == "active" else StationError.exit_code)


def _must_be_root() -> None:
    if os.geteuid() != 0:
        raise StationError("this changes the system: run it again with sudo and the command's full path")


def _check_as_user(program: Program) -> None:
    """Raise StationError when the service's user can't start the program, or can't read the settings or a secret."""
    file = ["--settings", str(program.settings_file)] if program.settings_file else []
    try:
        _do("runuser", "-u", USER, "--", str(program.executable), "settings", *file)
    except StationError as error:
        raise StationError(
            f"{error}. The service's user must reach the program, the settings and the secrets in them; where the "
            "program or its Python is in a closed home folder, install it as docs/raspberry-pi.md shows"
        ) from error


def _do(*arguments: str) -> None:
    """Run a program of the system; raises StationError with its last line when it fails."""
    program = shutil.which(arguments[0])
    if program is None:
        raise StationError(f"{arguments[0]} is not here: the service needs a system with systemd")
    try:
        done = subprocess.run(
            [program, *arguments[1:]], capture_output=True, text=True, errors="replace", timeout=COMMAND_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        raise StationError(f"{' '.join(arguments)} takes too long; see: journalctl -u {NAME}") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise StationError(f"`{' '.join(arguments)}` failed: {last}")
