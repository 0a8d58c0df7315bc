"""The command `leukoscope doctor`: what this device has, what is missing, and what to do about it."""

import importlib.util
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import click

from edge_app import __version__
from edge_app.board import (
    HOT,
    Throttling,
    board_model,
    memory_bytes,
    processor_name,
    program_output,
    read_board,
    system_name,
)
from edge_app.errors import BundleNotFoundError, CameraError, LeukoscopeError, RuntimeMissingError
from edge_app.runtimes import LIBRARIES, load

State = Literal["ok", "warning", "missing"]

COLOURS: dict[State, str] = {"ok": "green", "warning": "yellow", "missing": "red"}

MEMORY_TO_CLASSIFY = 200e6  # bytes
DISK_TO_RECORD = 1e9  # bytes
REINSTALL = "install it again: pip install --force-reinstall leukoscope"


@dataclass(frozen=True)
class Check:
    """One line of the doctor's findings; `advice` says what to do where the state is not ok."""

    name: str
    state: State
    text: str
    advice: str | None = None


@click.command(epilog="Example: leukoscope doctor --json")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all findings.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Say what this device has and what is missing, and what to do about it.

    Exit code 0 if it can classify with the bundle in use; else that of the error which stands in the way.
    """
    bundle, code = check_bundle()
    checks = [*check_device(), *check_runtimes(), *check_opencv(), *check_cameras(), bundle, *check_condition()]
    if as_json:
        findings = {"leukoscope": __version__, "can_classify": code == 0, "checks": [asdict(each) for each in checks]}
        click.echo(json.dumps(findings))
    else:
        _print(checks)
        click.echo("This device can classify." if code == 0 else "This device can't classify yet.")
    context.exit(code)


def check_device(root: Path = Path("/")) -> Iterator[Check]:
    """Yield what this device is; root: the folder in which proc, sys and etc are looked for."""
    yield Check("Leukoscope", "ok", __version__)
    if model := board_model(root):
        yield Check("board", "ok", model)
    cores = len(os.sched_getaffinity(0))
    yield Check("processor", "ok", f"{processor_name(root)}, {cores} of {os.cpu_count()} cores for this process")
    if memory := memory_bytes(root):
        total, available = memory
        text = f"{available / 1e9:.1f} of {total / 1e9:.1f} GB free"
        yield _unless("memory", available < MEMORY_TO_CLASSIFY, text, "end other programs before classifying")
    yield Check("system", "ok", f"{system_name(root)}, Linux {platform.release()}")
    bits = 64 if sys.maxsize > 2**32 else 32
    text = f"{platform.python_version()}, {platform.machine()}, {bits} bits"
    advice = "the libraries come for 64 bits only: install the 64-bit Raspberry Pi OS or Debian"
    yield _unless("Python", bits < 64, text, advice)


def check_runtimes() -> Iterator[Check]:
    """Yield, for each format of bundle, the library that runs it."""
    for library in LIBRARIES.values():
        name = f"{library.name} bundles"
        try:
            yield Check(name, "ok", " ".join(library.loader().library()))
        except RuntimeMissingError as error:
            yield Check(name, "missing", str(error).partition(";")[0], f"to run them: {library.install}")


def check_opencv() -> Iterator[Check]:
    """Yield OpenCV's version and which video sources were built into it."""
    import cv2

    built = video_sources(cv2.getBuildInformation())
    text = ", ".join([str(cv2.__version__), *(f"{name} {'built in' if has else 'no'}" for name, has in built.items())])
    advice = "for USB cameras: pip install --force-reinstall opencv-python-headless"
    yield _unless("OpenCV", not built["V4L2"], text, advice)


def check_cameras() -> Iterator[Check]:
    """Yield the cameras that are plugged in, and whether Raspberry Pi cameras can be used."""
    from edge_app.cameras import list_cameras

    cameras = list_cameras()
    for camera in cameras:
        state: State = "warning" if camera.problem else "ok"
        yield Check("camera", state, f"{camera.name}: --source {camera.uri}", camera.problem)
    if not cameras:
        yield Check("camera", "missing", "none found", "plug one in and look again, or use --source demo:")
    yield picamera2(board_model())


