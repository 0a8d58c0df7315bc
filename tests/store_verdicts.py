"""Verdicts for tests of the record store, without a model."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from edge_app.cells import Cell
from edge_app.classifier import Field, Verdict
from edge_app.judging import Judgement
from edge_app.preprocessing import Image
from edge_app.quality import Quality
from edge_app.scale import RedCells
from edge_app.store import Record, Session, Store
from edge_app.store.clock import Clock

HEIGHT, WIDTH = 48, 64


def picture(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> Image:
    """Return noise: what a PNG can't make small."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def a_verdict(
    *,
    label: str | None = "Cancer",
    at: datetime | None = None,
    height: int = HEIGHT,
    width: int = WIDTH,
    **changes: Any,
) -> Verdict:
    """Return a verdict on a frame of that size; label None is an indeterminate one."""
    mask = np.zeros((height, width), np.uint8)
    mask[8:32, 8:40] = 255
    quality = Quality(
        mask_fraction=0.25,
        focus=1.5,
        noise=1.5,
        brightness=230.0,
        clipped=0.0,
        tint_a=130.0,
        tint_b=127.0,
        stain_hue=140.0,
        stain_saturation=None,
    )
    fields: dict[str, Any] = {
        "source": "demo:",
        "judgement": Judgement(label, {"Cancer": 0.75, "Normal": 0.25}, None if label else "out_of_focus"),
        "fields": (
            Field(
                (0, 0, 40, 48), Judgement(label, {"Cancer": 0.75, "Normal": 0.25}, None if label else "out_of_focus")
            ),
            Field((24, 0, 40, 48), Judgement(None, {"Cancer": 0.125, "Normal": 0.875}, "no_stained_cell")),
        ),
        "positive_share": 1.0 if label else None,
        "worst": 0 if label else None,
        "red_cells": RedCells(4.0, 4.0),
        "quality": quality,
        "cells": [Cell(24.0, 20.0, 768, (8, 8, 32, 24))],
        "mask": mask,
        "thumbnail": np.zeros((8, 8, 3), np.uint8),
        "times_ms": {"grab": 1.0, "prepare": 2.0, "infer": 3.0, "judge": 4.0, "total": 10.0},
        "frame_id": 7,
        "captured_at": at or datetime.now(UTC),
        "settings": {"width": width, "exposure": 0.5, "fourcc": "MJPG"},
        "model": "yolo11n-int8",
        "threshold": 0.5,
        "bundle": "b" * 64,
        "preprocessing": "c" * 64,
        "executed": "LiteRT 2.1, int8, 2 threads",
        "certified": True,
    }
    return Verdict(**(fields | changes))


def keep_one(
    store: Store, *, seed: int = 0, session: Session | None = None, clock: Clock | None = None, **changes: Any
) -> Record:
    """Keep a verdict on a picture that the seed makes, taken now."""
    clock = clock or Clock()
    return store.keep(
        a_verdict(at=clock.now(), **changes),
        picture(seed),
        session=session or Session(),
        trigger="button",
        monotonic_ns=clock.monotonic_ns(),
        um_per_pixel=0.25,
    )


def image_files(folder: Path) -> set[str]:
    """Return the names of the files in the images' folder."""
    return {path.name for path in (folder / "images").iterdir()}


class SimulatedClock(Clock):
    """A device's clocks that stand still until they are moved; `sure` is what the test says."""

    def __init__(self, wall: datetime = datetime(2027, 3, 1, 12, tzinfo=UTC), *, is_set: bool = True) -> None:
        self.wall = wall
        self.is_set = is_set
        self.boot = "boot-1"
        self.monotonic = 10**12

    def now(self) -> datetime:
        return self.wall

    def monotonic_ns(self) -> int:
        return self.monotonic

    def boot_id(self) -> str:
        return self.boot

    def sure(self) -> bool:
        return self.is_set

    def pass_by(self, **how_long: float) -> None:
        """Let time pass: timedelta's arguments."""
        passed = timedelta(**how_long)
        self.wall += passed
        self.monotonic += round(passed.total_seconds() * 1e9)
