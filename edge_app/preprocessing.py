"""The one way from a frame to what a model sees; training, calibration, benchmarks and the app all use it.

Frame (BGR, any size) → HSV mask of the purple stain at the frame's own size → morphological opening → frame with all
else black → area resize to the model's size → RGB. The defaults are those of the published study: A. Awad and
S. A. Aly, "Acute Lymphoblastic Leukemia Diagnosis Employing YOLOv11, YOLOv8, ResNet50, and Inception-ResNet-v2 Deep
Learning Models", and of the segmentation script that its authors published with it.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from edge_app.errors import InputError
from edge_app.records import Record

Image = npt.NDArray[np.uint8]
Channel = Annotated[int, Field(ge=0, le=255)]


class Preprocessing(Record):
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
    mask = cv2.inRange(cv2.cvtColor(frame, cv2.COLOR_BGR2HSV), record.hsv_low, record.hsv_high)
    if record.opening > 1:
        kernel = np.ones((record.opening, record.opening), np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel)
    return np.asarray(mask, np.uint8)


def prepare(frame: Image, record: Preprocessing) -> Prepared:
    """Return the model's input and the mask of a frame (uint8 [h, w, 3], BGR, at least 1 × 1).

    Raises InputError when the frame has another shape or dtype.
    """
    mask = stain_mask(frame, record)
    masked = cv2.bitwise_and(frame, frame, mask=mask)
    resized = cv2.resize(masked, (record.width, record.height), interpolation=cv2.INTER_AREA)
    return Prepared(np.asarray(cv2.cvtColor(resized, cv2.COLOR_BGR2RGB), np.uint8)[np.newaxis], mask)


def _check(frame: Image) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
        raise InputError(
            f"a frame must be uint8 of shape [height, width, 3], BGR, not {frame.dtype} {list(frame.shape)}; "
            "read it with edge_app.images.read_image"
        )
