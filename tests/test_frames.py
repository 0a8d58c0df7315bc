import numpy as np
import pytest

from benchmarks.metrics import predict
from edge_app.judging import Decision, Judgement, Reason, judge_frame
from train.frames import by_frame

CLASSES = ("Cancer", "Normal")
POSITIVE = Decision(positive="Cancer")


def field(cancer: float, indeterminate: Reason | None = None) -> Judgement:
    label = "Cancer" if cancer >= 0.5 else "Normal"
    return Judgement(None if indeterminate else label, {"Cancer": cancer, "Normal": 1 - cancer}, indeterminate)


def test_one_positive_field_makes_a_frame_positive_and_is_its_worst() -> None:
    frame = judge_frame([field(0.1), field(0.9), field(0.6), field(0.2)], POSITIVE)
    assert (frame.judgement.label, frame.judgement.probabilities["Cancer"]) == ("Cancer", 0.9)
    assert (frame.positive_share, frame.worst) == (0.5, 1)


def test_a_frame_is_negative_when_every_field_that_counts_is() -> None:
    frame = judge_frame([field(0.1), field(0.3), field(0.9, "out_of_focus")], POSITIVE)
    assert (frame.judgement.label, frame.positive_share, frame.worst) == ("Normal", 0, 1)


def test_a_frame_of_indeterminate_fields_has_the_reason_that_came_nearest_to_an_answer() -> None:
    frame = judge_frame(
        [field(0.1, "no_stained_cell"), field(0.6, "low_confidence"), field(0.2, "no_stained_cell")], POSITIVE
    )
    assert (frame.judgement.label, frame.judgement.indeterminate) == (None, "low_confidence")
    assert (frame.positive_share, frame.worst) == (None, None)
    assert frame.judgement.probabilities["Cancer"] == 0.6


def test_without_a_positive_class_the_mean_names_the_frames_class() -> None:
    frame = judge_frame([field(0.4), field(0.3), field(0.95)], Decision())
    assert frame.judgement.label == "Cancer"
    assert frame.judgement.probabilities["Cancer"] == pytest.approx(0.55)
    assert frame.worst is None


def test_a_frame_of_one_field_is_judged_as_it_is() -> None:
    for only in (field(0.7), field(0.2, "too_dark")):
        assert judge_frame([only], POSITIVE).judgement == only
        assert judge_frame([only], Decision()).judgement == only


def test_figures_by_frame_rest_on_the_apps_rule() -> None:
    probabilities = np.array([[0.2, 0.8], [0.9, 0.1], [0.1, 0.9], [0.3, 0.7], [0.6, 0.4]])
    frames = by_frame(probabilities, np.array([0, 0, 1, 1, 0]), ["a", "b", "c", "c", "a"], CLASSES, POSITIVE)
    assert frames.names == ("a", "b", "c")
    assert frames.truths.tolist() == [0, 0, 1]
    assert frames.fields.tolist() == [2, 1, 2]
    assert frames.probabilities[:, 0].tolist() == [0.6, 0.9, 0.3]
    assert predict(frames.probabilities, CLASSES, POSITIVE).tolist() == [0, 0, 1]
