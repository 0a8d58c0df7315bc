"""Training images changed before they are segmented."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from benchmarks.dataset import DatasetManifest, read_prepared, read_raw
from edge_app.preprocessing import Image, Preprocessing, prepare
from edge_app.smears import draw_smear
from train.dataset import build_dataset
from train.drawing import draw_images
from train.images import PartImages
from train.recapture import Recapture, recapture
from train.recipe import Augmentation

RECORD = Preprocessing()
EVERY = Recapture(
    share=1, stain=0.2, white_balance=0.1, brightness=0.2, illumination=0.3, blur=0.004, noise=8, jpeg=50
)  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DatasetManifest]:
    """A data set of drawn fields, and its manifest."""
    folder = tmp_path_factory.mktemp("recapture")
    draw_images(folder / "drawn", 8)
    return folder / "set", build_dataset([folder / "drawn"], folder / "set")


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


def test_training_shows_images_changed_before_segmentation_and_validation_does_not(
    drawn: tuple[Path, DatasetManifest],
) -> None:
    folder, manifest = drawn
    images = PartImages(folder, manifest, "train", recapturable=True)
    shown = [images.training_image(0, Augmentation(recapture=EVERY), np.random.default_rng(seed)) for seed in range(3)]
    assert len({image.tobytes() for image in (*shown, images.images[0])}) == 4
    plain = PartImages(folder, manifest, "val")
    assert np.array_equal(plain.training_image(0, Augmentation(), np.random.default_rng(0)), plain.images[0])


@pytest.mark.parametrize(("model", "kept"), [(128, 224), (224, 224), (80, 160)])
def test_images_are_kept_as_they_were_taken_up_to_twice_the_size_of_the_models(
    model: int, kept: int, tmp_path: Path
) -> None:
    draw_images(tmp_path / "drawn", 4)
    record = Preprocessing(height=model, width=model)
    manifest = build_dataset([tmp_path / "drawn"], tmp_path / "set", preprocessing=record)
    for file in manifest.files:
        raw = read_raw(tmp_path / "set", file)
        assert raw.shape == (kept, kept, 3)
        if kept == 224:  # then it is segmented as on a device
            plain = recapture(raw, Recapture(share=1), record, np.random.default_rng(0))
            assert np.array_equal(plain, read_prepared(tmp_path / "set", file)[0])


def test_a_frame_that_was_made_small_is_shown_as_it_was_segmented(drawn: tuple[Path, DatasetManifest]) -> None:
    folder, manifest = drawn
    small = manifest.replace(files=tuple(file.replace(red_cell_px=6.0) for file in manifest.files))
    images = PartImages(folder, small, "train", recapturable=True)
    shown = images.training_image(0, Augmentation(recapture=EVERY), np.random.default_rng(0))
    assert np.array_equal(shown, images.images[0])
