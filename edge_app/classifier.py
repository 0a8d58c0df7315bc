"""From a frame to a verdict: prepare, infer, judge, each timed."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edge_app.bundle import Bundle
from edge_app.cameras import Frame, Setting
from edge_app.cells import Cell, find_cells
from edge_app.cores import pool
from edge_app.judging import Decision, Judgement, judge
from edge_app.preprocessing import Image, Prepared, prepare
from edge_app.quality import Quality, measure, thumbnail
from edge_app.runtimes import Runtime, load


@dataclass(frozen=True)
class Verdict:
    """What is said of one frame, and what it rests on.

    mask: uint8 [h, w] at the frame's size, 255 where stained. thumbnail: uint8 [H, W, 3], BGR, the frame at the model's
    size. times_ms: milliseconds by stage; total is their sum. threshold: the decision threshold in force.
    bundle, preprocessing: sha256 of the bundle's manifest and of its preprocessing record. executed: what the runtime
    says it ran.
    """

    source: str
    judgement: Judgement
    quality: Quality
    cells: list[Cell]
    mask: Image
    thumbnail: Image
    times_ms: Mapping[str, float]
    frame_id: int
    captured_at: datetime
    settings: Mapping[str, Setting]
    model: str
    threshold: float
    bundle: str
    preprocessing: str
    executed: str
    certified: bool

    def as_json(self) -> dict[str, Any]:
        """Return the verdict as the JSON line: keys are never renamed, new ones may come."""
        return {
            "source": self.source,
            "label": self.judgement.label,
            "probabilities": {name: round(p, 6) for name, p in self.judgement.probabilities.items()},
            "indeterminate": self.judgement.indeterminate,
            "mask_fraction": round(self.quality.mask_fraction, 6),
            "cells": len(self.cells),
            "focus": round(self.quality.focus, 4),
            "times_ms": {stage: round(ms, 3) for stage, ms in self.times_ms.items()},
            "frame_id": self.frame_id,
            "captured_at": self.captured_at.isoformat(timespec="milliseconds"),
            "model": self.model,
            "threshold": self.threshold,
            "bundle": self.bundle,
            "preprocessing": self.preprocessing,
            "executed": self.executed,
            "certified": self.certified,
            "settings": dict(self.settings),
        }


class Classifier:
    """Judges frames with one bundle; threads may share it, and wait for each other while its runtime infers.

    decision: the bundle's; another one may be set between two frames.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 0) -> None:
        """Load the bundle's model; threads 0 is one a core. Raises RuntimeMissingError or InferenceError."""
        # not the bundle itself: its files would stay in memory beside the runtime's own copy
        self.manifest = bundle.manifest
        self.bundle_sha256 = bundle.sha256
        self.runtime: Runtime = load(bundle, threads=threads)
        self._inferring = threading.Lock()  # the runtimes are not thread-safe
        self._executed = str(self.runtime.describe())
        self._preprocessing_sha256 = bundle.manifest.preprocessing.digest()
        self.decision: Decision = bundle.manifest.decision

    def judge(self, frame: Frame) -> Verdict:
        """Return the verdict on a frame; raises InputError for a picture of another shape, InferenceError."""
        manifest = self.manifest
        started = time.perf_counter_ns()
        prepared = prepare(frame.image, manifest.preprocessing)
        # what can be said without the model is found out while it runs
        looked = pool.submit(_look, frame.image, prepared)
        cells = pool.submit(find_cells, prepared.mask)
        ready = time.perf_counter_ns()
        with self._inferring:
            logits = self.runtime.infer(prepared.model_input)[0]
        inferred = time.perf_counter_ns()
        small, quality = looked.result()
        decision = self.decision
        judgement = judge(logits, quality, manifest.classes, decision, manifest.limits)
        found = cells.result()
        done = time.perf_counter_ns()
        times = {
            "grab": frame.grab_ms,
            "prepare": (ready - started) / 1e6,
            "infer": (inferred - ready) / 1e6,
            "judge": (done - inferred) / 1e6,
        }
        return Verdict(
            source=frame.source,
            judgement=judgement,
            quality=quality,
            cells=found,
            mask=prepared.mask,
            thumbnail=small,
            times_ms=times | {"total": sum(times.values())},
            frame_id=frame.sequence,
            captured_at=frame.captured_at,
            settings=frame.settings,
            model=manifest.name,
            threshold=decision.threshold,
            bundle=self.bundle_sha256,
            preprocessing=self._preprocessing_sha256,
            executed=self._executed,
            certified=manifest.gate.certified,
        )


def _look(image: Image, prepared: Prepared) -> tuple[Image, Quality]:
    """Return a frame's thumbnail at the model's size, and its figures."""
    small = thumbnail(image, *prepared.model_input.shape[1:3])
    return small, measure(small, prepared)
