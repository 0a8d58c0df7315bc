"""Cuts a frame into fields: pieces that show as much of a smear as the pictures that a model was trained on."""

import math
from collections.abc import Iterable

import numpy as np

from edge_app.cells import Box, Cell
from edge_app.cores import CORES
from edge_app.preprocessing import Image, Prepared, Preprocessing, prepare
from edge_app.scale import RedCells, Scale

MOST_FIELDS = 64  # a frame with more of them is judged for seconds
LEAST = 0.5  # of a field's side; from 1 down to it, ALL-IDB1's fields are read as well as whole ones
ALMOST = 0.95  # of a field's side is as good as all of it
SMALLEST_INPUT = 8  # pixels, of a preprocessing record
# a box is so much larger rather than there be one more of them: cells that are smaller are read as well
SLACK = 0.12
COARSEST = 16  # pixels: sides are multiples of it, or of less where it is more than 1.6 %, as `prepare` is faster then
SMALLEST_NUCLEATED = 0.5  # of a red cell's area: what is smaller and stained is a platelet or debris


def cut(width: int, height: int, red_cells: RedCells, scale: Scale, record: Preprocessing) -> tuple[Box, ...]:
    """Return the fields of a frame as boxes (left, top, width, height) in pixels; none where its scale can't be met.

    A field is what fills the model's input at the training scale. The boxes cover the frame evenly and are all of one
    size, that of a field or a little more (`SLACK`, and up to a multiple of pixels); they overlap where the frame is no
    multiple of it. A side that holds one field, within the scale's tolerance, or less is not cut. A frame's scale can't
    be met where a side holds less than `LEAST` of a field, or where the fields would be more than `MOST_FIELDS`.
    """
    field_width, field_height = _field_size(red_cells, scale, record)
    across = _spans(width, field_width, scale.tolerance)
    down = _spans(height, field_height, scale.tolerance)
    if len(across) * len(down) > MOST_FIELDS:
        return ()
    return tuple((left, top, wide, high) for top, high in down for left, wide in across)


def fit(box: Box, red_cells: RedCells, scale: Scale, record: Preprocessing) -> tuple[int, int]:
    """Return width and height of what a box is to fill of the model's input, in pixels: all but for less than a field.

    Less than a field, enlarged to a whole one, would show healthy cells as large as blasts are.
    """
    field_width, field_height = _field_size(red_cells, scale, record)
    return _filled(box[2] / field_width, record.width), _filled(box[3] / field_height, record.height)


def prepare_field(field: Image, size: tuple[int, int], record: Preprocessing, cores: int = CORES) -> Prepared:
    """Prepare a field (uint8 [h, w, 3], BGR) to fill `size` of the model's input, see `fit`; around it no stain is.

    cores: see `prepare`. Raises InputError for another shape or dtype.
    """
    width, height = size
    if size == (record.width, record.height):
        return prepare(field, record, cores)
    small = prepare(field, record.replace(width=width, height=height), cores)
    left, top = (record.width - width) // 2, (record.height - height) // 2
    model_input = np.zeros((1, record.height, record.width, 3), np.uint8)
    model_input[:, top : top + height, left : left + width] = small.model_input
    return Prepared(model_input, small.mask)


def part(image: Image, box: Box) -> Image:
    """Return what a box holds of an image, without copying it."""
    left, top, width, height = box
    return image[top : top + height, left : left + width]


def holds_nucleated(box: Box, cells: Iterable[Cell], red_cells: RedCells) -> bool:
    """Return whether the centre of a stained cell, one that is no platelet, lies in a box; cells: the frame's."""
    least = SMALLEST_NUCLEATED * math.pi / 4 * red_cells.width * red_cells.height
    return any(cell.area >= least and holds(box, cell.x, cell.y) for cell in cells)


def holds(box: Box, x: float, y: float) -> bool:
    """Return whether a point lies in a box."""
    left, top, width, height = box
    return left <= x < left + width and top <= y < top + height


def _field_size(red_cells: RedCells, scale: Scale, record: Preprocessing) -> tuple[float, float]:
    """Return width and height of a field, in pixels of the frame."""
    return (
        record.width * red_cells.width / scale.red_cell_px,
        record.height * red_cells.height / (scale.red_cell_px * scale.pixel_aspect),
    )


def _filled(share: float, side: int) -> int:
    return side if share >= ALMOST else max(SMALLEST_INPUT, round(share * side))


def _spans(side: int, field: float, tolerance: float) -> list[tuple[int, int]]:
    """Return start and length of each field along a side, in pixels."""
    if side < LEAST * field:
        return []
    if side <= field * (1 + tolerance):
        return [(0, side)]
    count = max(2, math.ceil(side / (field * (1 + SLACK))))
    length = max(round(field), math.ceil(side / count))
    step = min(COARSEST, 2 ** max(0, int(math.log2(length / 64))))
    length = min(math.ceil(length / step) * step, side)
    return [(round(index * (side - length) / (count - 1)), length) for index in range(count)]
