"""What the running app says of itself: the newest verdict, its health, and what has happened."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from edge_app.cameras import Frame
from edge_app.classifier import Field, Verdict
from edge_app.consensus import Consensus
from edge_app.judging import REASONS
from edge_app.overlay import outlines
from edge_app.scale import RED_CELL_UM, RedCells

CameraState = Literal["opening", "live", "lost", "ended"]
RecordingState = Literal["off", "ready", "stopped"]


@dataclass(frozen=True)
class Event:
    """Something that happened and that a person should know."""

    at: datetime
    text: str


@dataclass(frozen=True)
class Judged:
    """A frame, the verdict on it, and what the last frames agree on."""

    frame: Frame
    verdict: Verdict
    consensus: Consensus

    def as_json(self) -> dict[str, Any]:
        """Return the verdict's JSON, the consensus, and what to draw over the frame, in the frame's pixels."""
        height, width = self.frame.image.shape[:2]
        return self.verdict.as_json() | {
            "consensus": vars(self.consensus),
            "frame": {"width": width, "height": height},
            "quality": self.verdict.quality.model_dump(),
            "boxes": [cell.box for cell in self.verdict.cells],
            "outlines": outlines(self.verdict.mask),
        }


@dataclass(frozen=True)
class Health:
    """How the station is. Rates in 1/s; frame_age_s: since the newest frame was had, None before the first."""

    camera: CameraState
    source: str
    frame_age_s: float | None
    captured_fps: float
    judged_fps: float
    inferring: bool
    restarts: int
    recording: RecordingState
    recording_problem: str | None
    failure: str | None

    @property
    def ready(self) -> bool:
        """Whether frames are fresh and judged."""
        return self.camera == "live" and self.inferring and self.failure is None


class Rate:
    """Counts events a second, over the last few seconds."""

    def __init__(self, window_s: float = 3) -> None:
        self._window_s = window_s
        self._times: list[float] = []

    def count(self) -> None:
        """Count one event now."""
        now = time.monotonic()
        self._times = [each for each in self._times if now - each < self._window_s] + [now]

    def per_second(self) -> float:
        """Return the rate over the window; 0 when nothing happened in it."""
        times = self._times
        now = time.monotonic()
        recent = [each for each in times if now - each < self._window_s]
        if len(recent) < 2:
            return 0.0
        return (len(recent) - 1) / max(now - recent[0], 1e-6)


def scale_text(red_cells: RedCells, given: bool, fields: Sequence[Field]) -> str:
    """Return what is to be said of a scale: whence it is known, and what it makes of a frame."""
    found = f"red cells are {red_cells.width:.0f} pixels wide, {RED_CELL_UM / red_cells.width:.3f} µm a pixel"
    if fields[0].judgement.indeterminate == "scale_out_of_range":
        comes_to = REASONS["scale_out_of_range"]
    else:
        comes_to = "a frame is one field" if len(fields) == 1 else f"a frame is cut into {len(fields)} fields"
    return f"scale {'as it was given' if given else 'measured'}: {found}; {comes_to}"
