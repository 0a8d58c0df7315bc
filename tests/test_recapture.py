"""Training images changed before they are segmented."""

import multiprocessing

import numpy as np
import pytest

from edge_app.preprocessing import Image, Preprocessing, prepare
from edge_app.smears import draw_smear
from train.recapture import Recapture, recapture

RECORD = Preprocessing()
EVERY = Recapture(
    share=1, stain=0.2, white_balance=0.1, brightness=0.2, illumination=0.3, blur=0.004, noise=8, jpeg=50
)  # fmt: skip


@pytest.fixture(scope="module")
def raw() -> Image:
    return draw_smear(3, kind="leukaemic", width=224, height=224).image


def test_without_any_amount_an_image_is_what_the_device_prepares(raw: Image) -> None:
    plain = recapture(raw, Recapture(share=1), RECORD, np.random.default_rng(0))
    assert np.array_equal(plain, prepare(raw, RECORD).model_input[0])


def test_the_mask_moves_with_the_stain(raw: Image) -> None:
    areas = {
        int(recapture(raw, Recapture(share=1, stain=0.4), RECORD, np.random.default_rng(seed)).any(axis=2).sum())
        for seed in range(5)
    }
    assert len(areas) == 5


def test_the_same_seed_gives_the_same_image(raw: Image) -> None:
    first, second, other = (recapture(raw, EVERY, RECORD, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (224, 224, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # of Python 3.12 on
def test_a_forked_loader_prepares_images_too(raw: Image) -> None:
    prepare(raw, RECORD)  # this process' threads are at work before it forks
    with multiprocessing.get_context("fork").Pool(1) as workers:
        found = workers.apply_async(recapture, (raw, EVERY, RECORD, np.random.default_rng(1))).get(timeout=30)
    assert np.array_equal(found, recapture(raw, EVERY, RECORD, np.random.default_rng(1)))
