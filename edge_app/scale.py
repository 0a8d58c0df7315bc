"""How large a picture shows things: red cells are 7 to 8 µm wide and lie in every field, so they are the ruler.

Their size is found without finding one of them. Each pixel of an edge votes for the place that lies one radius away
from it, towards the darker side: at the radius of the cells the votes of each outline meet in its centre, however much
the cells overlap and however pale their middles are (the Hough transform for circles, with the gradient's direction:
Kimme, Ballard and Sklansky, CACM 1975). The radius at which the votes meet best is half the red cells' diameter.
Edges of stained cells have no vote.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Annotated

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from edge_app.frozen import Frozen
from edge_app.preprocessing import Image, Preprocessing, stain_mask
from edge_app.quality import thumbnail

RED_CELL_UM = 7.5  # on a dried smear; 7 to 8
TOLERANCE = 0.25  # see `Scale`
SQUASHED = 4 / 3  # a field of 4:3 that was made square, as those of the ALL image dataset were
WORK_SIDE = 448  # pixels: the picture is looked at in this size
RADII = np.exp(np.arange(np.log(4.0), np.log(45.0), 0.09))  # pixels of that size
FINE_RADIUS = 6.0  # smaller ones are measured in the next view, where they are twice as large
SPREAD = 0.18  # of a radius: so near to each other do votes for one centre lie
MOST_EDGES = 6000  # pixels that vote
FEWEST_EDGES = 600  # the outlines of a dozen cells; fields of the published images have 2,400 and more
WEAKEST_EDGE = 0.3  # of the strong ones
CLEAR = 0.11  # about the square of the share of votes that meet; the least of the ALL images has 0.12, noise 0.03

NEEDED = 9  # measurements; then the scale is known, and only checked
CHECK_EVERY = 30  # frames
SAME = 0.05  # of a diameter: a median that is nearer than this is no other scale
DIFFERENT = 0.10  # and a single measurement that is farther off may be one

Floats = npt.NDArray[np.float32]


class Scale(Frozen):
    """At which scale a model was trained; all of it at the model's input.

    red_cell_px: the red cells' diameter in pixels across. pixel_aspect: width of what a pixel shows over its height,
    4/3 where fields of 4:3 were made square; down, a red cell is so many times longer. um_per_pixel: across.
    tolerance: by what share a frame's side may be longer than a field's and still be one. Networks trained on the
    published images hardly mind cells that are smaller than in training, but take larger healthy ones for blasts.
    """

    red_cell_px: Annotated[float, Field(ge=2, le=1000)]
    pixel_aspect: Annotated[float, Field(ge=0.25, le=4)] = 1.0
    um_per_pixel: Annotated[float, Field(gt=0)]
    tolerance: Annotated[float, Field(ge=0, le=1)] = TOLERANCE


@dataclass(frozen=True)
class RedCells:
    """The red cells' diameter in a picture, in its pixels, across and down; they differ where it was squashed."""

    width: float
    height: float


def red_cells_of(um_per_pixel: float) -> RedCells:
    """Return the red cells' diameter where a pixel, a square one, shows so many µm."""
    return RedCells(RED_CELL_UM / um_per_pixel, RED_CELL_UM / um_per_pixel)


def measure_red_cells(frame: Image) -> RedCells | None:
    """Return the red cells' diameter in a frame (uint8 [h, w, 3], BGR), or None where it can't be told.

    Diameters from 12 pixels to a sixth of the frame's longer side are found. A square frame may be a squashed one of
    4:3, and is taken for that in which the cells are rounder. Raises InputError for another shape or dtype.
    """
    for small, reduced_by in _views(frame):
        height, width = small.shape[:2]
        found = []
        for aspect in (1.0, SQUASHED) if frame.shape[0] == frame.shape[1] else (1.0,):
            stretch = aspect**0.5
            view = small if aspect == 1 else _resized(small, round(height / stretch), round(width * stretch))
            found.append((*_clearest(_edges(view)), stretch))
        clear, radius, stretch = max(found)
        if clear >= CLEAR and (radius >= FINE_RADIUS or reduced_by == 1):
            diameter = 2 * radius * reduced_by
            return RedCells(diameter / stretch, diameter * stretch)
    return None


class Ruler:
    """Knows the red cells' diameter in the frames of one source: as it was said, or measured in the first of them.

    It is the median of the last `NEEDED` measurements. So many frames are measured; then it stays as it is, and every
    30th frame is measured to see whether it still holds. One that differs has the next ones measured too, so another
    objective, or a start out of focus, is put right within some 35 frames, or at once after `forget`. Frames of another
    size are measured anew.
    """

    def __init__(self, um_per_pixel: float | None = None) -> None:
        """Take the scale that is said, µm a pixel, or measure it."""
        self.given = um_per_pixel is not None
        self.red_cells = red_cells_of(um_per_pixel) if um_per_pixel else None
        self._forget = False
        self._size = (0, 0)
        self._measured: deque[RedCells] = deque(maxlen=NEEDED)
        self._due_in = 0  # frames

    @property
    def um_per_pixel(self) -> float | None:
        """µm a pixel, or None while it is not known."""
        return RED_CELL_UM / self.red_cells.width if self.red_cells else None

    @property
    def steady(self) -> bool:
        """Whether the scale was said, or measured often enough."""
        return self.given or len(self._measured) == NEEDED

    def forget(self) -> None:
        """Measure anew from the next frame on, if the scale was not said."""
        self._forget = True

    def read(self, frame: Image) -> RedCells | None:
        """Return the red cells' diameter in a frame's pixels, or None while it could not be measured."""
        if self.given:
            return self.red_cells
        if self._forget or frame.shape[:2] != self._size:
            self._forget, self._size, self.red_cells = False, (frame.shape[0], frame.shape[1]), None
            self._measured.clear()
        self._due_in -= 1
        if self.steady and self._due_in > 0:
            return self.red_cells
        self._due_in = CHECK_EVERY
        if found := measure_red_cells(frame):
            was_steady = self.steady
            self._measured.append(found)
            width, height = (float(np.median(each)) for each in zip(*map(astuple, self._measured), strict=True))
            if not was_steady or self.red_cells is None or abs(width / self.red_cells.width - 1) > SAME:
                self.red_cells = RedCells(width, height)
            if abs(found.width / self.red_cells.width - 1) > DIFFERENT:
                self._due_in = 1
        return self.red_cells


