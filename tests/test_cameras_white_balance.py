from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_app.cameras.white_balance import decoded, encoded, gains_for_neutral
from edge_app.errors import InputError
from edge_app.images import find_images, read_image
from edge_app.preprocessing import Image

DEMO = Path(__file__).parents[1] / "edge_app" / "data" / "demo"


def empty_field(red: float = 1.0, blue: float = 1.0, level: float = 0.5, noise: float = 0.02) -> Image:
    """Return a field lit less towards its corners, noisy, with so many times too much red and blue."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[-1:1:240j, -1:1:320j]
    light = (level * (1 - 0.25 * (x**2 + y**2)))[..., np.newaxis] * [blue, 1.0, red]
    return encoded(light * rng.normal(1, noise, light.shape))


@settings(deadline=None, max_examples=40)
@given(red=st.floats(0.3, 1.7), blue=st.floats(0.3, 1.7))
def test_the_gains_are_those_that_make_the_field_neutral(red: float, blue: float) -> None:
    assert gains_for_neutral(empty_field(red, blue)) == pytest.approx((1 / red, 1 / blue), rel=0.03)


def test_a_picture_with_these_gains_is_neutral() -> None:
    before = empty_field(0.6, 1.3)
    red, blue = gains_for_neutral(before)
    after = encoded(decoded(before) * [blue, 1, red])
    assert np.ptp(np.median(after.reshape(-1, 3), axis=0)) <= 2


@pytest.mark.parametrize(
    ("image", "advice"),
    [
        (empty_field(level=1.2), "lower the exposure"),
        (empty_field(red=2.5), "lower the exposure"),
        (empty_field(level=0.03), "raise the exposure"),
        (np.zeros((20, 20, 3), np.uint8), "raise the exposure"),
        (empty_field(red=0.1), "filters"),
        (np.full((20, 20), 128, np.uint8), "colour"),
    ],
)
def test_a_field_whose_colour_can_not_be_told_is_refused_with_advice(image: Image, advice: str) -> None:
    with pytest.raises(InputError, match=advice):
        gains_for_neutral(image)


@pytest.mark.parametrize("path", find_images(DEMO), ids=lambda path: path.name)
def test_a_field_with_cells_is_refused(path: Path) -> None:
    darker = encoded(decoded(np.arange(256)) * 0.8)  # so that none is clipped
    with pytest.raises(InputError, match="not empty"):
        gains_for_neutral(darker[read_image(path)])


def test_a_single_cell_is_seen_whatever_the_cast() -> None:
    for red, blue in [(1.0, 1.0), (1.5, 0.6), (0.5, 1.4)]:
        field = decoded(empty_field(red, blue))
        cv2.circle(field, (200, 100), 30, (0.35 * blue, 0.12, 0.25 * red), -1)
        with pytest.raises(InputError, match="not empty"):
            gains_for_neutral(encoded(field))
