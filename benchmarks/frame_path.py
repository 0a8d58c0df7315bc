"""What the way from a frame to a verdict costs: `python -m benchmarks.frame_path`.

Three questions, each answered by calls that take turns in one process, every second round in the opposite order:
`prepare` against the study's plain OpenCV sequence (with OpenCV's own threads), both against reading the frame once,
and a verdict against the model alone. Each call finds its frame where a camera has just written it: in one buffer.
One core and all of them are measured in processes of their own.
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import click
import cv2
import numpy as np
from pydantic import AwareDatetime

from benchmarks.environment import read_environment
from benchmarks.result_files import check_output
from benchmarks.results import Count, Environment, FrameSize, Positive
from edge_app.bundle import default_bundle_path, open_bundle
from edge_app.cameras import Frame
from edge_app.classifier import Classifier
from edge_app.cli import run_command
from edge_app.errors import InferenceError
from edge_app.frozen import Frozen
from edge_app.images import find_images, read_image
from edge_app.preprocessing import Image, Preprocessing, prepare
from edge_app.scale import Ruler
from edge_app.slides import Kind
from edge_app.smears import draw_smear

SIZES = (FrameSize(width=1280, height=960), FrameSize(width=2592, height=1944))
KINDS: tuple[Kind, ...] = ("healthy", "leukaemic")
WARM_UPS = 12  # frames, after which a ruler knows the scale
ALLOWANCE_MS = 1.0

Times = list[list[float]]  # milliseconds by frame and round


class Cost(Frozen):
    """Milliseconds that a call takes: least and median of the rounds, both the mean over the frames."""

    min_ms: Positive
    p50_ms: Positive


class PrepareCost(Frozen):
    """From frames of one size to mask and model input.

    read: every byte of the frame once, on one core. ratio: `prepare` over plain, the median of the rounds' own ratios.
    """

    cores: Count
    size: FrameSize
    read: Cost
    plain: Cost
    prepare: Cost
    ratio: Positive


class VerdictCost(Frozen):
    """From frames of one size to verdicts.

    threads: of the runtime. inferences: a frame, on average. model: so many inferences of an input that is ready.
    ratio: verdict over model and an allowance of 1 ms, the median of the rounds' own ratios.
    """

    cores: Count
    threads: Count
    size: FrameSize
    inferences: Positive
    model: Cost
    verdict: Cost
    ratio: Positive


class FramePath(Frozen):
    """What the command writes. load: processes that ran or waited before, the kernel's mean of the last minute."""

    environment: Environment
    bundle: str
    started_at: AwareDatetime
    finished_at: AwareDatetime
    load: Positive
    frames: Count
    frames_are_files: bool
    rounds: Count
    prepare: tuple[PrepareCost, ...]
    verdict: tuple[VerdictCost, ...]


def measure(bundle: Path, size: FrameSize, images: Path | None, count: int, rounds: int) -> tuple[Frozen, ...]:
    """Return the costs for frames of one size with the cores that this process has: a PrepareCost and VerdictCosts.

    Raises InferenceError when `prepare` gives anything else than the plain sequence.
    """
    cores = len(os.sched_getaffinity(0))
    frames = _read(images, size, count) if images else _draw(size, count)
    record = open_bundle(bundle).manifest.preprocessing
    for frame in frames:
        prepared, (mask, model_input) = prepare(frame, record), plain(frame, record)
        if not np.array_equal(prepared.mask, mask) or not np.array_equal(prepared.model_input[0], model_input):
            raise InferenceError("prepare differs from the plain sequence here; run tests/test_preprocessing.py")
    times = _by_turns(
        {"read": cv2.sumElems, "plain": partial(plain, record=record), "prepare": partial(prepare, record=record)},
        frames,
        rounds,
    )
    costs = {name: _cost(each) for name, each in times.items()}
    found: list[Frozen] = [PrepareCost(cores=cores, size=size, ratio=_ratio(times["prepare"], times["plain"]), **costs)]
    for threads in sorted({1, cores}):
        classifier, ruler = Classifier(open_bundle(bundle), threads=threads), Ruler()

        def judge(frame: Image, classifier: Classifier = classifier, ruler: Ruler = ruler) -> int:
            return len(classifier.judge(Frame(frame, 0, 0, datetime.now(UTC), "memory", 0, {}), ruler).fields)

        inferences = [judge(frames[number % len(frames)]) for number in range(WARM_UPS)][-len(frames) :]
        infer = partial(_infer, classifier, prepare(frames[0], record).model_input, round(statistics.mean(inferences)))
        times = _by_turns({"model": infer, "verdict": judge}, frames, rounds)
        allowed = [[each + ALLOWANCE_MS for each in of_frame] for of_frame in times["model"]]
        found.append(
            VerdictCost(
                cores=cores,
                threads=threads,
                size=size,
                inferences=statistics.mean(inferences),
                ratio=_ratio(times["verdict"], allowed),
                **{name: _cost(each) for name, each in times.items()},
            )
        )
    return tuple(found)


def plain(frame: Image, record: Preprocessing) -> tuple[Image, Image]:
    """Return mask and model input (uint8 [H, W, 3], RGB) by the study's OpenCV calls, one after the other."""
    mask = cv2.inRange(cv2.cvtColor(frame, cv2.COLOR_BGR2HSV), record.hsv_low, record.hsv_high)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((record.opening, record.opening), np.uint8))
    stained = cv2.bitwise_and(frame, frame, mask=mask)
    small = cv2.resize(stained, (record.width, record.height), interpolation=cv2.INTER_AREA)
    return np.asarray(mask, np.uint8), np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8)


