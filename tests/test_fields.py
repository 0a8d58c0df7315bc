import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_app.cells import Cell
from edge_app.fields import LEAST, MOST_FIELDS, cut, fit, holds_nucleated, part, prepare_field
from edge_app.preprocessing import Preprocessing, prepare
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
        too_small = width < LEAST * wide or height < LEAST * high
        assert too_small or math.ceil(width / wide) * math.ceil(height / high) > MOST_FIELDS
        return
    assert len(boxes) <= MOST_FIELDS
    covered = np.zeros((height, width), bool)
    for box in boxes:
        assert part(covered, box).shape == (box[3], box[2])
        part(covered, box)[:] = True
        # what a field's pixel shows differs from training by no more than the tolerance
        size = fit(box, RedCells(diameter, diameter), SCALE, RECORD)
        assert 0.94 <= box[2] / wide * 224 / size[0] <= 1.21
        assert 0.94 <= box[3] / high * 224 / size[1] <= 1.21
    assert covered.all()


def test_a_frame_of_about_one_field_is_not_cut() -> None:
    for width, height in ((1600, 1200), (1800, 1200), (1550, 1200)):
        (box,) = cut(width, height, RedCells(100, 100), SCALE, RECORD)
        assert box == (0, 0, width, height)
        assert fit(box, RedCells(100, 100), SCALE, RECORD) == (224, 224)


def test_a_squashed_image_of_the_training_scale_is_one_field() -> None:
    assert cut(224, 224, RedCells(14, 14 * 4 / 3), SCALE, RECORD) == ((0, 0, 224, 224),)


def test_a_frame_of_two_fields_by_two_is_cut_with_little_overlap() -> None:
    boxes = cut(2592, 1944, RedCells(84, 84), SCALE, RECORD)
    assert boxes == ((0, 0, 1344, 1008), (1248, 0, 1344, 1008), (0, 936, 1344, 1008), (1248, 936, 1344, 1008))
    assert cut(2592, 1944, RedCells(83.9, 83.9), SCALE, RECORD) == boxes  # in round numbers, which are faster to reduce


def test_less_than_a_field_fills_less_of_the_models_input_and_next_to_nothing_is_none() -> None:
    (box,) = cut(1200, 1200, RedCells(100, 100), SCALE, RECORD)
    assert fit(box, RedCells(100, 100), SCALE, RECORD) == (168, 224)
    assert cut(1600, 590, RedCells(100, 100), SCALE, RECORD) == ()


def test_what_is_less_than_a_field_lies_in_the_middle_with_nothing_stained_around_it() -> None:
    field = np.full((300, 400, 3), (160, 60, 130), np.uint8)  # stained all over
    found = prepare_field(field, (168, 100), RECORD)
    stained = np.argwhere(found.model_input[0].any(axis=2))
    assert found.model_input.shape == (1, 224, 224, 3)
    assert (stained.min(axis=0).tolist(), stained.max(axis=0).tolist()) == ([62, 28], [161, 195])
    assert found.mask.shape == (300, 400)
    assert (prepare_field(field, (224, 224), RECORD).model_input == prepare(field, RECORD).model_input).all()


@pytest.mark.parametrize(("area", "there"), [(5000, True), (1000, False)])
def test_a_platelet_is_no_nucleated_cell(area: int, there: bool) -> None:
    cell = Cell(50, 60, area, (10, 20, 80, 80))
    assert holds_nucleated((0, 0, 100, 100), [cell], RedCells(80, 80)) is there
    assert not holds_nucleated((60, 0, 100, 100), [cell], RedCells(80, 80))
