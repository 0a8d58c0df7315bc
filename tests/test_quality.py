import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_app.preprocessing import Preprocessing, prepare
from edge_app.quality import measure, thumbnail


@given(
    size=st.tuples(st.integers(20, 700), st.integers(20, 700)),
    target=st.sampled_from([(64, 64), (96, 128), (50, 100)]),
    seed=st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_a_thumbnail_is_halved_while_it_can_be_and_then_reduced_by_area(
    size: tuple[int, int], target: tuple[int, int], seed: int
) -> None:
    frame = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    height, width = size
    expected: cv2.typing.MatLike = frame
    while height >= 2 * target[0] and width >= 2 * target[1]:
        height, width = height // 2, width // 2
        even = expected[: 2 * height, : 2 * width]
        expected = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
    expected = cv2.resize(expected, target[::-1], interpolation=cv2.INTER_AREA)
    assert np.array_equal(thumbnail(frame, *target), expected)


@given(sigma=st.floats(2, 20), slope=st.floats(-0.3, 0.3), seed=st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_noise_is_found_whatever_it_lies_on(sigma: float, slope: float, seed: int) -> None:
    across = 128 + slope * np.arange(-112, 112)
    scene = np.broadcast_to(across[np.newaxis, :, np.newaxis], (224, 224, 3))
    noise = np.random.default_rng(seed).normal(scale=sigma, size=scene.shape)
    frame = (scene + noise).round().clip(0, 255).astype(np.uint8)
    assert abs(measure(frame, prepare(frame, Preprocessing())).noise - sigma) < 0.05 * sigma + 0.2