def markdown(results: FramePath) -> str:
    """Return two tables as docs/performance.md has them, least and median in each cell."""
    lines = [
        "| cores | frame | read once, ms | plain sequence, ms | `prepare`, ms | ratio |",
        "|---|---|---|---|---|---|",
        *(
            f"| {each.cores} | {each.size} | {_cell(each.read)} | {_cell(each.plain)} | {_cell(each.prepare)} "
            f"| **{each.ratio:.2f}** |"
            for each in results.prepare
        ),
        "",
        "| cores | threads | frame | model alone, ms | frame → verdict, ms | less the model, ms | of model + 1 ms |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {each.cores} | {each.threads} | {each.size} | {_cell(each.model)} | {_cell(each.verdict)} "
            f"| {each.verdict.p50_ms - each.model.p50_ms:.2f} | **{each.ratio:.2f}** |"
            for each in results.verdict
        ),
    ]
    return "\n".join(lines)


def _by_turns(calls: dict[str, Callable[[Image], object]], frames: Sequence[Image], rounds: int) -> dict[str, Times]:
    times: dict[str, Times] = {name: [[] for _ in frames] for name in calls}
    camera = np.empty_like(frames[0])
    for number in range(rounds + 1):
        for index, frame in enumerate(frames):
            for name in list(calls)[:: -1 if number % 2 else 1]:
                np.copyto(camera, frame)
                before = time.perf_counter_ns()
                calls[name](camera)
                if number:  # the first round warms up
                    times[name][index].append((time.perf_counter_ns() - before) / 1e6)
    return times


def _infer(classifier: Classifier, model_input: Image, count: int, frame: Image) -> None:  # noqa: ARG001
    for _ in range(count):
        classifier.runtime.infer(model_input)


def _cost(times: Times) -> Cost:
    return Cost(min_ms=statistics.mean(map(min, times)), p50_ms=statistics.mean(map(statistics.median, times)))


def _ratio(times: Times, others: Times) -> float:
    """Return the median over frames and rounds of the ratio of two calls that came next to each other."""
    pairs = zip(times, others, strict=True)
    return statistics.median(a / b for these, those in pairs for a, b in zip(these, those, strict=True))


def _draw(size: FrameSize, count: int) -> list[Image]:
    return [draw_smear(n, kind=KINDS[n % 2], width=size.width, height=size.height).image for n in range(count)]


def _read(folder: Path, size: FrameSize, count: int) -> list[Image]:
    """Return some images of a folder, evenly chosen, resized."""
    files = find_images(folder)
    chosen = files[:: max(1, len(files) // count)][:count]
    frames = []
    for image in map(read_image, chosen):
        how = cv2.INTER_AREA if image.shape[0] >= size.height else cv2.INTER_CUBIC
        frames.append(np.asarray(cv2.resize(image, (size.width, size.height), interpolation=how), np.uint8))
    return frames


def _on_cores(count: int, bundle: Path, size: FrameSize, images: Path | None, frames: int, rounds: int) -> list[Frozen]:
    """Measure in a fresh process that has only so many cores, the last ones: the first serves most interrupts."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(mine)[-count:])
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            return list(process.submit(measure, bundle, size, images, frames, rounds).result())
    finally:
        os.sched_setaffinity(0, mine)


def _cell(cost: Cost) -> str:
    return f"{cost.min_ms:.2f} / {cost.p50_ms:.2f}"


@click.command(epilog="Example: python -m benchmarks.frame_path --rounds 100 --output frame-path.json")
@click.option("--bundle", type=click.Path(path_type=Path), help="A .leuko bundle; without it the shipped one.")
@click.option("--images", type=click.Path(path_type=Path), help="Images, resized, in place of drawn fields.")
@click.option("--frames", type=click.IntRange(1, 64), default=4, show_default=True, help="Of each size.")
@click.option("--rounds", type=click.IntRange(1), default=50, show_default=True, help="Of every frame.")
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Write the results as JSON.")
def main(bundle: Path | None, images: Path | None, frames: int, rounds: int, output: Path | None) -> None:
    """Measure what a frame costs beside the model, at 1280x960 and 2592x1944; prints tables in Markdown."""
    if output:
        check_output(output)
    path, cores = bundle or default_bundle_path(), len(os.sched_getaffinity(0))
    started_at, load = datetime.now(UTC), os.getloadavg()[0]
    found = [
        each
        for size in SIZES
        for count in sorted({1, cores})
        for each in _on_cores(count, path, size, images, frames, rounds)
    ]
    results = FramePath(
        environment=read_environment(),
        bundle=open_bundle(path).manifest.name,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        load=load,
        frames=frames,
        frames_are_files=images is not None,
        rounds=rounds,
        prepare=tuple(each for each in found if isinstance(each, PrepareCost)),
        verdict=tuple(each for each in found if isinstance(each, VerdictCost)),
    )
    if output:
        output.write_text(results.model_dump_json(indent=1) + "\n", "utf-8")
    click.echo(markdown(results))


if __name__ == "__main__":
    run_command(main, "frame_path")
