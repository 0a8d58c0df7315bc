import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_app.cells import Cell
from edge_app.fields import MOST_FIELDS, cut, holds_nucleated, part
from edge_app.preprocessing import Preprocessing
from edge_app.scale import RedCells, Scale

SCALE = Scale(red_cell_px=14, pixel_aspect=4 / 3, um_per_pixel=0.54, tolerance=0.2)
RECORD = Preprocessing()
sides = st.integers(50, 4000)
diameters = st.floats(6, 200)


@given(sides, sides, diameters)
def test_fields_cover_the_frame_and_are_of_the_training_scale(width: int, height: int, diameter: float) -> None:
    boxes = cut(width, height, RedCells(diameter, diameter), SCALE, RECORD)
    wide, high = 16 * diameter, 12 * diameter  # 224 / 14, and 4:3
    if not boxes:
        too_small = width * 1.19 < wide or height * 1.19 < high
        assert too_small or math.ceil(width / wide) * math.ceil(height / high) > MOST_FIELDS
        return
    assert len(boxes) <= MOST_FIELDS
    covered = np.zeros((height, width), bool)
    for box in boxes:
        assert part(covered, box).shape == (box[3], box[2])
        part(covered, box)[:] = True
        assert 1 / 1.21 <= box[2] / wide <= 1.21
        assert 1 / 1.21 <= box[3] / high <= 1.21
    assert covered.all()


def test_a_frame_of_about_one_field_is_not_cut() -> None:
    for width, height in ((1600, 1200), (1800, 1200), (1400, 1100)):
        assert cut(width, height, RedCells(100, 100), SCALE, RECORD) == ((0, 0, width, height),)


def test_a_squashed_image_of_the_training_scale_is_one_field() -> None:
    assert cut(224, 224, RedCells(14, 14 * 4 / 3), SCALE, RECORD) == ((0, 0, 224, 224),)


def test_a_frame_of_two_fields_by_two_is_cut_with_little_overlap() -> None:
    boxes = cut(2592, 1944, RedCells(84, 84), SCALE, RECORD)
    assert boxes == ((0, 0, 1344, 1008), (1248, 0, 1344, 1008), (0, 936, 1344, 1008), (1248, 936, 1344, 1008))
    assert cut(2592, 1944, RedCells(83.9, 83.9), SCALE, RECORD) == boxes  # in round numbers, which are faster to reduce


def test_less_than_a_field_is_not_cut_at_all() -> None:
    assert cut(1600, 900, RedCells(100, 100), SCALE, RECORD) == ()


@pytest.mark.parametrize(("area", "there"), [(5000, True), (1000, False)])
def test_a_platelet_is_no_nucleated_cell(area: int, there: bool) -> None:
    cell = Cell(50, 60, area, (10, 20, 80, 80))
    assert holds_nucleated((0, 0, 100, 100), [cell], RedCells(80, 80)) is there
    assert not holds_nucleated((60, 0, 100, 100), [cell], RedCells(80, 80))
