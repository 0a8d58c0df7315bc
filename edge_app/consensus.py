"""What the last frames agree on, and whether the microscope still shows the same field.

One odd frame changes nothing: a label stands when `needed` of the last `frames` verdicts gave it, and stays until
another one has as many (k of n with hysteresis). When the field moves, counting starts anew.
"""

from collections import Counter, deque
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge_app.preprocessing import Image

# Correlation of two reduced fields. On real fields noise, flicker and lost focus leave it above 0.97; a shift by 2 % of
# the frame's width brings it below 0.6, one by 1 % to about 0.5, and one by 0.5 % leaves it above 0.7.
SAME_FIELD = 0.6
WORK_SIDE = 64  # pixels, of the reduced fields
STEADY_FRAMES = 5


@dataclass(frozen=True)
class Consensus:
    """What stands after a frame.

    label: a class, or None while nothing is agreed on, or when most frames were indeterminate.
    agreed: whether the last frames agree (on a label, or on being indeterminate).
    votes: how many of the last `frames` gave what stands. field: from 0, counts the fields seen. moved: whether this
    frame shows another field than the one before. steady: whether the field has not moved for some frames.
    """

    label: str | None
    agreed: bool
    votes: int
    frames: int
    field: int
    moved: bool
    steady: bool


class Voting:
    """Follows the verdicts of one camera."""

    def __init__(self, frames: int, needed: int) -> None:
        """Let `needed` of the last `frames` verdicts decide; needed must be more than half, so that two can't."""
        if not frames / 2 < needed <= frames:
            raise ValueError(f"needed must be above {frames / 2:g} and at most {frames}, not {needed}")
        self._needed = needed
        self._votes: deque[str | None] = deque(maxlen=frames)
        self._standing: str | None = None
        self._agreed = False
        self._field = 0
        self._still = 0
        self._reference: npt.NDArray[np.float32] | None = None

    def update(self, label: str | None, thumbnail: Image) -> Consensus:
        """Count a verdict (None: indeterminate) on a frame, given the frame reduced: uint8 [h, w, 3], BGR."""
        seen = _field_of(thumbnail)
        moved = self._reference is not None and _likeness(self._reference, seen) < SAME_FIELD
        if moved:
            self._votes.clear()
            self._standing, self._agreed, self._still = None, False, 0
            self._field += 1
        else:
            self._still += 1
        if moved or self._reference is None:
            self._reference = seen
        self._votes.append(label)
        winner, votes = Counter(self._votes).most_common(1)[0]
        if votes >= self._needed:
            self._standing, self._agreed = winner, True
        return Consensus(
            label=self._standing,
            agreed=self._agreed,
            votes=self._votes.count(self._standing) if self._agreed else votes,
            frames=len(self._votes),
            field=self._field,
            moved=moved,
            steady=self._still >= STEADY_FRAMES,
        )


def _field_of(thumbnail: Image) -> npt.NDArray[np.float32]:
    """Return the reduced field with mean 0 and length 1; all 0 where it is plain."""
    small = cv2.resize(thumbnail, (WORK_SIDE, WORK_SIDE), interpolation=cv2.INTER_AREA)
    # green, where stained nuclei are darkest; two grey levels of noise are no structure
    field = np.asarray(cv2.extractChannel(small, 1), np.float32)
    field -= field.mean()
    length = float(np.linalg.norm(field))
    return field / length if length > 2 * WORK_SIDE else np.zeros_like(field)


def _likeness(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    """Return the correlation of two fields; two plain ones are alike."""
    if not one.any() and not other.any():
        return 1.0
    return float((one * other).sum())