def check_bundle(path: Path | None = None) -> tuple[Check, int]:
    """Return whether a bundle (the one in use) is whole and computes here what was measured, and the exit code."""
    from edge_app.bundle import check_golden, default_bundle_path, open_bundle
    from edge_app.installed import current_bundle_path

    name = "bundle in use"
    try:
        path = path or current_bundle_path()
        name = "shipped bundle" if path == default_bundle_path() else name
        bundle = open_bundle(path)
        runtime = load(bundle)
        check_golden(bundle, runtime.infer)
    except LeukoscopeError as error:
        state: State = "missing" if isinstance(error, RuntimeMissingError | BundleNotFoundError) else "warning"
        what, _, advice = str(error).rpartition("; ")
        return Check(name, state, what or advice, advice if what else REINSTALL), error.exit_code
    text = f"{bundle.manifest.name}, its golden outputs verified by {runtime.describe()}"
    return Check(name, "ok", text), 0


def check_condition(root: Path = Path("/")) -> Iterator[Check]:
    """Yield disk, clock, and where the device tells them temperature, throttling and governor; root as above."""
    free = shutil.disk_usage(Path.cwd()).free
    advice = "records and images need room: delete files, or work in a folder on another disk"
    yield _unless("disk", free < DISK_TO_RECORD, f"{free / 1e9:.1f} GB free in this folder", advice)
    yield clock(program_output("timedatectl", "show", "-p", "NTPSynchronized", "--value"))
    board = read_board(root)
    if (degrees := board.temperature_c) is not None:
        yield _unless("temperature", degrees >= HOT, f"{degrees:.0f} °C", "cool it: a hot processor is slowed down")
    if board.throttling:
        yield throttled(board.throttling)
    if board.governor:
        advice = "for steady times: echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        yield _unless("governor", board.governor == "powersave", board.governor, advice)


def video_sources(build_information: str) -> dict[str, bool]:
    """Return which of OpenCV's video sources its build information says YES to."""
    patterns = {"V4L2": r"v4l/v4l2", "GStreamer": r"GStreamer"}
    return {
        name: re.search(rf"^\s*{pattern}:\s*YES", build_information, re.MULTILINE) is not None
        for name, pattern in patterns.items()
    }


def picamera2(board: str) -> Check:
    """Return whether Raspberry Pi cameras can be used on a board of this name."""
    absent = [name for name in ("libcamera", "picamera2") if importlib.util.find_spec(name) is None]
    if not absent:
        from edge_app.cameras.picamera2 import load_library

        try:
            load_library()
        except CameraError as error:  # the system's is built for numpy 1 on bookworm
            what, _, advice = str(error).rpartition("; ")
            return Check("picamera2", "warning", what, advice)
        return Check("picamera2", "ok", "installed")
    if "Raspberry Pi" not in board:
        return Check("picamera2", "ok", "not installed, and not needed: this is no Raspberry Pi")
    advice = (
        "for the ribbon cable's camera: sudo apt install python3-picamera2, and make the environment with "
        "python3 -m venv --system-site-packages"
    )
    return Check("picamera2", "missing", f"{' and '.join(absent)} not found", advice)


def clock(synchronised: str) -> Check:
    """Return the clock's state from `timedatectl show -p NTPSynchronized --value`; empty where it can't be asked."""
    if synchronised.strip() == "yes":
        return Check("clock", "ok", "set by the network")
    text = "not set by the network" if synchronised.strip() == "no" else "not known whether it is set by the network"
    return Check("clock", "warning", text, "verdicts carry the time: connect the network, or set it with `date -s`")


def throttled(board: Throttling) -> Check:
    """Return whether the board is slowed down, or was since boot."""
    causes = board.now + board.since_boot
    if not causes:
        return Check("throttling", "ok", "none since boot")
    advice = "use the board's own power supply and a short cable" if "under-voltage" in causes else "cool it"
    said = f"now: {', '.join(board.now) or 'none'}; since boot: {', '.join(board.since_boot) or 'none'}"
    return Check("throttling", "warning", said, advice)


def _unless(name: str, wrong: bool, text: str, advice: str) -> Check:
    """Return a finding that is ok, or a warning with advice where something is wrong."""
    return Check(name, "warning", text, advice) if wrong else Check(name, "ok", text)


def _print(checks: list[Check]) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        click.echo(f"{click.style(f'{check.state:<7}', fg=COLOURS[check.state])}  {check.name:<{width}}  {check.text}")
        if check.advice:
            click.echo(f"{'':7}  {'':{width}}  → {check.advice}")
