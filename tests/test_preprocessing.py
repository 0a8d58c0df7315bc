import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError

from edge_app.cores import OTHERS, pool
from edge_app.errors import InputError
from edge_app.images import find_images, read_image
from edge_app.preprocessing import Image, Preprocessing, prepare, stain_mask

STAIN = (150, 60, 130)  # blue, green, red
FRAMES = arrays.arrays(np.uint8, st.tuples(st.integers(1, 70), st.integers(1, 70), st.just(3)))


def paper_mask(frame: Image) -> Image:
    """The published segmentation, step by step."""
    hsv = cv2.cvtColor(frame, cv2.COLOR_BGR2HSV)
    mask = cv2.inRange(hsv, np.array([120, 50, 50]), np.array([160, 255, 255]))
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)


def paper_input(frame: Image, size: tuple[int, int]) -> Image:
    masked = cv2.bitwise_and(frame, frame, mask=paper_mask(frame))
    return np.asarray(cv2.cvtColor(cv2.resize(masked, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB), np.uint8)


def plain_mask(frame: Image, opening: int) -> Image:
    """The study's segmentation with a kernel of another size."""
    mask = cv2.inRange(cv2.cvtColor(frame, cv2.COLOR_BGR2HSV), (120, 50, 50), (160, 255, 255))
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((opening, opening), np.uint8)), np.uint8)


def smooth_frame(height: int, width: int, seed: int) -> Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


@given(FRAMES)
@settings(max_examples=200, deadline=None)
def test_any_frame_gives_the_papers_mask_and_a_model_input_of_the_right_form(frame: Image) -> None:
    prepared = prepare(frame, Preprocessing())
    assert np.array_equal(prepared.mask, paper_mask(frame))
    assert prepared.model_input.shape == (1, 224, 224, 3)
    assert prepared.model_input.dtype == np.uint8
    assert prepared.model_input.flags.c_contiguous


@pytest.mark.parametrize(
    ("height", "width"),
    [
        *((224, 224), (960, 1280), (1944, 2592), (1368, 1712), (652, 1226), (97, 1300)),
        *((2464, 640), (448, 1280), (960, 1120), (448, 672)),  # one side or both shrink by a whole factor
    ],
)
def test_frames_of_camera_sizes_give_what_the_plain_sequence_gives(height: int, width: int) -> None:
    frame = smooth_frame(height, width, seed=height)
    prepared = prepare(frame, Preprocessing())
    assert 0.02 < prepared.mask.mean() / 255 < 0.98
    assert np.array_equal(prepared.mask, paper_mask(frame))
    assert np.array_equal(prepared.model_input[0], paper_input(frame, (224, 224)))


@given(
    size=st.tuples(st.integers(30, 90), st.integers(30, 90)).map(lambda units: (8 * units[0], 8 * units[1])),
    target=st.sampled_from([(64, 64), (224, 224), (299, 299), (96, 128)]),
    opening=st.integers(1, 8),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_strips_and_tiles_do_not_show_in_the_result(
    size: tuple[int, int], target: tuple[int, int], opening: int, seed: int
) -> None:
    frame = smooth_frame(*size, seed)
    mask = plain_mask(frame, opening)
    small = cv2.resize(cv2.bitwise_and(frame, frame, mask=mask), target[::-1], interpolation=cv2.INTER_AREA)
    prepared = prepare(frame, Preprocessing(height=target[0], width=target[1], opening=opening))
    assert np.array_equal(prepared.mask, mask)
    assert np.array_equal(prepared.model_input[0], cv2.cvtColor(small, cv2.COLOR_BGR2RGB))


@given(
    size=st.tuples(st.integers(224, 500), st.integers(224, 500)),
    opening=st.integers(1, 31),
    corners=st.lists(st.tuples(st.integers(-20, 500), st.integers(-20, 500)), min_size=1, max_size=20),
    sides=st.lists(st.integers(-2, 1), min_size=20, max_size=20),
)
@settings(max_examples=150, deadline=None)
def test_no_square_is_missed_that_is_just_large_enough(
    size: tuple[int, int], opening: int, corners: list[tuple[int, int]], sides: list[int]
) -> None:
    """Squares about as large as the kernel, anywhere, cut by the frame's border or not, some overlapping."""
    frame = np.full((*size, 3), 230, np.uint8)
    for (top, left), more in zip(corners, sides, strict=False):
        side = max(1, opening + more)
        frame[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)] = STAIN
    assert np.array_equal(stain_mask(frame, Preprocessing(opening=opening)), plain_mask(frame, opening))


