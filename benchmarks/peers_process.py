"""A process for one way of judging frames: `python -m benchmarks.peers_process JOB.json`; `benchmarks.peers` starts it.

Two kinds of lines go to stdout, each a JSON object; whatever a library prints goes to stderr.
{"first_ns": …, "label": …}     the first verdict is there; by the monotonic clock, which all processes share
{"times_ns": […], "labels": […], "peak_bytes": …}
{"missing": "…"} stands in place of both where a library is not installed.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory import peak_bytes
from benchmarks.peers_pipelines import PEERS, Image, Question, export_with_ultralytics


def main() -> None:
    """Do what the job says: judge frames, or export weights."""
    job = json.loads(Path(sys.argv[1]).read_bytes())
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        for line in _export(job) if "export" in job else _judge(job):
            answers.write(json.dumps(line) + "\n")
    except ImportError as error:
        answers.write(json.dumps({"missing": error.name or str(error)}) + "\n")


def _export(job: dict[str, Any]) -> Any:
    yield {"model": str(export_with_ultralytics(Path(job["model"]), job["export"], job["side"]))}


def _judge(job: dict[str, Any]) -> Any:
    """Judge the first frame, warm up, and then judge all in turn until both the queries and the seconds are reached."""
    peer = PEERS[job["peer"]]
    judge = peer.start(Path(job["model"]), Question(**job["question"]))
    first = _read(job["frames"][0])
    label = judge(first)
    yield {"first_ns": time.monotonic_ns(), "label": label}
    frames = [first, *map(_read, job["frames"][1:])]
    labels = [judge(frame) for frame in frames]
    for index in range(job["warm_ups"]):
        judge(frames[index % len(frames)])
    times: list[int] = []
    begun = time.monotonic_ns()
    while len(times) < job["queries"] or time.monotonic_ns() - begun < job["seconds"] * 1e9:
        frame = frames[len(times) % len(frames)]
        started = time.monotonic_ns()
        judge(frame)
        times.append(time.monotonic_ns() - started)
    yield {"times_ns": times, "labels": labels, "peak_bytes": peak_bytes()}


def _read(path: str) -> Image:
    """Return a frame, or an input that was prepared already: then without loading OpenCV."""
    if path.endswith(".npy"):
        return np.asarray(np.load(path, allow_pickle=False), np.uint8)
    import cv2

    return np.asarray(cv2.imread(path), np.uint8)


if __name__ == "__main__":
    main()
