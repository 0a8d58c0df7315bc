from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_app.consensus import SAME_FIELD, STEADY_FRAMES, Voting
from edge_app.images import find_images, read_image
from edge_app.preprocessing import Image
from edge_app.quality import thumbnail
from edge_app.smears import draw_smear

FIELD = thumbnail(draw_smear(3, kind="leukaemic", height=480, width=640).image, 224, 224)
OTHER = thumbnail(draw_smear(4, kind="healthy", height=480, width=640).image, 224, 224)


def noisy(image: Image, seed: int) -> Image:
    return np.clip(image + np.random.default_rng(seed).normal(0, 6, image.shape), 0, 255).astype(np.uint8)


def test_a_label_stands_once_enough_of_the_last_frames_gave_it() -> None:
    voting = Voting(5, 3)
    said = [voting.update("Cancer", noisy(FIELD, seed)) for seed in range(3)]
    assert [each.agreed for each in said] == [False, False, True]
    assert (said[-1].label, said[-1].votes, said[-1].frames) == ("Cancer", 3, 3)


def test_one_odd_frame_changes_nothing() -> None:
    voting = Voting(5, 3)
    labels = ["Cancer"] * 5 + ["Normal", "Cancer", None, "Cancer"]
    said = [voting.update(label, FIELD).label for label in labels]
    assert said[2:] == ["Cancer"] * 7


def test_another_label_takes_over_only_when_it_has_as_many() -> None:
    voting = Voting(5, 4)
    for _ in range(5):
        voting.update("Cancer", FIELD)
    assert [voting.update("Normal", FIELD).label for _ in range(4)] == ["Cancer", "Cancer", "Cancer", "Normal"]


def test_frames_without_a_label_can_agree_on_none() -> None:
    voting = Voting(3, 2)
    voting.update("Cancer", FIELD)
    voting.update(None, FIELD)
    said = voting.update(None, FIELD)
    assert said.agreed
    assert said.label is None


def test_a_moved_field_starts_the_count_anew() -> None:
    voting = Voting(3, 2)
    for _ in range(3):
        voting.update("Cancer", FIELD)
    said = voting.update("Normal", OTHER)
    assert (said.moved, said.field, said.label, said.agreed, said.frames) == (True, 1, None, False, 1)
    assert not voting.update("Normal", OTHER).moved


def test_a_field_is_steady_after_some_frames_without_movement() -> None:
    voting = Voting(3, 2)
    steady = [voting.update("Cancer", noisy(FIELD, seed)).steady for seed in range(STEADY_FRAMES + 1)]
    assert steady.index(True) == STEADY_FRAMES - 1
    assert not voting.update("Cancer", OTHER).steady


def test_plain_pictures_are_one_field_and_a_smear_another() -> None:
    voting = Voting(3, 2)
    plain = np.full((224, 224, 3), 230, np.uint8)
    voting.update(None, plain)
    assert not voting.update(None, noisy(plain, 1)).moved
    assert voting.update("Cancer", FIELD).moved


@pytest.mark.parametrize(("frames", "needed"), [(5, 2), (4, 2), (5, 6), (5, 0)])
def test_a_vote_that_two_labels_could_win_is_refused(frames: int, needed: int) -> None:
    with pytest.raises(ValueError, match="needed must be above"):
        Voting(frames, needed)


@given(st.lists(st.sampled_from(["Cancer", "Normal", None]), min_size=1, max_size=60), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_what_stands_always_had_its_majority(labels: list[str | None], frames: int) -> None:
    needed = frames // 2 + 1
    voting = Voting(frames, needed)
    stood: str | None = None
    for index, label in enumerate(labels):
        said = voting.update(label, FIELD)
        last = labels[max(0, index + 1 - frames) : index + 1]
        if said.agreed and said.label != stood:
            assert last.count(said.label) >= needed
        stood = said.label


def test_real_fields_are_told_apart_from_themselves_shaken_and_moved(smears: Path) -> None:
    for file in find_images(smears / "all_idb1" / "im")[::9]:
        image = read_image(file)
        height, width = (7 * side // 10 for side in image.shape[:2])
        step = width // 25
        seen = thumbnail(image[:height, :width], 224, 224)
        moved = thumbnail(image[step : height + step, step : width + step], 224, 224)
        flickering = cv2.convertScaleAbs(noisy(seen, 0), alpha=0.93)
        voting = Voting(3, 2)
        voting.update("Cancer", seen)
        assert not voting.update("Cancer", np.asarray(flickering, np.uint8)).moved, (file, SAME_FIELD)
        assert voting.update("Cancer", moved).moved, file
