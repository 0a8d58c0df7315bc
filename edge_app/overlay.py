"""What is drawn over a picture: the stain's outline, boxes of cells and fields, and a scale bar of a round length."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from edge_app.cells import Box
from edge_app.preprocessing import Image

OUTLINE = (60, 220, 60)  # BGR
BOX = (30, 160, 255)
FIELD = (160, 40, 90)
WORK_SIDE = 640  # pixels: outlines need not be finer on a screen
SMALLEST_AREA = 12  # square pixels at that size
SIMPLER_BY = 0.7  # pixels an outline may be off

Polygon = list[tuple[int, int]]


@dataclass(frozen=True)
class ScaleBar:
    """A bar of `micrometres`, `pixels` of the frame long."""

    micrometres: float
    pixels: float


def outlines(mask: Image) -> list[Polygon]:
    """Return the outer outlines of a mask (uint8 [h, w], 255 where stained), as points (x, y) in its pixels."""
    scale = max(1, -(-max(mask.shape) // WORK_SIDE))
    found, _ = cv2.findContours(
        np.ascontiguousarray(mask[::scale, ::scale]), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    return [
        [(x * scale, y * scale) for x, y in cv2.approxPolyDP(contour, SIMPLER_BY, True)[:, 0].tolist()]
        for contour in found
        if cv2.contourArea(contour) >= SMALLEST_AREA
    ]


def draw(
    image: Image,
    polygons: Iterable[Iterable[tuple[int, int]]],
    boxes: Iterable[Box],
    fields: Iterable[tuple[Box, str]] = (),
) -> Image:
    """Return a copy of an image (uint8 [h, w, 3], BGR) with outlines, boxes, and fields with their answers on it."""
    drawn = image.copy()
    thickness = max(1, round(max(image.shape) / 700))
    lines = [np.array(list(polygon), np.int32) for polygon in polygons]
    cv2.polylines(drawn, lines, True, OUTLINE, thickness, cv2.LINE_AA)
    for box in boxes:
        cv2.rectangle(drawn, box, BOX, thickness)
    size = 0.7 * thickness
    for box, text in fields:
        cv2.rectangle(drawn, box, FIELD, 2 * thickness)
        at = (box[0] + round(14 * size), box[1] + round(34 * size))
        cv2.putText(drawn, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, FIELD, 2 * thickness, cv2.LINE_AA)
    return drawn


def scale_bar(width: int, um_per_pixel: float) -> ScaleBar:
    """Return a bar of 1, 2 or 5 times a power of ten µm, at most a quarter of a frame's width (pixels) long."""
    longest_um = um_per_pixel * width / 4
    power = 10.0 ** math.floor(math.log10(longest_um))
    length_um = max(factor * power for factor in (1, 2, 5) if factor * power <= longest_um)
    return ScaleBar(length_um, length_um / um_per_pixel)
