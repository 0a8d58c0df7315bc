"""What the whole app costs over the bare loop: `python -m benchmarks.app_cost`.

The bare loop takes the drawn frames of `demo:` as fast as it can: grab, prepare, infer, judge. The app does so with all
there is around it: its threads, the page's server, the record store; with no viewer, and with one that looks at picture
and verdicts from a process of its own. The three take turns, so that all meet the machine as warm and as busy.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click

from edge_app.app import load_verified, running
from edge_app.bundle import default_bundle_path
from edge_app.cameras import open_camera
from edge_app.cli import run_command
from edge_app.scale import Ruler
from edge_app.settings import load_settings

WARM_S = 1.0
MOST_ALONE, MOST_WATCHED = 0.05, 0.15
VIEWER = """
import sys, threading, urllib.request
def look(path):
    with urllib.request.urlopen(sys.argv[1] + path) as answer:
        while answer.read1(1 << 16):
            pass
for path in ("api/view.mjpeg", "api/verdicts"):
    threading.Thread(target=look, args=(path,)).start()
"""


@dataclass(frozen=True)
class Pace:
    """Milliseconds a frame takes: on the clock, and of the processor over all threads."""

    wall_ms: float
    cpu_ms: float


def measure(rounds: int, seconds: float, threads: int, bundle: Path | None = None) -> dict[str, list[Pace]]:
    """Return the paces of each round by case: bare, alone, watched. seconds: of each measurement, after a warm-up."""
    cases: dict[str, Callable[[], Pace]] = {
        "bare": lambda: _bare(seconds, threads, bundle or default_bundle_path()),
        "alone": lambda: _app(seconds, threads, bundle, watched=False),
        "watched": lambda: _app(seconds, threads, bundle, watched=True),
    }
    paces: dict[str, list[Pace]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            paces[name].append(case())
    return paces


def cost(paces: dict[str, list[Pace]], case: str) -> Pace:
    """Return by how much a case is above the bare loop, as shares; the median of the rounds."""
    pairs = list(zip(paces[case], paces["bare"], strict=True))
    return Pace(
        statistics.median(app.wall_ms / bare.wall_ms - 1 for app, bare in pairs),
        statistics.median(app.cpu_ms / bare.cpu_ms - 1 for app, bare in pairs),
    )


def _bare(seconds: float, threads: int, bundle: Path) -> Pace:
    classifier, ruler = load_verified(bundle, threads), Ruler()
    count, begun = 0, None
    first_s = time.perf_counter()
    with open_camera("demo:", every_frame=True) as camera:
        for frame in camera:
            classifier.judge(frame, ruler)
            now = time.perf_counter()
            if begun is None:
                if now - first_s >= WARM_S:
                    begun = (now, time.process_time())
                continue
            count += 1
            if now - begun[0] >= seconds:
                return Pace(1000 * (now - begun[0]) / count, 1000 * (time.process_time() - begun[1]) / count)
    raise RuntimeError("the drawn frames ended")


def _app(seconds: float, threads: int, bundle: Path | None, *, watched: bool) -> Pace:
    count = 0

    def judged(_: object) -> None:
        nonlocal count
        count += 1

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        settings = load_settings(
            Path(os.devnull),
            {},
            source="demo:",
            every_frame=True,
            bundle=bundle,
            threads=threads,
            server__port=_free_port(),
            records__folder=Path(folder) / "records",
            records__min_free_mb=1,
        )
        stack.enter_context(running(settings, lambda _: None, judged))
        if watched:
            page = f"http://127.0.0.1:{settings.server.port}/"
            viewer = stack.enter_context(subprocess.Popen([sys.executable, "-c", VIEWER, page]))
            stack.callback(viewer.terminate)
        time.sleep(WARM_S + (1 if watched else 0))
        before, wall_s, cpu_s = count, time.perf_counter(), time.process_time()
        time.sleep(seconds)
        frames = count - before
        return Pace(1000 * (time.perf_counter() - wall_s) / frames, 1000 * (time.process_time() - cpu_s) / frames)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@click.command(epilog="Example: python -m benchmarks.app_cost --rounds 10 --seconds 10")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.5), default=5.0, show_default=True, help="Of each measurement.")
@click.option("--threads", type=click.IntRange(0, 256), default=0, show_default=True, help="Of the runtime; 0: all.")
@click.option("--bundle", type=click.Path(path_type=Path), help="A .leuko bundle; without it the shipped one.")
@click.option("--json", "as_json", is_flag=True, help="Print all rounds as JSON.")
def main(rounds: int, seconds: float, threads: int, bundle: Path | None, as_json: bool) -> None:
    """Measure what the app costs over the bare loop; exit code 1 when that is above the goals (5 %, 15 %)."""
    paces = measure(rounds, seconds, threads, bundle)
    if as_json:
        click.echo(json.dumps({name: [vars(pace) for pace in found] for name, found in paces.items()}))
    for name, found in paces.items():
        wall, cpu = (statistics.median(getattr(pace, which) for pace in found) for which in ("wall_ms", "cpu_ms"))
        above = (
            "" if name == "bare" else f", {cost(paces, name).wall_ms:+.1%} wall, {cost(paces, name).cpu_ms:+.1%} CPU"
        )
        click.echo(f"{name:<8} {wall:6.1f} ms a frame, {cpu:6.1f} ms of processor{above}", err=as_json)
    missed = cost(paces, "alone").wall_ms > MOST_ALONE or cost(paces, "watched").wall_ms > MOST_WATCHED
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    run_command(main, "app_cost")
