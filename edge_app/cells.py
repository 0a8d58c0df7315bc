"""Stained cells of a mask: connected components, clumps split, debris and platelets left out.

Counting is done on a mask reduced to at most `WORK_SIDE` pixels, where a cell is still more than 10 wide. How well it
counts is measured against the blast centroids of ALL-IDB1 by `tests/test_cells.py`.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from cv2.typing import MatLike

from edge_app.preprocessing import Image

WORK_SIDE = 400
SMALLEST_FRACTION = 0.0003  # of the frame: nothing smaller is a nucleated cell at any magnification used here
SMALLEST_RADIUS = 0.45  # of the typical cell's radius: platelets and debris are thinner
CENTRE_DISTANCE = 1.1  # of the typical cell's radius: two centres in one clump are at least this far apart

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Cell:
    """One stained cell, in pixels of the frame: centroid (x, y), area, and box (left, top, width, height)."""

    x: float
    y: float
    area: int
    box: Box


def find_cells(mask: Image) -> list[Cell]:
    """Return the cells of a mask (uint8 [h, w], 255 where stained), in no fixed order."""
    scale = max(1, -(-max(mask.shape) // WORK_SIDE))
    small = cv2.medianBlur(np.ascontiguousarray(mask[::scale, ::scale]), 3)
    small[[0, -1]] = 0  # depth is measured from the edge of the frame, too
    small[:, [0, -1]] = 0
    # 16 bits are enough for labels of so small a mask, and three times as fast
    _, labels, stats, _ = cv2.connectedComponentsWithStats(small, connectivity=8, ltype=cv2.CV_16U)
    depth = cv2.distanceTransform(small, cv2.DIST_L2, 3)
    components = []  # (inscribed radius, corner, body, depth inside it and 0 outside)
    for label, (left, top, width, height, area) in enumerate(stats.tolist()):
        if label > 0 and area >= SMALLEST_FRACTION * small.size:
            part = np.s_[top : top + height, left : left + width]
            body = cv2.inRange(labels[part], label, label)
            inside = cv2.copyTo(depth[part], body)
            components.append((cv2.minMaxLoc(inside)[1], (left, top), body, inside))
    if not components:
        return []
    typical = _weighted_median([radius for radius, *_ in components])
    return [
        _cell(region, left, top, scale)
        for radius, (left, top), body, inside in components
        if radius >= SMALLEST_RADIUS * typical
        for region in _split(body, inside, typical)
    ]


def _weighted_median(radii: list[float]) -> float:
    """Return the radius below which half of the stained area lies: debris hardly counts."""
    ordered = np.sort(np.asarray(radii))
    weights = np.cumsum(ordered**2)
    return float(ordered[np.searchsorted(weights, weights[-1] / 2)])


def _split(body: MatLike, inside: MatLike, typical: float) -> list[MatLike]:
    """Return the regions (255 inside, else 0) of the cells in one component.

    body: 255 inside, else 0. inside: distance to the border, 0 outside.
    """
    smooth = cv2.GaussianBlur(inside, (0, 0), max(0.15 * typical, 0.5))
    size = 2 * round(CENTRE_DISTANCE * typical / 2) + 1
    highest = cv2.dilate(smooth, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    deep = cv2.inRange(inside, SMALLEST_RADIUS * typical, np.inf)
    centres = cv2.bitwise_and(cv2.compare(smooth, highest, cv2.CMP_GE), deep)
    count = cv2.connectedComponents(centres, connectivity=8)[0]
    if count <= 2:
        return [body]
    # Each pixel goes to the nearest centre: the labels number the zero pixels, so they are looked up once more.
    apart = cv2.bitwise_not(centres)
    _, nearest = cv2.distanceTransformWithLabels(apart, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP)
    return [cv2.bitwise_and(body, cv2.inRange(nearest, label, label)) for label in range(1, count)]


def _cell(region: MatLike, left: int, top: int, scale: int) -> Cell:
    moments = cv2.moments(region, binaryImage=True)
    x, y, width, height = cv2.boundingRect(region)
    return Cell(
        x=(left + moments["m10"] / moments["m00"]) * scale,
        y=(top + moments["m01"] / moments["m00"]) * scale,
        area=int(moments["m00"]) * scale**2,
        box=((left + x) * scale, (top + y) * scale, width * scale, height * scale),
    )
