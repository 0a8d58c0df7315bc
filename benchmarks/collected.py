"""What the processes of one configuration told, and the record that is made of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.results import (
    BundleFacts,
    Case,
    Conditions,
    Energy,
    Executed,
    FrameSize,
    LatencyRun,
    Measurement,
    Minimum,
    Once,
    Series,
    Stage,
    Sustained,
)
from benchmarks.sensors import throttling_between

STAGES: dict[Case, tuple[Stage, ...]] = {
    "bare": ("infer",),
    "model": ("infer",),
    "frame": ("prepare", "infer", "judge", "total"),
}


@dataclass(frozen=True)
class Power:
    """What the power sensor told: where from, watts at rest, and watts while this was measured in one repeat."""

    source: str
    idle_watts: float
    watts: float


@dataclass(frozen=True)
class Measured:
    """One measurement of one repeat: nanoseconds of each query by stage."""

    frames: int
    stages: dict[Stage, list[int]]
    power: Power | None

    def reaches(self, minimum: Minimum) -> bool:
        """Return whether it has both the queries and the seconds."""
        longest = max(self.stages.values(), key=sum)
        return len(longest) >= minimum.queries and sum(longest) >= minimum.seconds * 1e9


@dataclass
class Configuration:
    """A bundle at a number of threads, and what its processes told so far; a list has a value a repeat."""

    path: Path
    facts: BundleFacts
    threads: int
    executed: Executed | None = None
    load_ms: list[float] = field(default_factory=list)
    first_inference_ms: list[float] = field(default_factory=list)
    first_verdict_ms: dict[FrameSize, list[float]] = field(default_factory=dict)
    memory: dict[FrameSize, list[float]] = field(default_factory=dict)
    measured: dict[tuple[Case, FrameSize | None], list[Measured]] = field(default_factory=dict)
    sustained: Sustained | None = None
    conditions: list[Conditions] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.facts.name}, {self.threads} thread{'s' if self.threads > 1 else ''}"

    def add(self, event: dict[str, Any], power: Power | None) -> None:
        """Keep what a process told in an event named loaded, cold or measured."""
        kind = event["event"]
        if kind == "loaded":
            self.executed = Executed.model_validate(event["executed"])
            self.load_ms.append(event["load_ms"])
            self.first_inference_ms.append(event["first_inference_ms"])
        elif kind == "cold":
            size = FrameSize.model_validate(event["size"])
            self.first_verdict_ms.setdefault(size, []).append(event["first_verdict_ms"])
            if event["peak_memory_bytes"] is not None:
                self.memory.setdefault(size, []).append(event["peak_memory_bytes"])
        elif kind == "measured" and event["stages"]:
            of_frame = FrameSize.model_validate(event["size"]) if event["size"] else None
            measured = Measured(event["frames"], event["stages"], power)
            self.measured.setdefault((event["case"], of_frame), []).append(measured)

    def run(self, minimum: Minimum, repeats: int, emulated: bool) -> LatencyRun | None:
        """Return the record of this configuration, None when nothing was measured; repeats: how many were asked for."""
        if self.executed is None or not self.measured or not self.first_verdict_ms:
            return None
        measurements = [
            self._measurement(case, size, minimum, repeats) for case, size in sorted(self.measured, key=_order)
        ]
        return LatencyRun(
            bundle=self.facts,
            threads=self.threads,
            executed=self.executed,
            load_ms=Once.of(self.load_ms),
            first_inference_ms=Once.of(self.first_inference_ms),
            first_verdict_ms=Once.of(next(iter(self.first_verdict_ms.values()))),
            measurements=tuple(measurements),
            sustained=self.sustained,
            conditions=tuple(self.conditions),
            invalid=tuple(self._faults(measurements, minimum, repeats, emulated)),
        )

    def _measurement(self, case: Case, size: FrameSize | None, minimum: Minimum, repeats: int) -> Measurement:
        found = self.measured[case, size]
        stages = {stage: Series.of([each.stages[stage] for each in found]) for stage in STAGES[case]}
        memory = self.memory.get(size) if size else None
        return Measurement(
            case=case,
            size=size,
            frames=found[0].frames,
            stages=stages,
            peak_memory_bytes=Once.of(memory) if memory else None,
            energy=_energy([each.power for each in found if each.power], stages[STAGES[case][-1]]),
            complete=len(found) == repeats and all(each.reaches(minimum) for each in found),
        )

    def _faults(self, measurements: list[Measurement], minimum: Minimum, repeats: int, emulated: bool) -> Iterator[str]:
        """Yield why the figures may not be compared."""
        if emulated:
            yield "the processor is emulated: its times say nothing of a device"
        if slowed := throttling_between(self.conditions):
            yield f"the board was slowed down: {', '.join(slowed)}"
        for each in measurements:
            if not each.complete:
                found = self.measured[each.case, each.size]
                short = sum(not one.reaches(minimum) for one in found)
                name = f"{each.case} {each.size}" if each.size else each.case
                yield (
                    f"too short: {len(found) - short} of {repeats} repeats of {name} have {minimum.queries} queries "
                    f"and {minimum.seconds:g} s"
                )
        for size in self.memory:
            if ("frame", size) not in self.measured:
                yield f"too short: frames of {size} were not timed"


def _energy(powers: list[Power], series: Series) -> Energy | None:
    if not powers:
        return None
    watts = sum(power.watts for power in powers) / len(powers)
    return Energy(
        source=powers[0].source,
        watts=watts,
        joules_per_query=watts * series.median.mean_ms / 1e3,
        idle_watts=powers[0].idle_watts,
    )


def _order(key: tuple[Case, FrameSize | None]) -> tuple[int, int]:
    case, size = key
    return list(STAGES).index(case), size.width * size.height if size else 0
