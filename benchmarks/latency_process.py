"""The process that is measured: `python -m benchmarks.latency_process JOB`, started by `benchmarks.latency`.

It writes a JSON object a line to stdout. A SIGINT ends what it is at, and what was measured by then is written.
"""

import itertools
import json
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from benchmarks.memory import peak_bytes
from benchmarks.reels import Reel
from edge_app.bundle import Bundle, open_bundle
from edge_app.cameras import Frame
from edge_app.classifier import Classifier, Verdict
from edge_app.errors import LeukoscopeError
from edge_app.preprocessing import Image, prepare
from edge_app.scale import Ruler

MEMORY_QUERIES = 10
NOTE_EVERY_NS = 500_000_000

JobKind = Literal["cold", "timed", "sustained"]

clock = time.perf_counter_ns  # on Linux the monotonic clock, which all processes share
stopping = False
ruler = Ruler()  # as the app does: the scale is measured in the first frames


@dataclass(frozen=True)
class Job:
    """What to measure.

    kind: cold is the first verdict and the memory of a process; timed is everything else; sustained never rests.
    reel: path, width, height, frames. started_ns: when the process was started. queries, seconds: what each measurement
    must reach; of a sustained one, seconds is its length.
    """

    kind: JobKind
    bundle: str
    threads: int
    reels: tuple[tuple[str, int, int, int], ...]
    started_ns: int
    queries: int
    seconds: float
    warm_ups: int

    def open_reels(self) -> list[Reel]:
        """Return the reels."""
        return [Reel(Path(path), width, height, frames) for path, width, height, frames in self.reels]


def main() -> None:
    """Do the job that the one argument describes in JSON."""
    signal.signal(signal.SIGINT, _stop)
    job = Job(**json.loads(sys.argv[1]))
    jobs = {"cold": cold, "timed": timed, "sustained": sustained}
    try:
        jobs[job.kind](job)
    except LeukoscopeError as error:
        _write("failed", error=type(error).__name__, message=str(error))


def cold(job: Job) -> None:
    """Time the way from the start of the process to its first verdict, then judge a few more and tell the memory."""
    classifier = Classifier(open_bundle(Path(job.bundle)), threads=job.threads)
    reel = job.open_reels()[0]
    frames = iter(reel)
    _judge(classifier, next(frames))
    first_ms = (clock() - job.started_ns) / 1e6
    for frame in itertools.islice(frames, MEMORY_QUERIES):
        _judge(classifier, frame)
    _write(
        "cold",
        size={"width": reel.width, "height": reel.height},
        first_verdict_ms=first_ms,
        peak_memory_bytes=peak_bytes(),
    )


def timed(job: Job) -> None:
    """Time the load, the first inference, the model and the bare call by turns, then each size of frames."""
    began = clock()
    bundle = open_bundle(Path(job.bundle))
    classifier = Classifier(bundle, threads=job.threads)
    loaded = clock()
    pictures = _pictures(job.open_reels()[0], bundle)
    ready = clock()
    classifier.runtime.infer(pictures[0])
    _write(
        "loaded",
        load_ms=(loaded - began) / 1e6,
        first_inference_ms=(clock() - ready) / 1e6,
        executed=asdict(classifier.runtime.describe()),
    )
    _model_and_bare(job, bundle, classifier, pictures)
    for reel in job.open_reels():
        if not stopping:
            _frames(job, classifier, reel)


def sustained(job: Job) -> None:
    """Judge frames without rest and tell each minute's times."""
    classifier = Classifier(open_bundle(Path(job.bundle)), threads=job.threads)
    frames = iter(job.open_reels()[0])
    for frame in itertools.islice(frames, job.warm_ups):
        _judge(classifier, frame)
    begun = noted = clock()
    end = begun + int(job.seconds * 1e9)
    while (minute := clock()) < end and not stopping:
        spans: list[int] = []
        minute_end = min(minute + 60_000_000_000, end)
        while clock() < minute_end and not stopping:
            frame = next(frames)
            before = clock()
            _judge(classifier, frame)
            after = clock()
            spans.append(after - before)
            if after - noted > NOTE_EVERY_NS:
                noted = after
                _write("progress", what="sustained", share=min(1.0, (after - begun) / (end - begun)))
        if spans:
            _write("minute", began_ns=minute, ended_ns=clock(), total=spans)
    if not stopping:
        _write("finished")


def _model_and_bare(job: Job, bundle: Bundle, classifier: Classifier, pictures: list[Image]) -> None:
    """Time both on the same pictures, each first by turns, so that whatever changes in between hits both alike."""
    from benchmarks.bare import bare_call

    calls: dict[str, Callable[[Image], Any]] = {
        "bare": bare_call(bundle, job.threads),
        "model": classifier.runtime.infer,
    }
    turn = itertools.cycle(pictures)

    def query(names: tuple[str, ...]) -> dict[str, int]:
        picture, spans = next(turn), {}
        for name in names:
            before = clock()
            calls[name](picture)
            spans[name] = clock() - before
        return spans

    orders = itertools.cycle([("bare", "model"), ("model", "bare")])
    began, spans, ended = _repeat(job, "model", lambda: query(next(orders)), ("bare", "model"))
    for name in calls:
        _write(
            "measured",
            case=name,
            size=None,
            frames=0,
            began_ns=began,
            ended_ns=ended,
            stages={"infer": spans[name]} if spans else {},
        )


def _frames(job: Job, classifier: Classifier, reel: Reel) -> None:
    frames = iter(reel)

    def query() -> dict[str, int]:
        frame = next(frames)
        before = clock()
        verdict = _judge(classifier, frame)
        total = clock() - before
        return {"total": total} | {name: round(verdict.times_ms[name] * 1e6) for name in ("prepare", "infer", "judge")}

    size = {"width": reel.width, "height": reel.height}
    began, spans, ended = _repeat(job, f"{reel.width}x{reel.height}", query, ("total",))
    _write("measured", case="frame", size=size, frames=reel.frames, began_ns=began, ended_ns=ended, stages=spans)


def _repeat(
    job: Job, what: str, query: Callable[[], Mapping[str, int]], whole: tuple[str, ...]
) -> tuple[int, dict[str, list[int]], int]:
    """Return when it began, the nanoseconds of each thing that a query times, and when it ended.

    Goes on until the things named in `whole` have the job's number of queries and of seconds, each for itself.
    """
    for _ in range(job.warm_ups):
        query()
    spans: defaultdict[str, list[int]] = defaultdict(list)
    spent: Counter[str] = Counter()
    began = noted = clock()
    share, queries = 0.0, 0
    while share < 1 and not stopping:
        for name, span in query().items():
            spans[name].append(span)
            spent[name] += span
        queries += 1
        share = min(queries / job.queries, *(spent[name] / (job.seconds * 1e9) for name in whole), 1.0)
        if clock() - noted > NOTE_EVERY_NS:
            noted = clock()
            _write("progress", what=what, cases=whole, share=share)
    return began, spans, clock()


def _pictures(reel: Reel, bundle: Bundle) -> list[Image]:
    """Return the model's input for each frame of a reel."""
    return [prepare(frame, bundle.manifest.preprocessing).model_input for frame in itertools.islice(reel, reel.frames)]


def _judge(classifier: Classifier, image: Image) -> Verdict:
    return classifier.judge(Frame(image, 0, time.monotonic_ns(), datetime.now(UTC), "benchmark", 0.0, {}), ruler)


def _write(event: str, **facts: object) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


def _stop(*_: object) -> None:
    global stopping
    stopping = True


if __name__ == "__main__":
    main()
