"""Times bundles: single stream, every query counted, each configuration in processes of its own.

A repeat measures every configuration once, every second repeat in the opposite order, so that a machine that warms up
or is disturbed treats all alike. See `benchmarks.latency_process` for what a process does.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.collected import Configuration, Power
from benchmarks.environment import bundle_facts, read_environment
from benchmarks.latency_process import Job, JobKind
from benchmarks.reels import Reel
from benchmarks.results import FrameSize, LatencyResults, Minimum, Minute, PresetName, Series, Sustained
from benchmarks.sensors import INTERVAL_S, Monitor, mean_watts
from edge_app import errors
from edge_app.bundle import open_bundle
from edge_app.errors import InferenceError, LeukoscopeError

# as MLPerf Mobile has them
PRESETS: dict[PresetName, Minimum] = {
    "normal": Minimum(queries=1024, seconds=60),
    "quick": Minimum(queries=128, seconds=10),
    "rapid": Minimum(queries=64, seconds=6),
}
WARM_UPS = 10
IDLE_SAMPLES = 3


def measure_latency(
    bundles: Sequence[Path],
    reels: Sequence[Reel],
    *,
    threads: Sequence[int],
    minimum: Minimum,
    repeats: int,
    preset: PresetName | None = None,
    frames_are_files: bool = False,
    sustained_minutes: float = 0,
    on_progress: Callable[[float, float, str], None] = lambda *_: None,
) -> LatencyResults:
    """Return the times of every bundle at every number of threads, for frames of each reel.

    minimum: what each measurement of each repeat must reach. sustained_minutes: after the repeats, so long of frames of
    the first reel without rest, one configuration after the other. on_progress: called with the seconds that are done
    of those that are planned, and what is being measured.

    To be called in the main thread. A SIGINT (Ctrl-C) ends the benchmark, and what was measured by then is returned as
    too short; KeyboardInterrupt is raised when that is nothing, and by a second SIGINT. Raises BundleError,
    RuntimeMissingError and InferenceError.
    """
    configurations = [
        Configuration(path, bundle_facts(open_bundle(path)), count) for path in bundles for count in threads
    ]
    environment, started_at = read_environment(), datetime.now(UTC)
    planned_s = len(configurations) * (repeats * minimum.seconds * (2 + len(reels)) + 60 * sustained_minutes)
    with Monitor() as monitor:
        bench = _Bench(reels, minimum, monitor, lambda done_s, text: on_progress(done_s, planned_s, text))
        with _interrupting(bench.stop):
            bench.measure(configurations, repeats)
            for each in configurations if sustained_minutes else ():
                bench.sustain(each, sustained_minutes)
    runs = [run for each in configurations if (run := each.run(minimum, repeats, environment.emulated))]
    if not runs:
        raise KeyboardInterrupt
    return LatencyResults(
        environment=environment,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        preset=preset,
        minimum=minimum,
        warm_ups=WARM_UPS,
        repeats_asked=repeats,
        frames="files" if frames_are_files else "drawn",
        runs=tuple(runs),
    )


class _Bench:
    """Starts the processes, one at a time, and adds what they tell to their configuration."""

    def __init__(
        self, reels: Sequence[Reel], minimum: Minimum, monitor: Monitor, on_progress: Callable[[float, str], None]
    ) -> None:
        self._reels, self._minimum, self._monitor, self._on_progress = reels, minimum, monitor, on_progress
        self._done_s = 0.0
        self._running: subprocess.Popen[str] | None = None
        self._stopping = False
        self._idle_watts = self._rest()

    def stop(self) -> None:
        """Let what is measured now be the last; may be called by a signal handler."""
        self._stopping = True
        if self._running:
            self._running.send_signal(signal.SIGINT)

    def measure(self, configurations: Sequence[Configuration], repeats: int) -> None:
        """Measure every configuration so often."""
        for repeat in range(repeats):
            order = configurations[:: -1 if repeat % 2 else 1]
            # all the short processes first: a bundle that can't be run is found before hours went by
            for configuration in order:
                self._on_progress(self._done_s, f"{configuration}: memory")
                for reel in self._reels:
                    for event in self._process(configuration, "cold", [reel]):
                        configuration.add(event, None)
            for configuration in order:
                self._time(configuration, f"repeat {repeat + 1} of {repeats}")

    def sustain(self, configuration: Configuration, minutes: float) -> None:
        """Measure one configuration without rest."""
        reel = self._reels[0]
        found: list[Minute] = []
        complete = False
        for event in self._process(configuration, "sustained", [reel], seconds=60 * minutes):
            if event["event"] == "progress":
                self._on_progress(self._done_s + 60 * minutes * event["share"], f"{configuration}: sustained")
            elif event["event"] == "finished":
                complete = True
            else:
                began_s, ended_s = event["began_ns"] / 1e9, event["ended_ns"] / 1e9
                found.append(
                    Minute(
                        seconds=ended_s - began_s,
                        times=Series.of([event["total"]]).median,
                        conditions=self._monitor.now(),
                        watts=mean_watts(self._monitor.between(began_s + INTERVAL_S, ended_s)),
                    )
                )
        self._done_s += 60 * minutes
        size = FrameSize(width=reel.width, height=reel.height)
        configuration.sustained = Sustained(size=size, minutes_asked=minutes, minutes=tuple(found), complete=complete)

    def _rest(self) -> float | None:
        """Return the watts of the resting board; None without a sensor that tells them."""
        if self._monitor.sensor is None:
            return None
        self._on_progress(0.0, "power at rest")
        began_s = time.monotonic()
        time.sleep((IDLE_SAMPLES + 0.5) * INTERVAL_S)
        return mean_watts(self._monitor.between(began_s, time.monotonic()))

    def _time(self, configuration: Configuration, text: str) -> None:
        begun_s, before = time.monotonic(), self._monitor.now()
        for event in self._process(configuration, "timed", self._reels):
            if event["event"] == "progress":
                share_s = self._minimum.seconds * event["share"] * len(event["cases"])
                self._on_progress(self._done_s + share_s, f"{configuration}: {event['what']}, {text}")
            else:
                configuration.add(event, self._power(event) if event["event"] == "measured" else None)
                self._done_s += self._minimum.seconds if event["event"] == "measured" else 0
        during = [sample.conditions for sample in self._monitor.between(begun_s, time.monotonic())]
        hottest = max(during, key=lambda each: (each.temperature_c or 0, each.seconds), default=before)
        kept = [each for each in during if each.throttled or each is hottest]
        configuration.conditions += [before, *kept, self._monitor.now()]

    def _power(self, event: dict[str, Any]) -> Power | None:
        """Return what the sensor told while something was measured; its first reading speaks of the time before."""
        watts = mean_watts(self._monitor.between(event["began_ns"] / 1e9 + INTERVAL_S, event["ended_ns"] / 1e9))
        if self._monitor.sensor is None or self._idle_watts is None or watts is None:
            return None
        return Power(self._monitor.sensor.source, self._idle_watts, watts)

    def _process(
        self, configuration: Configuration, kind: JobKind, reels: Sequence[Reel], seconds: float | None = None
    ) -> Iterator[dict[str, Any]]:
        """Run a process and yield what it tells; nothing once the benchmark was stopped."""
        if self._stopping:
            return
        job = Job(
            kind=kind,
            bundle=str(configuration.path),
            threads=configuration.threads,
            reels=tuple((str(reel.path), reel.width, reel.height, reel.frames) for reel in reels),
            started_ns=time.perf_counter_ns(),
            queries=self._minimum.queries,
            seconds=self._minimum.seconds if seconds is None else seconds,
            warm_ups=WARM_UPS,
        )
        command = [sys.executable, "-P", "-m", "benchmarks.latency_process", json.dumps(asdict(job))]
        with (
            tempfile.TemporaryFile("w+", errors="replace") as messages,
            # in a session of its own: the terminal's Ctrl-C is for this process, which passes it on
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=messages, text=True, start_new_session=True
            ) as process,
        ):
            self._running = process
            if self._stopping:  # since the question above
                process.send_signal(signal.SIGINT)
            try:
                for line in process.stdout or ():
                    event = json.loads(line)
                    if event["event"] == "failed":
                        raise _error(event, configuration)
                    yield event
                if process.wait() and not self._stopping:
                    messages.seek(0)
                    raise _crash(configuration, process.returncode, messages.read())
            finally:
                self._running = None
                process.kill()


@contextmanager
def _interrupting(stop: Callable[[], None]) -> Iterator[None]:
    """Have the first SIGINT call a function instead of raising KeyboardInterrupt; the second raises it."""

    def handle(*_: object) -> None:
        signal.signal(signal.SIGINT, previous)
        stop()

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _error(event: dict[str, Any], configuration: Configuration) -> LeukoscopeError:
    """Return the error that a process told of; it has the class that it had there."""
    kind: type[LeukoscopeError] = getattr(errors, event["error"])
    return kind(f"{configuration}: {event['message']}")


def _crash(configuration: Configuration, code: int, messages: str) -> InferenceError:
    """Return the error for a process that ended by itself: a signal's number is negative in its code."""
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    last = messages.strip().rpartition("\n")[2]
    return InferenceError(
        f"the process that measured {configuration} {how}{f' ({last[:200]})' if last else ''}; "
        "check the bundle with leukoscope bundle verify, and that there is memory enough"
    )
