"""What the board's sensors say while a benchmark runs: temperature, clock, throttling, power."""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.results import Conditions
from edge_app.board import program_output, read_board, read_text

INTERVAL_S = 2.0  # asking a Raspberry Pi starts two programs of some milliseconds each
WHOLE_BOARD = ("VDD_IN", "POM_5V_IN")  # a Jetson's rail that feeds all others
COOLED_PROCESSORS = ("thermal-cpufreq", "cpufreq", "Processor")  # cooling devices that work by slowing it


@dataclass(frozen=True)
class PowerSensor:
    """Something that tells watts; `read` raises ValueError when it tells nothing this time."""

    source: str
    read: Callable[[], float]


@dataclass(frozen=True)
class Sample:
    """The board at one moment of the monotonic clock; watts: None where no sensor is or it told nothing."""

    at_s: float
    conditions: Conditions
    watts: float | None


class Monitor:
    """Reads the board every `INTERVAL_S` in a thread while it is entered."""

    def __init__(self, root: Path = Path("/"), interval_s: float = INTERVAL_S) -> None:
        """Find the power sensor; root: the folder in which proc and sys are looked for."""
        self.sensor = find_power_sensor(root)
        self._root, self._interval_s = root, interval_s
        self._begun_s = time.monotonic()
        self._samples: list[Sample] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="monitor", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()

    def now(self) -> Conditions:
        """Return the board's condition at this moment."""
        return read_conditions(time.monotonic() - self._begun_s, self._root)

    def between(self, begin_s: float, end_s: float) -> list[Sample]:
        """Return the samples of a span of the monotonic clock."""
        return [sample for sample in tuple(self._samples) if begin_s <= sample.at_s <= end_s]

    def _watch(self) -> None:
        while not self._ending.wait(self._interval_s):
            try:
                watts = self.sensor.read() if self.sensor else None
            except ValueError:
                watts = None
            self._samples.append(Sample(time.monotonic(), self.now(), watts))


def mean_watts(samples: list[Sample]) -> float | None:
    """Return the mean power of some samples; None where none tells it."""
    told = [sample.watts for sample in samples if sample.watts is not None]
    return max(0.0, sum(told) / len(told)) if told else None  # an idle rail may read a little below nothing


def read_conditions(seconds: float, root: Path = Path("/")) -> Conditions:
    """Return the board's condition; seconds: since the benchmark began."""
    board = read_board(root)
    cores = root / "sys/devices/system/cpu"
    clocks = list(_numbers(cores.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")))
    cooling = _cooling(root)
    events = sum(_numbers(cores.glob("cpu[0-9]*/thermal_throttle/*_throttle_count")))
    slowed = [board.throttling.now] if board.throttling else []
    ever = [board.throttling.since_boot] if board.throttling else []
    if cooling is not None:
        slowed.append(cooling)
    if events:
        ever.append((f"slowed by heat {events:.0f} times",))
    return Conditions(
        seconds=max(0.0, seconds),
        temperature_c=board.temperature_c,
        clock_mhz=min(clocks) / 1000 if clocks else None,
        governor=board.governor,
        throttled=sum(slowed, ()) if slowed else None,
        throttled_since_boot=sum(ever, ()) if ever else None,
        load=os.getloadavg()[0],
    )


def throttling_between(conditions: list[Conditions]) -> tuple[str, ...]:
    """Return in words what slowed the board during some conditions, the first of which tells what was before.

    Empty when nothing did, or the board does not tell.
    """
    known = {word for each in conditions[:1] for word in each.throttled_since_boot or ()}
    now = [word for each in conditions for word in each.throttled or ()]
    fresh = [word for each in conditions for word in each.throttled_since_boot or () if word not in known]
    return tuple(dict.fromkeys([*now, *fresh]))


def find_power_sensor(root: Path = Path("/")) -> PowerSensor | None:
    """Return the sensor that covers the most: of the board, else of the processor; None where none can be read."""
    candidates = (
        PowerSensor("vcgencmd pmic_read_adc (sum of the rails)", pmic_watts),
        *_ina_sensors(root),
        *_rapl_sensors(root),
    )
    for sensor in candidates:
        try:
            sensor.read()
        except ValueError:
            continue
        return sensor
    return None


def pmic_watts(text: str | None = None) -> float:
    """Return the sum over a Raspberry Pi 5's rails of volts times amperes, as `vcgencmd pmic_read_adc` tells them.

    What is lost before the rails, and what USB devices take, is not in it. Raises ValueError when there is no rail.
    """
    said = program_output("vcgencmd", "pmic_read_adc") if text is None else text
    found = {"A": dict[str, float](), "V": dict[str, float]()}
    for rail, kind, value in re.findall(r"^\s*(\S+)_([AV])\s+\w+\(\d+\)=([0-9.]+)[AV]\s*$", said, re.MULTILINE):
        found[kind][rail] = float(value)
    rails = found["A"].keys() & found["V"].keys()
    if not rails:
        raise ValueError("no rail")
    return sum(found["A"][rail] * found["V"][rail] for rail in rails)


def _ina_sensors(root: Path) -> Iterator[PowerSensor]:
    """Yield a sensor over the INA3221 chips of a Jetson: of the rail that feeds all, or the sum of all rails."""
    rails: dict[str, tuple[Path, Path]] = {}
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if read_text(chip / "name").strip().startswith("ina3221"):
            for number in "123":
                label = read_text(chip / f"in{number}_label").strip()
                if label and label != "NC":
                    rails[label] = chip / f"in{number}_input", chip / f"curr{number}_input"
    whole = [label for label in WHOLE_BOARD if label in rails] or sorted(rails)
    if whole:
        paths = [rails[label] for label in whole]
        yield PowerSensor(
            f"INA3221 {' + '.join(whole)}",
            lambda: sum(float(read_text(mv)) * float(read_text(ma)) / 1e6 for mv, ma in paths),
        )


def _rapl_sensors(root: Path) -> Iterator[PowerSensor]:
    """Yield a sensor over the energy counters of x86 packages; since Linux 5.10 only root may read them."""
    zones = [zone for zone in sorted((root / "sys/class/powercap").glob("intel-rapl:*")) if zone.name.count(":") == 1]
    if not zones:
        return
    last: dict[Path, tuple[float, float]] = {}

    def watts() -> float:
        total = 0.0
        for zone in zones:
            joules, at_s = float(read_text(zone / "energy_uj")) / 1e6, time.monotonic()
            before, then_s = last.get(zone, (joules, at_s))
            last[zone] = joules, at_s
            if joules < before:  # the counter began anew
                joules += float(read_text(zone / "max_energy_range_uj")) / 1e6
            total += (joules - before) / (at_s - then_s) if at_s > then_s else 0.0
        return total

    yield PowerSensor("RAPL package", watts)


def _cooling(root: Path) -> tuple[str, ...] | None:
    """Return what is slowed to keep it cool, by the kernel's cooling devices; None where none slows a processor."""
    devices = [
        device
        for device in sorted((root / "sys/class/thermal").glob("cooling_device*"))
        if read_text(device / "type").startswith(COOLED_PROCESSORS)
    ]
    if not devices:
        return None
    slowed = any(read_text(device / "cur_state").strip() not in ("", "0") for device in devices)
    return ("clock lowered to keep it cool",) if slowed else ()


def _numbers(paths: Iterator[Path]) -> Iterator[float]:
    for path in paths:
        try:
            yield float(read_text(path))
        except ValueError:
            continue
