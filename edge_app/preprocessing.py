"""The one way from a frame to what a model sees; training, calibration, benchmarks and the app all use it.

Frame (BGR, any size) → HSV mask of the purple stain at the frame's own size → morphological opening → frame with all
else black → area resize to the model's size → RGB. The defaults are those of the published study: A. Awad and
S. A. Aly, "Acute Lymphoblastic Leukemia Diagnosis Employing YOLOv11, YOLOv8, ResNet50, and Inception-ResNet-v2 Deep
Learning Models", and of the segmentation script that its authors published with it.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from edge_app.cores import CORES, pool
from edge_app.errors import InputError
from edge_app.frozen import Frozen

Image = npt.NDArray[np.uint8]
STRIP_PIXELS = 640_000  # the most that one call works on: what it writes stays in the cache for the next step
SMALLEST_TILE = 50  # pixels
Channel = Annotated[int, Field(ge=0, le=255)]


class Preprocessing(Frozen):
    """The parameters of the preprocessing; their sha256 travels with every verdict.

    hsv_low, hsv_high: inclusive range of the stain in OpenCV's 8-bit HSV (hue 0 to 179, saturation and value 0 to 255).
    opening: side in pixels of the square kernel of ones that opens the mask, at the frame's own size; 1 for none.
    height, width: size of the model's input in pixels.
    """

    version: Literal[1] = 1
    hsv_low: tuple[Channel, Channel, Channel] = (120, 50, 50)
    hsv_high: tuple[Channel, Channel, Channel] = (160, 255, 255)
    opening: Annotated[int, Field(ge=1, le=31)] = 3
    height: Annotated[int, Field(ge=8, le=2048)] = 224
    width: Annotated[int, Field(ge=8, le=2048)] = 224

    @model_validator(mode="after")
    def _range_is_ordered(self) -> "Preprocessing":
        if any(low > high for low, high in zip(self.hsv_low, self.hsv_high, strict=True)):
            raise ValueError("hsv_low must not be above hsv_high in any channel")
        return self


@dataclass(frozen=True)
class Prepared:
    """What `prepare` makes of a frame.

    model_input: uint8 [1, height, width, 3], RGB, contiguous.
    mask: uint8 [h, w] at the frame's own size, 255 where the stain is, else 0.
    """

    model_input: Image
    mask: Image


def stain_mask(frame: Image, record: Preprocessing) -> Image:
    """Return the stain's mask: uint8 [h, w], 255 where the frame (uint8 [h, w, 3], BGR) is stained, else 0."""
    _check(frame)
    mask = np.empty(frame.shape[:2], np.uint8)
    rows = -(-len(mask) // _strips(frame))
    tops = range(0, len(mask), rows)
    list(pool.map(lambda top: _fill(mask, frame, record, top, min(top + rows, len(mask))), tops))
    return mask


def prepare(frame: Image, record: Preprocessing) -> Prepared:
    """Return the model's input and the mask of a frame (uint8 [h, w, 3], BGR, at least 1 × 1).

    The frame is worked off in strips that stay in a core's cache, and is reduced only where it is stained; the result
    is that of the plain sequence of steps. Raises InputError when the frame has another shape or dtype.
    """
    _check(frame)
    height, width = frame.shape[:2]
    mask = np.empty((height, width), np.uint8)
    small = np.zeros((record.height, record.width, 3), np.uint8)
    rows, columns = _cuts(height, record.height), _cuts(width, record.width)

    def work(first: int) -> None:
        last = min(first + batch, len(rows) - 1)
        _fill(mask, frame, record, rows[first][0], rows[last][0])
        strip = mask[rows[first][0] : rows[last][0]]
        for row, start, end in _stained_runs(strip, last - first, len(columns) - 1):
            (top, small_top), (bottom, small_bottom) = rows[first + row : first + row + 2]
            (left, small_left), (right, small_right) = columns[start], columns[end]
            part = frame[top:bottom, left:right]
            cv2.resize(
                cv2.bitwise_and(part, part, mask=mask[top:bottom, left:right]),
                (small_right - small_left, small_bottom - small_top),
                dst=small[small_top:small_bottom, small_left:small_right],
                interpolation=cv2.INTER_AREA,
            )

    batch = -(-(len(rows) - 1) // _strips(frame))
    list(pool.map(work, range(0, len(rows) - 1, batch)))
    return Prepared(np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8)[np.newaxis], mask)


def _strips(frame: Image) -> int:
    """Return into how many strips a frame is cut: as few as keep all cores busy, since handing one over costs time."""
    pixels: int = frame.shape[0] * frame.shape[1]
    return CORES * max(1, round(pixels / (CORES * STRIP_PIXELS)))


def _fill(mask: Image, frame: Image, record: Preprocessing, top: int, bottom: int) -> None:
    """Write the rows from `top` to before `bottom` of a frame's mask."""
    reach = record.opening // 2 * 2  # erosion and dilation together see so many rows beyond their own
    above, below = max(top - reach, 0), min(bottom + reach, len(frame))
    found = cv2.inRange(cv2.cvtColor(frame[above:below], cv2.COLOR_BGR2HSV), record.hsv_low, record.hsv_high)
    if record.opening > 1:
        cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((record.opening, record.opening), np.uint8), dst=found)
    mask[top:bottom] = found[top - above : bottom - above]


def _cuts(source: int, target: int) -> list[tuple[int, int]]:
    """Return where a side is cut into tiles, in pixels of the frame and of the result.

    Cuts lie where both fall on whole pixels, so that no pixel of the result needs two tiles and the area resize of the
    tiles is that of the whole. A frame smaller than the result stays whole: OpenCV then interpolates.
    """
    pieces = 1
    if source >= target:
        common = math.gcd(source, target)
        pieces = max(n for n in range(1, common + 1) if common % n == 0 and (n == 1 or source // n >= SMALLEST_TILE))
    return [(source * index // pieces, target * index // pieces) for index in range(pieces + 1)]


def _stained_runs(mask: Image, rows: int, columns: int) -> list[tuple[int, int, int]]:
    """Return each run of neighbouring tiles with a stained pixel: its row, its first tile, and one past its last."""
    height, width = mask.shape
    touched = np.bitwise_or.reduce(mask.reshape(rows, height // rows, width), axis=1)
    stained = np.zeros((rows, columns + 2), bool)  # with a border of unstained ones left and right
    stained[:, 1:-1] = touched.reshape(rows, columns, width // columns).any(axis=2)
    at_row, edges = np.nonzero(stained[:, 1:] != stained[:, :-1])
    return list(zip(at_row[::2].tolist(), edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _check(frame: Image) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
        raise InputError(
            f"a frame must be uint8 of shape [height, width, 3], BGR, not {frame.dtype} {list(frame.shape)}; "
            "read it with edge_app.images.read_image"
        )
