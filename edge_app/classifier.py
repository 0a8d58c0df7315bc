"""From a frame to a verdict: prepare, infer, judge, each timed."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np

from edge_app.bundle import Bundle
from edge_app.cameras import Frame, Setting
from edge_app.cells import Box, Cell, find_cells
from edge_app.cores import CORES, Task, offer, results
from edge_app.fields import cut, fit, holds_nucleated, part, prepare_field
from edge_app.judging import Decision, Judgement, Reason, judge, judge_frame
from edge_app.preprocessing import Image, Prepared
from edge_app.quality import Quality, measure, pooled, thumbnail
from edge_app.runtimes import Runtime, load
from edge_app.scale import RED_CELL_UM, RedCells, Ruler


@dataclass(frozen=True)
class Field:
    """What was said of one field: a box (left, top, width, height) of the frame, in its pixels."""

    box: Box
    judgement: Judgement


@dataclass(frozen=True)
class Verdict:
    """What is said of one frame, and what it rests on.

    fields: what the judgement was made of; one, the whole frame, where it was not cut. positive_share, worst: see
    `edge_app.judging.FrameJudgement`. red_cells: their diameter in the frame's pixels, None where it is unknown or the
    model asks for no scale. quality: the mean of the fields'.
    mask: uint8 [h, w] at the frame's size, 255 where stained. thumbnail: uint8 [H, W, 3], BGR, the frame at the model's
    size. times_ms: milliseconds by stage; total is their sum. threshold: the decision threshold in force.
    bundle, preprocessing: sha256 of the bundle's manifest and of its preprocessing record. executed: what the runtime
    says it ran.
    """

    source: str
    judgement: Judgement
    fields: tuple[Field, ...]
    positive_share: float | None
    worst: int | None
    red_cells: RedCells | None
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
            "probabilities": _rounded(self.judgement.probabilities),
            "indeterminate": self.judgement.indeterminate,
            "fields": [
                {
                    "box": list(field.box),
                    "label": field.judgement.label,
                    "probabilities": _rounded(field.judgement.probabilities),
                    "indeterminate": field.judgement.indeterminate,
                }
                for field in self.fields
            ],
            "positive_share": None if self.positive_share is None else round(self.positive_share, 4),
            "worst_field": self.worst,
            "scale": {
                "red_cell_px": round(self.red_cells.width, 2),
                "um_per_pixel": round(RED_CELL_UM / self.red_cells.width, 5),
            }
            if self.red_cells
            else None,
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

    def judge(self, frame: Frame, ruler: Ruler | None = None) -> Verdict:
        """Return the verdict on a frame; raises InputError for a picture of another shape, InferenceError.

        ruler: of the frame's source; without one, this frame's red cells are measured where the model has a scale.
        """
        manifest, image = self.manifest, frame.image
        record = manifest.preprocessing
        started = time.perf_counter_ns()
        red_cells, boxes, size, fault = self._divide(image, ruler or Ruler())
        parts = [part(image, box) for box in boxes]
        cores = max(1, CORES // len(parts))
        preparing = [Task(partial(prepare_field, each, size, record, cores)) for each in parts]
        offer(preparing[1:])
        preparing[0].begin()
        # While the model runs, the cores that it leaves prepare the other fields, and find out what can be said without
        # it; what they have not begun then is done by this one.
        shown = Task(partial(thumbnail, image, record.height, record.width))
        views = [shown]
        if len(parts) > 1 or size != (record.width, record.height):
            views = [Task(partial(thumbnail, each, size[1], size[0])) for each in parts]
        finding = Task(partial(_find, image, boxes, preparing))
        measuring = [Task(partial(_measure, *each)) for each in zip(views, preparing, strict=True)]
        offer([*views, finding, *measuring])
        logits, inferring = [], 0
        for each in preparing:
            model_input = each.result().model_input
            began = time.perf_counter_ns()
            with self._inferring:
                logits.append(self.runtime.infer(model_input)[0])
            inferring += time.perf_counter_ns() - began
        inferred = time.perf_counter_ns()
        qualities = results(measuring)
        mask, cells = finding.result()
        decision = self.decision
        fields = []
        for box, scores, seen in zip(boxes, logits, qualities, strict=True):
            empty = red_cells is not None and not holds_nucleated(box, cells, red_cells)
            problem = fault or ("no_stained_cell" if empty else None)
            fields.append(Field(box, judge(scores, seen, manifest.classes, decision, manifest.limits, problem)))
        judged = judge_frame([field.judgement for field in fields], decision)
        done = time.perf_counter_ns()
        times = {
            "grab": frame.grab_ms,
            "prepare": (inferred - started - inferring) / 1e6,
            "infer": inferring / 1e6,
            "judge": (done - inferred) / 1e6,
        }
        return Verdict(
            source=frame.source,
            judgement=judged.judgement,
            fields=tuple(fields),
            positive_share=judged.positive_share,
            worst=judged.worst,
            red_cells=red_cells,
            quality=pooled(qualities, mask),
            cells=cells,
            mask=mask,
            thumbnail=shown.result(),
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

    def _divide(
        self, image: Image, ruler: Ruler
    ) -> tuple[RedCells | None, tuple[Box, ...], tuple[int, int], Reason | None]:
        """Return a frame's red cells, its fields, what each fills of the model's input, and why there are none.

        A frame without fields of the training scale is left whole.
        """
        scale, record = self.manifest.scale, self.manifest.preprocessing
        height, width = image.shape[:2]
        whole, full = ((0, 0, width, height),), (record.width, record.height)
        if scale is None:
            return None, whole, full, None
        red_cells = ruler.read(image)
        if red_cells is None:
            return None, whole, full, "scale_unknown"
        boxes = cut(width, height, red_cells, scale, record)
        if not boxes:
            return red_cells, whole, full, "scale_out_of_range"
        return red_cells, boxes, fit(boxes[0], red_cells, scale, record), None


def _find(image: Image, boxes: Sequence[Box], preparing: Sequence[Task[Prepared]]) -> tuple[Image, list[Cell]]:
    """Return the mask of a frame from those of its fields, which cover it, and the cells in it."""
    masks = [each.result().mask for each in preparing]
    mask = masks[0] if len(masks) == 1 else np.zeros(image.shape[:2], np.uint8)
    if len(masks) > 1:
        for box, each in zip(boxes, masks, strict=True):
            np.bitwise_or(part(mask, box), each, out=part(mask, box))
    return mask, find_cells(mask)


def _measure(view: Task[Image], preparing: Task[Prepared]) -> Quality:
    return measure(view.result(), preparing.result())


def _rounded(probabilities: Mapping[str, float]) -> dict[str, float]:
    return {name: round(p, 6) for name, p in probabilities.items()}
