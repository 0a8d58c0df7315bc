"""Other ways to judge the same frames with the same weights, measured beside ours in one interleaved run.

A round starts a fresh process for each way in turn: the time from its start to the first verdict, the time from a frame
in memory to a verdict, and its peak memory come from the same process, and no way's busy threads disturb another. Each
round begins with another way, so that whatever drifts hits all alike.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from benchmarks.environment import read_environment
from benchmarks.peers_pipelines import PEERS, Peer, Question
from benchmarks.peers_results import NotMeasured, PeerRun, PeersResults, Ratios
from benchmarks.results import FrameSize, Minimum, Once, Series
from benchmarks.run_folder import read_run
from edge_app.board import read_board
from edge_app.bundle import Bundle, write_bundle
from edge_app.errors import InferenceError, InputError
from edge_app.preprocessing import Image, prepare

WARM_UPS = 10
START_LIMIT_S = 180
LIBRARIES = ("torch", "torchvision", "ultralytics")
ULTRALYTICS_ENVIRONMENT = {"YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true", "YOLO_VERBOSE": "false"}


@dataclass
class _Way:
    """A way, what its process is told, and what its rounds gave."""

    name: str
    peer: Peer
    job: dict[str, Any]
    bundle: str | None = None
    times_ns: list[list[int]] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)
    labels: tuple[str | None, ...] = ()
    fault: str | None = None


def measure(
    run: Path,
    bundles: Sequence[Bundle],
    frames: Sequence[Image],
    *,
    rounds: int,
    minimum: Minimum,
    notify: Callable[[int, int, str], None] = lambda *_: None,
) -> PeersResults:
    """Return the figures of all ways that this device can go; the first bundle is the reference.

    run: the training run whose weights the bundles were made from. frames: uint8 [h, w, 3], BGR. notify: is called with
    steps done, all steps, and what is done next. A way that is not installed or fails becomes a line of its own; Ctrl-C
    keeps the rounds that are whole. Raises InputError when a bundle is made from other weights or asks something
    else than the others, and for a run of Keras, TrainingError for the run, and InferenceError when our own way fails.
    """
    record = read_run(run)
    if record.framework != "ultralytics":
        raise InputError(f"{run} was trained with Keras, and the other ways run YOLO; name a run of a YOLO model")
    question = _question(bundles, record.weights_sha256)
    started_at, load, invalid = datetime.now(UTC), os.getloadavg()[0], set[str]()
    with TemporaryDirectory(prefix="leukoscope-peers-") as name:
        folder = Path(name)
        shutil.copy(run / record.weights_file, folder / "weights.pt")
        ways = _ways(folder, bundles, frames, question)
        formats = [each for each in ("onnx", "openvino", "litert") if any(way.peer.model == each for way in ways)]
        total, done = len(formats) + rounds * len(ways), 0
        for model_format in formats:
            notify(done, total, f"Ultralytics exports to {model_format}")
            _export(folder, model_format, question.side, [way for way in ways if way.peer.model == model_format])
            done += 1
        whole = 0
        try:
            for index in range(rounds):
                for way in (*ways[index % len(ways) :], *ways[: index % len(ways)]):
                    notify(done, total, f"round {index + 1} of {rounds}: {way.name}")
                    invalid.update(_throttled())
                    if way.fault is None:
                        _measure_round(folder, way, minimum, rounds)
                    done += 1
                invalid.update(_throttled())
                whole += 1
        except KeyboardInterrupt:
            if whole == 0:
                raise
            invalid.add(f"stopped after {whole} of {rounds} rounds")
    environment = read_environment()
    if environment.emulated:
        invalid.add("emulated: the times say nothing of the device")
    return PeersResults(
        environment=environment.replace(libraries=environment.libraries | _versions()),
        started_at=started_at,
        finished_at=datetime.now(UTC),
        weights_sha256=record.weights_sha256,
        frames=len(frames),
        size=_common_size(frames),
        load=load,
        minimum=minimum,
        rounds_asked=rounds,
        rounds=whole,
        runs=tuple(_result(way, ways[0], whole) for way in ways if way.fault is None),
        not_measured=tuple(
            NotMeasured(way=way.name, title=way.peer.title, reason=way.fault) for way in ways if way.fault is not None
        ),
        invalid=tuple(sorted(invalid)),
    )


def _question(bundles: Sequence[Bundle], weights_sha256: str) -> Question:
    """Return what all are asked; raises InputError when the bundles don't ask the same of the same weights."""
    first = bundles[0].manifest
    record = first.preprocessing
    for bundle in bundles:
        manifest = bundle.manifest
        if manifest.weights_sha256 != weights_sha256:
            raise InputError(
                f"{manifest.name} was made from other weights than the run's; name the run it was exported from, or a "
                "bundle that was exported from this one"
            )
        if (manifest.preprocessing, manifest.classes) != (record, first.classes):
            raise InputError(
                f"{manifest.name} prepares frames otherwise than {first.name} does; export both from the run again"
            )
    if record.height != record.width:
        raise InputError(
            f"{first.name} takes pictures of {record.width}×{record.height} pixels and Ultralytics square ones only; "
            "name a bundle with a square input"
        )
    return Question(first.classes, record.hsv_low, record.hsv_high, record.opening, record.height)