def _views(frame: Image) -> Iterator[tuple[Image, float]]:
    """Yield the frame at `WORK_SIDE`, its middle at twice that size, and so on, each with what it is reduced by."""
    height, width = frame.shape[:2]
    reduced_by = max(1.0, max(height, width) / WORK_SIDE)
    while True:
        rows, columns = (min(side, round(WORK_SIDE * reduced_by)) for side in (height, width))
        top, left = (height - rows) // 2, (width - columns) // 2
        middle = frame[top : top + rows, left : left + columns]
        yield _resized(middle, round(rows / reduced_by), round(columns / reduced_by)), reduced_by
        if reduced_by == 1:
            return
        reduced_by = max(1.0, reduced_by / 2)


def _resized(image: Image, height: int, width: int) -> Image:
    return image if image.shape[:2] == (height, width) else thumbnail(image, max(1, height), max(1, width))


@dataclass(frozen=True)
class _Edges:
    """Pixels on edges: places, and unit vectors towards the bright side; they are this share of all there are."""

    x: Floats
    y: Floats
    towards_x: Floats
    towards_y: Floats
    height: int
    width: int
    share: float


def _edges(view: Image) -> _Edges:
    """Return the edges of a picture in green, which red cells absorb; stained cells and what is near them have none."""
    stained = cv2.dilate(stain_mask(view, Preprocessing()), np.ones((5, 5), np.uint8))
    green = cv2.GaussianBlur(cv2.extractChannel(view, 1), (0, 0), 1.0)
    across, down = (cv2.Sobel(green, cv2.CV_32F, *order, ksize=3) for order in ((1, 0), (0, 1)))
    strength = np.sqrt(across * across + down * down)  # cv2.magnitude differs with where in memory the arrays lie
    strength[stained > 0] = 0
    strength[[0, -1]] = 0
    strength[:, [0, -1]] = 0
    height, width = strength.shape
    flat = strength.ravel()
    at = np.flatnonzero(flat > max(WEAKEST_EDGE * float(np.percentile(strength[::2, ::2], 98)), 1.0))
    towards_x, towards_y = across.ravel()[at] / flat[at], down.ravel()[at] / flat[at]
    next_to = np.rint(towards_y).astype(np.int64) * width + np.rint(towards_x).astype(np.int64)
    crest = (flat[at] >= flat[at + next_to]) & (flat[at] > flat[at - next_to])
    at, towards_x, towards_y = at[crest], towards_x[crest], towards_y[crest]
    every = np.linspace(0, len(at) - 1, min(len(at), MOST_EDGES)).astype(np.int64)
    at, share = at[every], len(every) / max(len(at), 1)
    return _Edges(
        (at % width).astype(np.float32),
        (at // width).astype(np.float32),
        towards_x[every],
        towards_y[every],
        height,
        width,
        share,
    )


def _clearest(edges: _Edges) -> tuple[float, float]:
    """Return how well the votes meet at the radius at which they meet best, and that radius; 0, 0 where they don't."""
    if len(edges.x) < FEWEST_EDGES:
        return 0.0, 0.0
    meeting = [_meeting(edges, radius) for radius in RADII.tolist()]
    best = int(np.argmax(meeting))
    if not 0 < best < len(RADII) - 1:  # the true one may lie outside
        return 0.0, 0.0
    before, here, after = meeting[best - 1 : best + 2]
    shift = 0.5 * (before - after) / (before - 2 * here + after)  # the top of the parabola through the three
    return here, float(RADII[best] * (RADII[best + 1] / RADII[best]) ** shift)


def _meeting(edges: _Edges, radius: float) -> float:
    """Return how well the votes meet at a radius: about the square of the share of all votes that meet in centres.

    The sum of squares of the blurred votes, less what the same number of votes would give that were cast evenly and
    alone, over what it would be if each 2πr of them lay in one place.
    """
    bin_side = max(1.0, SPREAD * radius)
    blur = SPREAD * radius / bin_side
    rows, columns = int(edges.height / bin_side) + 2, int(edges.width / bin_side) + 2
    row = np.rint((edges.y - radius * edges.towards_y) / bin_side).astype(np.int32)
    column = np.rint((edges.x - radius * edges.towards_x) / bin_side).astype(np.int32)
    inside = (row >= 0) & (column >= 0) & (row < rows) & (column < columns)
    votes = np.bincount(row[inside] * columns + column[inside], minlength=rows * columns)
    count = int(inside.sum())
    if count < FEWEST_EDGES / 2:
        return 0.0
    blurred = cv2.GaussianBlur(
        votes.reshape(rows, columns).astype(np.float32), (0, 0), blur, borderType=cv2.BORDER_CONSTANT
    )
    squares = cv2.norm(blurred, cv2.NORM_L2SQR) - count**2 / (rows * columns) - count / (4 * np.pi * blur**2)
    return float(squares * 2 * SPREAD**2 * radius / (bin_side**2 * count * edges.share))
