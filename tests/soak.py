"""An hour's soak of the running app: `python -m tests.soak --minutes 60`.

The app runs in a process of its own and plays `demo:`. Minutes without viewers alternate with minutes in which 20
viewers look (half of them at the picture, half at the verdicts) and one more reads a byte a second. It measures whether

- the app's memory is flat within 5 % after a warm-up of a tenth of the time, which comes first,
- a frame is ever sent that is older than two frame times,
- a verdict is ever told of a frame that is older than twice the time that judging it took (or two frame times),
- the frame loop is slower while they look than while nobody does,

and ends with exit code 1 when one of these is missed. `--fps 30 --bundle resnet50.leuko` soaks a model that is slower
than the camera.
"""

import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import click
import httpx

from edge_app.bundle import default_bundle_path

VIEWERS = 20
OLDEST_FRAMES, OLDEST_JUDGEMENTS = 2, 2
MOST_GROWTH = 0.05
MOST_SLOWDOWN = 0.02
SAMPLE_S = 1.0
WARM_S = 60
AGE = re.compile(rb"X-Age-Ms: ([0-9.]+)\r\n")


@dataclass
class Soak:
    """What was measured.

    fps: of the camera. memory: MiB of resident memory, once a second after the warm-up. ages: milliseconds of each
    picture as it was sent. verdict_ages: each verdict's age as it was told, in times that judging took (or a frame,
    where that is longer).
    alone, watched: frames judged a second, by slot. alone_ms, watched_ms: milliseconds a frame took, by slot.
    """

    fps: int
    memory: list[float] = field(default_factory=list)
    verdict_ages: list[float] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    watched: list[float] = field(default_factory=list)
    alone_ms: list[float] = field(default_factory=list)
    watched_ms: list[float] = field(default_factory=list)
    records: int = 0

    @property
    def growth(self) -> float:
        """How much more memory the last quarter took than the first, as a share; by medians."""
        quarter = max(1, len(self.memory) // 4)
        return median(self.memory[-quarter:]) / median(self.memory[:quarter]) - 1

    @property
    def slowdown(self) -> float:
        """How many fewer frames were judged while viewers looked, as a share."""
        return 1 - median(self.watched) / median(self.alone)

    def problems(self) -> list[str]:
        """Return what was missed."""
        oldest_ms = OLDEST_FRAMES * 1000 / self.fps
        late = [age for age in self.ages if age > oldest_ms]
        stale = [age for age in self.verdict_ages if age > OLDEST_JUDGEMENTS]
        found = []
        if self.growth > MOST_GROWTH:
            found.append(f"memory grew by {self.growth:.1%}")
        if late:
            found.append(
                f"{len(late)} of {len(self.ages)} pictures were older than {oldest_ms:.0f} ms, up to {max(late):g}"
            )
        if stale:
            found.append(
                f"{len(stale)} of {len(self.verdict_ages)} verdicts were older than {OLDEST_JUDGEMENTS} times what "
                f"judging took, up to {max(stale):.1f}"
            )
        if self.slowdown > MOST_SLOWDOWN:
            found.append(f"the frame loop was {self.slowdown:.1%} slower with viewers")
        return found


def soak(minutes: float, slot_s: float, fps: int, bundle: Path) -> Soak:
    """Run the app for some minutes, in slots without and with viewers in turn."""
    measured = Soak(fps)
    with (
        tempfile.TemporaryDirectory() as folder,
        _app(Path(folder), fps, bundle, measured.verdict_ages) as (process, port),
        _client(port) as client,
    ):
        warm_s = time.monotonic() + max(WARM_S, 6 * minutes)
        while time.monotonic() < warm_s:
            with _viewers(port, []):
                time.sleep(5)
            client.post("/api/records")
        measured.verdict_ages.clear()
        end_s = time.monotonic() + 60 * minutes
        while time.monotonic() < end_s:
            rate, took_ms = _slot(client, process.pid, slot_s, measured)
            measured.alone.append(rate)
            measured.alone_ms.append(took_ms)
            with _viewers(port, measured.ages):
                rate, took_ms = _slot(client, process.pid, slot_s, measured)
            measured.watched.append(rate)
            measured.watched_ms.append(took_ms)
            measured.records += client.post("/api/records").status_code == 201
    return measured


@contextmanager
def _app(
    folder: Path, fps: int, bundle: Path, verdict_ages: list[float]
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--source", f"demo:?fps={fps}", "--bundle", str(bundle), "--port", str(port), "--json"]
    environ = os.environ | {"LEUKOSCOPE_RECORDS__FOLDER": str(folder), "LEUKOSCOPE_RECORDS__MIN_FREE_MB": "1"}
    command = [sys.executable, "-m", "edge_app", "run", *options]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    threading.Thread(target=_read_verdicts, args=(process, fps, verdict_ages), daemon=True).start()
    try:
        with _client(port) as client:
            deadline_s = time.monotonic() + 60
            while not _is_ready(client):
                if process.poll() is not None or time.monotonic() > deadline_s:
                    raise RuntimeError("the app did not start; run it by hand to see why")
                time.sleep(0.2)
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _read_verdicts(process: subprocess.Popen[bytes], fps: int, ages: list[float]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        verdict = json.loads(line)
        age = datetime.now(UTC) - datetime.fromisoformat(verdict["captured_at"])
        took_ms = verdict["times_ms"]["total"] - verdict["times_ms"]["grab"]
        ages.append(1000 * age.total_seconds() / max(took_ms, 1000 / fps))


def _client(port: int) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readiness").status_code == 200
    except httpx.TransportError:
        return False


def _slot(client: httpx.Client, pid: int, seconds: float, measured: Soak) -> tuple[float, float]:
    """Return frames judged a second, and the milliseconds each took, over so many seconds; memory is sampled."""
    began_s = time.monotonic()
    count, total_s = _judged(client)
    while time.monotonic() - began_s < seconds:
        time.sleep(SAMPLE_S)
        measured.memory.append(_memory(pid))
    more, more_s = _judged(client)
    return (more - count) / (time.monotonic() - began_s), 1000 * (more_s - total_s) / max(more - count, 1)


def _judged(client: httpx.Client) -> tuple[float, float]:
    text = client.get("/metrics").text
    count, total = (
        re.search(rf'^leukoscope_stage_seconds_{name}{{stage="total"}} (\S+)$', text, re.MULTILINE)
        for name in ("count", "sum")
    )
    assert count is not None
    assert total is not None
    return float(count[1]), float(total[1])


def _memory(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


@contextmanager
def _viewers(port: int, ages: list[float]) -> Iterator[None]:
    """Have viewers look; the pictures' ages are added to `ages`."""
    stopped = threading.Event()
    thread = threading.Thread(target=_look, args=(port, ages, stopped))
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _look(port: int, ages: list[float], stopped: threading.Event) -> None:
    selector = selectors.DefaultSelector()
    connections = [_connect(port, "/api/view.mjpeg" if number % 2 else "/api/verdicts") for number in range(VIEWERS)]
    slow = _connect(port, "/api/view.mjpeg")
    heads = dict.fromkeys(connections, b"")
    for each in connections:
        selector.register(each, selectors.EVENT_READ)
    slow_s = 0.0
    while not stopped.is_set():
        for key, _ in selector.select(0.1):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            data = heads[connection] + connection.recv(1 << 18)
            ages += [float(age) for age in AGE.findall(data)]
            last = data.rfind(b"X-Age-Ms: ")
            # a head may be cut in two
            heads[connection] = data[last:] if last >= 0 and AGE.search(data, last) is None else data[-9:]
        if time.monotonic() - slow_s > 1:
            slow_s = time.monotonic()
            try:
                if not slow.recv(1):
                    raise ConnectionError
            except (ConnectionError, BlockingIOError):  # it was cut off, as it should be
                slow.close()
                slow = _connect(port, "/api/view.mjpeg")
    for each in (*connections, slow):
        each.close()


def _connect(port: int, path: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 10)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return connection


@click.command()
@click.option("--minutes", type=float, default=60, show_default=True)
@click.option("--slot", type=float, default=60, show_default=True, help="Seconds without, then with viewers.")
@click.option("--fps", type=click.IntRange(1), default=10, show_default=True, help="Of the drawn camera.")
@click.option("--bundle", type=click.Path(path_type=Path), help="A .leuko bundle; without it the shipped one.")
def main(minutes: float, slot: float, fps: int, bundle: Path | None) -> None:
    """Soak the app and say what was measured."""
    measured = soak(minutes, slot, fps, bundle or default_bundle_path())
    ages, verdict_ages = sorted(measured.ages), sorted(measured.verdict_ages)
    click.echo(
        f"memory {median(measured.memory):.0f} MiB, growth {measured.growth:+.1%}, "
        f"highest {max(measured.memory):.0f} MiB, over {len(measured.memory)} samples\n"
        f"pictures {len(ages)}: age p50 {median(ages):.0f} ms, p99.9 {ages[int(0.999 * len(ages))]:.0f} ms, "
        f"highest {ages[-1]:.0f} ms\n"
        f"verdicts {len(verdict_ages)}: age p50 {median(verdict_ages):.2f} times what judging took, "
        f"highest {verdict_ages[-1]:.2f}\n"
        f"judged a second: {median(measured.alone):.2f} alone, {median(measured.watched):.2f} watched\n"
        f"a frame took: {median(measured.alone_ms):.1f} ms alone, {median(measured.watched_ms):.1f} ms watched\n"
        f"records kept meanwhile: {measured.records}"
    )
    problems = measured.problems()
    for problem in problems:
        click.echo(f"missed: {problem}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