def _ways(folder: Path, bundles: Sequence[Bundle], frames: Sequence[Image], question: Question) -> list[_Way]:
    """Return every way, ours first; writes the bundles, the frames and their prepared inputs into the folder."""
    pictures, inputs = [], []
    for index, frame in enumerate(frames):
        pictures.append(str(folder / f"{index}.bmp"))
        cv2.imwrite(pictures[-1], frame)
        inputs.append(str(folder / f"{index}.npy"))
        np.save(inputs[-1], prepare(frame, bundles[0].manifest.preprocessing).model_input)
    for number, bundle in enumerate(bundles):
        write_bundle(folder / f"{number}.leuko", bundle)
    ways = []
    for name, peer in PEERS.items():
        job = {"peer": name, "question": asdict(question), "frames": inputs if peer.prepared else pictures}
        if peer.model == "bundle":
            for number, bundle in enumerate(bundles):
                model, called = str(folder / f"{number}.leuko"), bundle.manifest.name
                ways.append(_Way(f"{name} {called}", peer, job | {"model": model}, called))
        else:
            ways.append(_Way(name, peer, job | {"model": str(folder / "weights.pt")}))
    return ways


def _export(folder: Path, model_format: str, side: int, ways: list[_Way]) -> None:
    """Let Ultralytics export the weights, and tell the ways where the model lies, or why there is none."""
    job = {"export": model_format, "model": str(folder / "weights.pt"), "side": side}
    (line, *_), fault = _run(folder, job, START_LIMIT_S)
    for way in ways:
        way.fault = fault
        way.job["model"] = line.get("model")


def _measure_round(folder: Path, way: _Way, minimum: Minimum, rounds: int) -> None:
    share = {"queries": -(-minimum.queries // rounds), "seconds": minimum.seconds / rounds, "warm_ups": WARM_UPS}
    started = time.monotonic_ns()
    (first, rest), way.fault = _run(folder, way.job | share, START_LIMIT_S + 10 * minimum.seconds)
    if way.fault is not None:
        if way.peer is PEERS["leukoscope"]:
            raise InferenceError(f"our own way failed ({way.fault}); try the bundle with leukoscope bundle verify")
        return
    way.first_ms.append((first["first_ns"] - started) / 1e6)
    way.times_ns.append(rest["times_ns"])
    way.peaks.append(rest["peak_bytes"])
    way.labels = tuple(rest["labels"])


def _run(folder: Path, job: dict[str, Any], limit_s: float) -> tuple[list[dict[str, Any]], str | None]:
    """Return the lines that the job's process gave, or of what is due empty ones, and why it gave none."""
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    command = [sys.executable, "-m", "benchmarks.peers_process", str(path)]
    environment = os.environ | ULTRALYTICS_ENVIRONMENT | {"YOLO_CONFIG_DIR": str(folder)}
    due = 1 if "export" in job else 2
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=environment, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        return [{}] * due, f"no answer within {limit_s:.0f} s"
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    missing = [line["missing"] for line in lines if "missing" in line]
    if missing:
        return [{}] * due, f"not installed: {missing[0]}"
    if done.returncode or len(lines) < due:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return [{}] * due, f"failed: {said[-1][:200]}"
    return lines, None


def _result(way: _Way, reference: _Way, whole: int) -> PeerRun:
    compared = [(ours, theirs) for ours, theirs in zip(reference.labels, way.labels, strict=True) if ours is not None]

    def ratio(values: Sequence[float], others: Sequence[float]) -> float:
        return median(value / other for value, other in zip(values[:whole], others[:whole], strict=True))

    return PeerRun(
        way=way.name,
        title=way.peer.title,
        bundle=way.bundle,
        frame=Series.of(way.times_ns[:whole]),
        first_verdict_ms=Once.of(way.first_ms[:whole]),
        peak_memory_bytes=Once.of(way.peaks[:whole]),
        labels=way.labels,
        same_label=sum(ours == theirs for ours, theirs in compared),
        compared=len(compared),
        ratios=Ratios(
            frame=ratio([median(each) for each in way.times_ns], [median(each) for each in reference.times_ns]),
            first_verdict=ratio(way.first_ms, reference.first_ms),
            peak_memory=ratio(way.peaks, reference.peaks),
        ),
    )


def _common_size(frames: Sequence[Image]) -> FrameSize | None:
    sizes = {frame.shape[:2] for frame in frames}
    if len(sizes) > 1:
        return None
    height, width = sizes.pop()
    return FrameSize(width=width, height=height)


def _throttled() -> list[str]:
    """Return why what is measured now says little of this device."""
    throttling = read_board().throttling
    return [f"slowed down while it was measured: {what}" for what in throttling.now] if throttling else []


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in LIBRARIES if find_spec(name) is not None}