@pytest.mark.parametrize("opening", range(1, 10))
def test_a_square_that_the_border_cuts_is_not_missed(opening: int) -> None:
    for side in range(1, opening + 2):
        frame = np.full((640, 640, 3), 230, np.uint8)
        for rows in (slice(side), slice(300, 300 + opening), slice(640 - side, 640)):
            for columns in (slice(side), slice(300, 300 + opening), slice(640 - side, 640)):
                frame[rows, columns] = STAIN
        assert np.array_equal(stain_mask(frame, Preprocessing(opening=opening)), plain_mask(frame, opening)), side


def test_all_colours_that_are_stain_are_those_of_the_integer_formula() -> None:
    """OpenCV's 8-bit HSV by its documentation and tables, so that a build that computes another one is found."""
    blue, green = np.meshgrid(np.arange(256), np.arange(256))
    levels = np.maximum(np.arange(256), 1)
    by_value, by_spread = np.rint((255 << 12) / levels).astype(int), np.rint((180 << 12) / (6 * levels)).astype(int)
    for red in range(256):
        value = np.maximum(np.maximum(blue, green), red)
        spread = value - np.minimum(np.minimum(blue, green), red)
        sector = np.where(value == green, blue - red + 2 * spread, red - green + 4 * spread)
        sector = np.where(value == red, green - blue, sector)
        hue = (sector * by_spread[spread] + 2048) >> 12
        hue = np.where(hue < 0, hue + 180, hue)
        saturation = (spread * by_value[value] + 2048) >> 12
        stained = (hue >= 120) & (hue <= 160) & (saturation >= 50) & (value >= 50)
        frame = np.stack([blue, green, np.full_like(blue, red)], axis=-1).astype(np.uint8)
        found = stain_mask(frame, Preprocessing(opening=1))
        assert np.array_equal(found > 0, stained), red


def test_a_frame_does_not_wait_for_threads_that_are_busy() -> None:
    busy = threading.Event()
    waiting = [pool.submit(busy.wait, 20) for _ in range(OTHERS)]
    try:
        frame = smooth_frame(960, 1280, seed=1)
        assert np.array_equal(prepare(frame, Preprocessing()).model_input[0], paper_input(frame, (224, 224)))
        assert not any(each.done() for each in waiting)
    finally:
        busy.set()


def test_a_frame_that_is_not_contiguous_gives_the_same(  # as a cropped or mirrored camera picture is
) -> None:
    frame = smooth_frame(300, 400, seed=1)
    view = frame[10:290, ::-1]
    assert np.array_equal(prepare(view, Preprocessing()).model_input, prepare(view.copy(), Preprocessing()).model_input)


@pytest.mark.parametrize("shape", [(5, 5), (5, 5, 4), (5, 5, 1), (0, 5, 3), (5,)])
def test_a_frame_of_another_shape_is_refused_in_words(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"must be uint8 of shape \[height, width, 3\]"):
        stain_mask(np.zeros(shape, np.uint8), Preprocessing())


def test_a_16_bit_frame_is_refused_in_words() -> None:
    with pytest.raises(InputError, match="not uint16"):
        prepare(np.zeros((5, 5, 3), np.uint16), Preprocessing())


def test_the_records_hash_follows_its_values_only() -> None:
    assert Preprocessing().digest() == Preprocessing.model_validate({"width": 224, "height": 224}).digest()
    assert Preprocessing().digest() != Preprocessing(width=299, height=299).digest()


def test_a_record_with_a_typing_error_or_an_empty_range_is_refused() -> None:
    with pytest.raises(ValidationError, match="hsv_lo"):
        Preprocessing.model_validate({"hsv_lo": (0, 0, 0)})
    with pytest.raises(ValidationError, match="must not be above"):
        Preprocessing(hsv_low=(161, 50, 50))


def test_mask_and_model_input_are_the_papers_on_every_real_image(smears: Path) -> None:
    files = find_images(smears)
    assert len(files) > 1000
    for file in files:
        frame = read_image(file)
        prepared = prepare(frame, Preprocessing())
        assert np.array_equal(prepared.mask, paper_mask(frame)), file
        assert np.array_equal(prepared.model_input[0], paper_input(frame, (224, 224))), file
