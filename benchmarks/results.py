"""What `leukoscope bench latency` and `bench accuracy` find; `benchmarks.result_files` reads and writes it."""

import statistics
from collections.abc import Sequence
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import AwareDatetime, Field

from edge_app.frozen import Frozen
from edge_app.judging import Reason
from edge_app.manifest import Figure, Format, Measured, Precision, Sha256
from edge_app.quality import Share

FORMAT_VERSION: Literal[1] = 1

Case = Literal["bare", "model", "frame"]
Stage = Literal["prepare", "infer", "judge", "total"]
PresetName = Literal["normal", "quick", "rapid"]
PerturbationKind = Literal["blur", "brightness", "white-balance", "noise", "stain", "illumination", "jpeg"]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(ge=0)]


class Environment(Frozen):
    """Where a benchmark ran.

    device: the board as its maker calls it, else the processor. emulated: the processor is a program (qemu), so that
    times say nothing of the device. memory_bytes: of the whole device. libraries: name → version, of those installed.
    """

    device: str
    system: str
    kernel: str
    machine: str
    processor: str
    emulated: bool
    cores: Annotated[int, Field(ge=1)]
    governor: str | None
    memory_bytes: Count | None
    python: str
    leukoscope: str
    libraries: dict[str, str]


class BundleFacts(Frozen):
    """Which bundle was measured. input_shape: of the model, [1, height, width, 3]. measured: what its card says."""

    name: str
    sha256: Sha256
    model: str
    task: str
    format: Format
    precision: Precision
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int, int]
    model_bytes: Count
    bundle_bytes: Count
    certified: bool
    dataset_sha256: Sha256
    measured: tuple[Measured, ...]


class Executed(Frozen):
    """What really executed a model: see `edge_app.runtimes.Executed`."""

    library: str
    version: str
    precision: str
    threads: int
    device: str


class Times(Frozen):
    """Milliseconds of all the queries of one measurement; nothing is dropped. std: over the count, not one less."""

    count: Annotated[int, Field(ge=1)]
    mean_ms: Positive
    std_ms: Positive
    min_ms: Positive
    p50_ms: Positive
    p90_ms: Positive
    p95_ms: Positive
    p99_ms: Positive
    max_ms: Positive


class Series(Frozen):
    """The times of the repeats of one measurement.

    median: of each statistic over the repeats; what is quoted. spread: largest less smallest p90 of the repeats, over
    their median. curve_ms: percentiles 0, 1, … 100 of the queries of all repeats together.
    """

    repeats: Annotated[tuple[Times, ...], Field(min_length=1)]
    median: Times
    spread: Positive
    curve_ms: Annotated[tuple[Positive, ...], Field(min_length=101, max_length=101)]

    @classmethod
    def of(cls, repeats: Sequence[Sequence[int]]) -> Self:
        """Return the series of some repeats' durations in nanoseconds; none may be empty."""
        times = [_times(np.asarray(each) / 1e6) for each in repeats]
        middle = {name: statistics.median(getattr(each, name) for each in times) for name in Times.model_fields}
        p90 = [each.p90_ms for each in times]
        everything = np.concatenate([np.asarray(each) for each in repeats]) / 1e6
        return cls(
            repeats=tuple(times),
            median=Times.model_validate(middle | {"count": round(middle["count"])}),
            spread=(max(p90) - min(p90)) / statistics.median(p90),
            curve_ms=tuple(np.percentile(everything, range(101)).round(6).tolist()),
        )


class Once(Frozen):
    """A figure that each repeat gives once, its unit in the name of the field; median: what is quoted."""

    repeats: Annotated[tuple[Positive, ...], Field(min_length=1)]
    median: Positive

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Return the figure of some repeats' values; there must be one."""
        return cls(repeats=tuple(values), median=statistics.median(values))


class Energy(Frozen):
    """What the board says it used while a measurement ran, all of the board or processor that its source covers.

    source: which sensor. watts: mean of the measurement. joules_per_query: watts times the time of one query, idle
    power included. idle_watts: of the same sensor before the first measurement.
    """

    source: str
    watts: Positive
    joules_per_query: Positive
    idle_watts: Positive


class FrameSize(Frozen):
    """A frame's size in pixels; `str` gives 1280x960."""

    width: Annotated[int, Field(ge=1)]
    height: Annotated[int, Field(ge=1)]

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class Measurement(Frozen):
    """One thing that was timed, single stream: the next query begins when the one before is done.

    case: bare is the library's own call on a prepared picture, model the same through ours; frame is from a frame in
    memory to its verdict. size, frames: of a frame, and how many different ones took turns; null and 0 otherwise.
    stages: of bare and model infer alone; of a frame prepare, infer, judge, and their total.
    peak_memory_bytes: the largest resident size (VmHWM) of a process of its own that did nothing else; of a frame only.
    complete: the preset's count and duration were both reached in every repeat.
    """

    case: Case
    size: FrameSize | None
    frames: Count
    stages: dict[Stage, Series]
    peak_memory_bytes: Once | None
    energy: Energy | None
    complete: bool


class Conditions(Frozen):
    """The board at one moment: seconds since the benchmark began. What a board does not tell is null.

    clock_mhz: of the slowest core. throttled: what slows it now, in words. throttled_since_boot: what did ever.
    load: processes that ran or waited, the kernel's mean of the last minute.
    """

    seconds: Positive
    temperature_c: float | None
    clock_mhz: Positive | None
    governor: str | None
    throttled: tuple[str, ...] | None
    throttled_since_boot: tuple[str, ...] | None
    load: Positive | None


