from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_app.errors import InputError
from edge_app.images import read_image
from edge_app.preprocessing import Image
from edge_app.scale import CHECK_EVERY, NEEDED, Ruler, measure_red_cells, red_cells_of
from edge_app.slides import Kind, Look
from edge_app.smears import draw_smear


def resized(image: Image, factor: float, stretch: float = 1.0) -> Image:
    height, width = image.shape[:2]
    small = cv2.resize(image, (round(width * factor), round(height * factor * stretch)), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def diameter(image: Image) -> float:
    found = measure_red_cells(image)
    assert found is not None
    assert found.width == found.height
    return found.width


@pytest.mark.parametrize("cell_px", [14, 20, 45, 80, 140])
@pytest.mark.parametrize(("look", "kind"), [("bright", "leukaemic"), ("bright", "healthy"), ("dim", "leukaemic")])
def test_drawn_red_cells_measure_what_they_were_drawn_with(look: Look, kind: Kind, cell_px: float) -> None:
    smear = draw_smear(3, kind=kind, look=look, cell_px=cell_px, height=720, width=960)
    # a drawn cell's edge is soft, and the steepest of it lies a little inside
    assert diameter(smear.image) == pytest.approx(0.965 * cell_px, rel=0.06)


def test_every_image_of_the_all_image_dataset_has_a_scale_and_was_a_field_of_4_to_3(smears: Path) -> None:
    paths = [
        path
        for stage in ("Benign", "Early", "Pre", "Pro")
        for path in sorted((smears / "all" / "Original" / stage).glob("*"))[::25]
    ]
    found = [measure_red_cells(read_image(path)) for path in paths]
    measured = [each for each in found if each]
    assert len(measured) >= 0.98 * len(paths)
    assert np.median([each.width for each in measured]) == pytest.approx(13.6, abs=0.5)
    assert np.mean([each.height / each.width == pytest.approx(4 / 3) for each in measured]) > 0.97


def test_the_frames_of_all_idb1_measure_alike_within_a_camera(smears: Path) -> None:
    cameras: dict[int, list[float]] = {}
    for path in sorted((smears / "all_idb1" / "im").glob("*.jpg"))[::6]:
        frame = read_image(path)
        cameras.setdefault(frame.shape[1], []).append(diameter(frame))
    assert np.median(cameras[1712]) == pytest.approx(66.5, rel=0.04)
    assert np.median(cameras[2592]) == pytest.approx(80.4, rel=0.04)


def test_the_measure_follows_a_real_frame_that_is_reduced_or_enlarged(smears: Path) -> None:
    frame = read_image(sorted((smears / "all_idb1" / "im").glob("*_0.jpg"))[10])
    whole = diameter(frame)
    for factor in (0.18, 0.3, 0.5, 0.75, 1.5, 1.9):
        assert diameter(resized(frame, factor)) == pytest.approx(factor * whole, rel=0.03)


def test_a_square_picture_is_taken_for_the_squashed_field_that_it_is() -> None:
    frame = draw_smear(5, kind="healthy", height=480, width=640).image
    straight = diameter(frame)
    found = measure_red_cells(resized(frame, 0.75, stretch=4 / 3)[:, :, :])
    assert found is not None
    assert (found.width, found.height) == pytest.approx((0.75 * straight, straight), rel=0.03)


def test_small_cells_in_a_large_frame_are_found() -> None:
    tile = draw_smear(1, kind="healthy", look="dim", cell_px=16, height=480, width=640).image
    assert diameter(np.tile(tile, (4, 4, 1))) == pytest.approx(0.965 * 16, rel=0.05)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_plain_frame_has_no_scale(level: int) -> None:
    assert measure_red_cells(np.full((480, 640, 3), level, np.uint8)) is None


def test_noise_has_no_scale() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    assert measure_red_cells(noise) is None


@given(st.integers(1, 40), st.integers(1, 40))
def test_the_smallest_frames_have_no_scale(height: int, width: int) -> None:
    noise = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    assert measure_red_cells(noise) is None


def test_a_frame_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match="BGR"):
        measure_red_cells(np.zeros((20, 20), np.uint8))


def test_red_cells_are_seven_and_a_half_micrometres_wide() -> None:
    assert red_cells_of(0.1).width == pytest.approx(75)


@pytest.fixture(scope="module")
def fields() -> dict[int, Image]:
    """The same smear under two objectives: red cells of so many pixels."""
    return {
        cell: draw_smear(2, kind="healthy", look="dim", cell_px=cell, height=240, width=320).image for cell in (16, 24)
    }


def read(ruler: Ruler, frame: Image, times: int = 1) -> float:
    for _ in range(times):
        found = ruler.read(frame)
    assert found is not None
    return found.width


def test_a_ruler_is_steady_after_so_many_frames_and_stays_as_it_is(fields: dict[int, Image]) -> None:
    ruler = Ruler()
    assert (ruler.um_per_pixel, ruler.steady) == (None, False)
    width = read(ruler, fields[16], NEEDED)
    assert ruler.steady
    assert ruler.um_per_pixel == pytest.approx(7.5 / width)
    assert read(ruler, np.zeros_like(fields[16]), CHECK_EVERY + 1) == width


def test_a_ruler_notices_another_objective_by_itself_and_at_once_when_asked(fields: dict[int, Image]) -> None:
    ruler = Ruler()
    before = read(ruler, fields[16], NEEDED)
    assert read(ruler, fields[24], CHECK_EVERY) == before
    assert read(ruler, fields[24], NEEDED) == pytest.approx(1.5 * before, rel=0.06)
    ruler.forget()
    assert read(ruler, fields[16]) == pytest.approx(before, rel=0.02)
    assert not ruler.steady


def test_a_ruler_starts_anew_with_frames_of_another_size(fields: dict[int, Image]) -> None:
    ruler = Ruler()
    before = read(ruler, fields[24], NEEDED)
    assert read(ruler, resized(fields[24], 0.75)) == pytest.approx(0.75 * before, rel=0.06)


def test_a_ruler_that_was_told_measures_nothing(fields: dict[int, Image]) -> None:
    ruler = Ruler(0.25)
    ruler.forget()
    assert read(ruler, fields[16]) == 30
    assert (ruler.um_per_pixel, ruler.steady, ruler.given) == (0.25, True, True)


def test_a_ruler_has_no_scale_until_red_cells_were_seen(fields: dict[int, Image]) -> None:
    ruler = Ruler()
    assert ruler.read(np.full_like(fields[16], 230)) is None
    assert ruler.read(fields[16]) is not None
