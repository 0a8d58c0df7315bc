import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_app.judging import Decision, Judgement, Limits, Range, Reason, confidence, judge, judge_frame, named, softmax
from edge_app.quality import Quality

CLASSES = ("Cancer", "Normal")
GOOD = Quality(
    mask_fraction=0.1,
    focus=1.0,
    noise=2.0,
    brightness=240,
    clipped=0.01,
    tint_a=130,
    tint_b=120,
    stain_hue=130,
    stain_saturation=90,
)
LIMITS = Limits(
    min_mask_fraction=0.01,
    min_focus=0.1,
    max_noise=5.0,
    min_brightness=100,
    max_clipped=0.2,
    tint_a=Range(low=124, high=138),
    tint_b=Range(low=100, high=130),
    stain_hue=Range(low=122, high=145),
    stain_saturation=Range(low=60, high=150),
    min_confidence=0.6,
)
SURE = np.array([4.0, -4.0], np.float32)
POSITIVE = Decision(positive="Cancer")


def test_a_good_frame_gets_the_likelier_class() -> None:
    judgement = judge(SURE, GOOD, CLASSES, Decision(positive="Cancer"), LIMITS)
    assert (judgement.label, judgement.indeterminate) == ("Cancer", None)
    assert sum(judgement.probabilities.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mask_fraction": 0.001}, "no_stained_cell"),
        ({"stain_hue": None, "stain_saturation": None}, "no_stained_cell"),
        ({"focus": 0.05}, "out_of_focus"),
        ({"noise": 6.0}, "noisy"),
        ({"brightness": 60}, "too_dark"),
        ({"clipped": 0.5}, "clipped"),
        ({"tint_a": 110}, "stain_out_of_range"),
        ({"tint_b": 150}, "stain_out_of_range"),
        ({"stain_hue": 155}, "stain_out_of_range"),
        ({"stain_saturation": 200}, "stain_out_of_range"),
    ],
)
def test_a_frame_outside_a_limit_gets_no_label_but_the_reason(change: dict[str, float | None], reason: Reason) -> None:
    judgement = judge(SURE, GOOD.replace(**change), CLASSES, Decision(positive="Cancer"), LIMITS)
    assert (judgement.label, judgement.indeterminate) == (None, reason)


def test_an_unsure_answer_gets_no_label() -> None:
    judgement = judge(np.array([0.1, 0.0], np.float32), GOOD, CLASSES, Decision(positive="Cancer"), LIMITS)
    assert (judgement.label, judgement.indeterminate) == (None, "low_confidence")


def test_the_threshold_moves_the_label_and_where_it_is_unsure() -> None:
    strict = Decision(positive="Cancer", threshold=0.9)
    assert named({"Cancer": 0.8, "Normal": 0.2}, strict) == "Normal"
    assert named({"Cancer": 0.9, "Normal": 0.1}, strict) == "Cancer"
    assert confidence({"Cancer": 0.9, "Normal": 0.1}, strict) == pytest.approx(0.5)
    assert confidence({"Cancer": 0.0, "Normal": 1.0}, strict) == pytest.approx(1.0)


def test_without_a_positive_class_the_likeliest_is_named() -> None:
    assert named({"a": 0.2, "b": 0.5, "c": 0.3}, Decision()) == "b"


@given(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=2, max_size=6),
    st.floats(0.01, 100),
)
def test_softmax_is_a_distribution_for_any_finite_logits(logits: list[float], temperature: float) -> None:
    probabilities = softmax(np.array(logits, np.float32), temperature)
    assert np.isfinite(probabilities).all()
    assert probabilities.sum() == pytest.approx(1)
    assert probabilities[np.argmax(logits)] == probabilities.max()


def test_a_higher_temperature_is_less_sure() -> None:
    logits = np.array([2.0, 0.0], np.float32)
    assert softmax(logits, 4.0)[0] < softmax(logits, 1.0)[0]


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
