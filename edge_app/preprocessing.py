"""The one way from a frame to what a model sees; training, calibration, benchmarks and the app all use it.

Frame (BGR, any size) → HSV mask of the purple stain at the frame's own size → morphological opening → frame with all
else black → area resize to the model's size → RGB. The defaults are those of the published study: A. Awad and
S. A. Aly, "Acute Lymphoblastic Leukemia Diagnosis Employing YOLOv11, YOLOv8, ResNet50, and Inception-ResNet-v2 Deep
Learning Models", and of the segmentation script that its authors published with it.
"""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from edge_app.errors import InputError
from edge_app.frozen import Frozen

Image = npt.NDArray[np.uint8]
STRIP_ROWS = 240
MOST_TILES = 4  # in each direction
Channel = Annotated[int, Field(ge=0, le=255)]

_pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)), "prepare")  # OpenCV lets other threads run meanwhile


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
    height, width = frame.shape[:2]
    mask = np.empty((height, width), np.uint8)

    def fill(top: int) -> None:
        rows = slice(top, top + STRIP_ROWS)
        cv2.inRange(cv2.cvtColor(frame[rows], cv2.COLOR_BGR2HSV), record.hsv_low, record.hsv_high, dst=mask[rows])

    # strips stay in the cache between the two steps
    list(_pool.map(fill, range(0, height, STRIP_ROWS)))
    if record.opening > 1:
        kernel = np.ones((record.opening, record.opening), np.uint8)
        cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel, dst=mask)
    return mask


def prepare(frame: Image, record: Preprocessing) -> Prepared:
    """Return the model's input and the mask of a frame (uint8 [h, w, 3], BGR, at least 1 × 1).

    Raises InputError when the frame has another shape or dtype.
    """
    mask = stain_mask(frame, record)
    small = np.zeros((record.height, record.width, 3), np.uint8)
    rows, columns = _cuts(frame.shape[0], record.height), _cuts(frame.shape[1], record.width)

    def reduce(tile: tuple[int, int]) -> None:
        """Mask one tile and reduce it; where nothing is stained the result is black already."""
        (top, bottom), (left, right) = rows[tile[0] : tile[0] + 2], columns[tile[1] : tile[1] + 2]
        stained = mask[top[0] : bottom[0], left[0] : right[0]]
        if cv2.countNonZero(stained):
            part = frame[top[0] : bottom[0], left[0] : right[0]]
            target = small[top[1] : bottom[1], left[1] : right[1]]
            size = (target.shape[1], target.shape[0])
            cv2.resize(cv2.bitwise_and(part, part, mask=stained), size, dst=target, interpolation=cv2.INTER_AREA)

    list(_pool.map(reduce, product(range(len(rows) - 1), range(len(columns) - 1))))
    return Prepared(np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8)[np.newaxis], mask)


def _cuts(source: int, target: int) -> list[tuple[int, int]]:
    """Return where a side is cut into tiles, in pixels of the frame and of the result.

    Cuts lie where both fall on whole pixels, so that no pixel of the result needs two tiles and the area resize of the
    tiles is that of the whole. A frame smaller than the result stays whole: OpenCV then interpolates.
    """
    pieces = 1
    if source >= target:
        common = math.gcd(source, target)
        pieces = max(pieces for pieces in range(1, MOST_TILES + 1) if common % pieces == 0)
    return [(source * index // pieces, target * index // pieces) for index in range(pieces + 1)]


def _check(frame: Image) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
        raise InputError(
            f"a frame must be uint8 of shape [height, width, 3], BGR, not {frame.dtype} {list(frame.shape)}; "
            "read it with edge_app.images.read_image"
        )
