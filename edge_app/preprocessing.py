"""The one way from a frame to what a model sees; training, calibration, benchmarks and the app all use it.

Frame (BGR, any size) → HSV mask of the purple stain at the frame's own size → morphological opening → frame with all
else black → area resize to the model's size → RGB. The defaults are those of the published study: A. Awad and
S. A. Aly, "Acute Lymphoblastic Leukemia Diagnosis Employing YOLOv11, YOLOv8, ResNet50, and Inception-ResNet-v2 Deep
Learning Models", and of the segmentation script that its authors published with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from edge_app.blocks import Grid, Stain, cut, find_stain, shrink
from edge_app.cores import CORES, share_out
from edge_app.errors import InputError
from edge_app.frozen import Frozen

Image = npt.NDArray[np.uint8]
STRIP_PIXELS = 1_200_000  # about as many as one call works on: what it writes stays near the cache for the next step
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
    return _work_off(frame, record, CORES, lambda *_: None)


def prepare(frame: Image, record: Preprocessing, cores: int = CORES) -> Prepared:
    """Return the model's input and the mask of a frame (uint8 [h, w, 3], BGR, at least 1 × 1); cores: to be kept busy.

    Only what may be stained is looked at closely and reduced (see `edge_app.blocks`); the result is that of the plain
    sequence of steps. Raises InputError when the frame has another shape or dtype.
    """
    small = np.zeros((record.height, record.width, 3), np.uint8)

    def reduce(stain: Stain, grid: Grid, above: int, tiles: slice) -> None:
        shrink(stain, grid, above, small[tiles.start * grid.small_height : tiles.stop * grid.small_height])

    mask = _work_off(frame, record, cores, reduce)
    return Prepared(np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8)[np.newaxis], mask)


def _work_off(frame: Image, record: Preprocessing, cores: int, use: Callable[[Stain, Grid, int, slice], None]) -> Image:
    """Return a frame's mask, found in strips; use: is given each strip's stain, the rows of blocks that were added
    above it, and its rows of tiles.
    """
    _check(frame)
    frame = np.ascontiguousarray(frame)
    height, width = frame.shape[:2]
    grid = cut(height, width, record)
    mask = np.empty((height, width), np.uint8)
    reach = -(-(record.opening // 2 * 2) // grid.height)  # blocks: so far erosion and dilation see beyond their own

    def work(tiles: slice) -> None:
        top, bottom = tiles.start * grid.tile_height, tiles.stop * grid.tile_height
        above = min(reach, top // grid.height)
        start = top - above * grid.height
        stain = find_stain(frame[start : bottom + reach * grid.height], record, grid)
        mask[top:bottom] = stain.mask[top - start : bottom - start]
        use(stain, grid, above, tiles)

    count = height // grid.tile_height
    batch = -(-count // _strips(frame, cores))
    share_out(work, [slice(first, min(first + batch, count)) for first in range(0, count, batch)])
    return mask


def _strips(frame: Image, cores: int) -> int:
    """Return into how many strips a frame is cut: as few as keep the cores busy, since each costs some 80 µs."""
    pixels: int = frame.shape[0] * frame.shape[1]
    return cores * max(1, round(pixels / (cores * STRIP_PIXELS)))


def _check(frame: Image) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
        raise InputError(
            f"a frame must be uint8 of shape [height, width, 3], BGR, not {frame.dtype} {list(frame.shape)}; "
            "read it with edge_app.images.read_image"
        )