class Minute(Frozen):
    """One minute of a sustained run, frame → verdict; seconds: its length, less than 60 of the last one perhaps."""

    seconds: Positive
    times: Times
    conditions: Conditions
    watts: Positive | None


class Sustained(Frozen):
    """How a configuration fares when it never rests: frames of one size one after the other, minute by minute.

    complete: it went on for the minutes that were asked; false where it was stopped, perhaps before it began.
    """

    size: FrameSize
    minutes_asked: Positive
    minutes: tuple[Minute, ...]
    complete: bool


class LatencyRun(Frozen):
    """One configuration: a bundle at a number of threads (as asked; `executed.threads` is what the library says).

    load_ms: from the bundle's files to a runtime that can infer. first_inference_ms: the first query after it.
    first_verdict_ms: from the start of a process of its own to its first verdict, of a frame of the smallest size.
    invalid: why no figure of this run may be compared with another; empty when it may.
    """

    bundle: BundleFacts
    threads: Annotated[int, Field(ge=1)]
    executed: Executed
    load_ms: Once
    first_inference_ms: Once
    first_verdict_ms: Once
    measurements: tuple[Measurement, ...]
    sustained: Sustained | None
    conditions: tuple[Conditions, ...]
    invalid: tuple[str, ...]

    def find(self, case: Case, size: FrameSize | None = None) -> Measurement | None:
        """Return a measurement; of frames without a size, the first. None where it was not made."""
        found = (each for each in self.measurements if each.case == case and size in (None, each.size))
        return next(found, None)


class Minimum(Frozen):
    """What each measurement of each repeat must reach: queries and seconds, both."""

    queries: Annotated[int, Field(ge=1)]
    seconds: Positive


class LatencyResults(Frozen):
    """What `leukoscope bench latency` writes.

    frames: drawn, or files of the user's. warm_ups: queries before each measurement that do not count.
    repeats_asked: how often everything was to be measured; a run that was stopped has fewer.
    """

    format_version: Literal[1] = FORMAT_VERSION
    kind: Literal["latency"] = "latency"
    environment: Environment
    started_at: AwareDatetime
    finished_at: AwareDatetime
    preset: PresetName | None
    minimum: Minimum
    warm_ups: Count
    repeats_asked: Annotated[int, Field(ge=1)]
    frames: Literal["drawn", "files"]
    runs: tuple[LatencyRun, ...]


class AccuracyData(Frozen):
    """The images that were judged.

    name: of the folder, without its path. layout: how it is arranged. part: of a built data set. images: by class.
    list_sha256: over every file's sha256 and class. judged_from: image files go the device's whole way; prepared ones
    enter after the preparation, with the figures of quality that were taken of the frame when the data set was built.
    """

    name: str
    layout: Literal["data set", "published", "class folders"]
    part: str | None
    images: dict[str, Count]
    list_sha256: Sha256
    judged_from: Literal["image files", "prepared images"]


class Perturbation(Frozen):
    """How the images were made worse before they were judged; strength 1 is slight, 3 is strong."""

    kind: PerturbationKind
    strength: Literal[1, 2, 3]


class Agreement(Frozen):
    """How a bundle's answers compare with those of another one to the same images, abstentions aside."""

    name: str
    sha256: Sha256
    same_label: Figure
    largest_probability_difference: Share


class Mistake(Frozen):
    """An image whose class was named wrongly. label: null where the device abstained; named: what it leant to."""

    image: str
    truth: str
    named: str
    probability: Share
    label: str | None
    indeterminate: Reason | None


class AccuracyRun(Frozen):
    """One bundle on one set of images, perturbed or not.

    figures: as in the training report (`benchmarks.metrics.figures`), the likelier class taken of every image.
    confusion: counts of the same, rows are the truth. coverage: share of images that got a label.
    abstained: images without a label, by reason. abstained_by_class: share, by class.
    answered: figures of the images that got a label; null when none did.
    strict: accuracy, and recall of each class, when an image without a label counts as wrong.
    held_out: whether the bundle's training never saw these images; null where that can't be known.
    invalid: why no figure may be compared; empty when it may.
    """

    bundle: BundleFacts
    executed: Executed
    perturbation: Perturbation | None
    images: Annotated[int, Field(ge=1)]
    figures: dict[str, Figure]
    confusion: tuple[tuple[Count, ...], ...]
    coverage: Figure
    abstained: dict[Reason, Count]
    abstained_by_class: dict[str, Figure]
    answered: dict[str, Figure] | None
    strict: dict[str, Figure]
    agreement: tuple[Agreement, ...]
    mistakes: tuple[Mistake, ...]
    held_out: bool | None
    invalid: tuple[str, ...]


class AccuracyResults(Frozen):
    """What `leukoscope bench accuracy` writes."""

    format_version: Literal[1] = FORMAT_VERSION
    kind: Literal["accuracy"] = "accuracy"
    environment: Environment
    started_at: AwareDatetime
    finished_at: AwareDatetime
    data: AccuracyData
    runs: tuple[AccuracyRun, ...]


def _times(milliseconds: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Times:
    p50, p90, p95, p99 = np.percentile(milliseconds, [50, 90, 95, 99]).tolist()
    return Times(
        count=len(milliseconds),
        mean_ms=float(milliseconds.mean()),
        std_ms=float(milliseconds.std()),
        min_ms=float(milliseconds.min()),
        p50_ms=p50,
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        max_ms=float(milliseconds.max()),
    )
