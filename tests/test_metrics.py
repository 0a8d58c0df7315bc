import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_score, recall_score, roc_auc_score

from benchmarks.fitting import fit_decision, fit_limits, fit_min_confidence
from benchmarks.metrics import confusion, expected_calibration_error, figures, predict
from edge_app.judging import Decision, refusal, softmax
from edge_app.quality import Quality

BINARY = ("Cancer", "Normal")
POSITIVE = Decision(positive="Cancer")


def draw(images: int, classes: int, seed: int, skill: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and truths of a classifier that is right more often than not."""
    generator = np.random.default_rng(seed)
    truths = np.concatenate([np.arange(classes), generator.integers(0, classes, images - classes)])
    logits = generator.normal(size=(images, classes)) + skill * np.eye(classes)[truths]
    return logits.astype(np.float32), truths


@given(st.integers(20, 120), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_binary_figures_are_scikit_learns(images: int, seed: int) -> None:
    logits, truths = draw(images, 2, seed)
    probabilities = softmax(logits, 1.0)
    found = figures(probabilities, truths, [str(i) for i in range(images)], BINARY, POSITIVE)
    true, named = truths == 0, probabilities[:, 0] >= 0.5
    assert found["accuracy"].value == pytest.approx(accuracy_score(true, named))
    assert found["precision"].value == pytest.approx(precision_score(true, named, zero_division=0))
    assert found["recall"].value == pytest.approx(recall_score(true, named))
    assert found["specificity"].value == pytest.approx(recall_score(~true, ~named))
    assert found["f1"].value == pytest.approx(f1_score(true, named, zero_division=0))
    assert found["auc"].value == pytest.approx(roc_auc_score(true, probabilities[:, 0]))


def test_figures_of_several_classes_are_scikit_learns_macro_averages() -> None:
    logits, truths = draw(150, 4, seed=2)
    probabilities = softmax(logits, 1.0)
    found = figures(probabilities, truths, [str(i) for i in range(150)], ("a", "b", "c", "d"), Decision())
    named = probabilities.argmax(axis=1)
    assert found["f1"].value == pytest.approx(f1_score(truths, named, average="macro"))
    assert found["auc"].value == pytest.approx(roc_auc_score(truths, probabilities, multi_class="ovr"))
    assert found["recall c"].value == pytest.approx(recall_score(truths, named, average=None)[2])


def test_rows_of_the_confusion_matrix_are_the_truth() -> None:
    logits, truths = draw(80, 3, seed=1)
    named = predict(softmax(logits, 1.0), ("a", "b", "c"), Decision())
    assert (confusion(truths, named, 3) == confusion_matrix(truths, named)).all()


def test_shares_have_wilsons_interval() -> None:
    """427 of 427: 99.1 to 100 %, as statistics textbooks give it; a normal interval would say 100 to 100 %."""
    probabilities = np.tile([1.0, 0.0], (500, 1))
    found = figures(probabilities, np.zeros(500, int), [str(i) for i in range(500)], BINARY, POSITIVE)
    assert found["recall"].low == pytest.approx(500 / (500 + 1.959964**2), abs=1e-6)
    assert found["recall"].high == 1


def test_the_bootstrap_draws_scenes_not_images() -> None:
    logits, truths = draw(200, 2, seed=3)
    probabilities = softmax(logits, 1.0)
    apart = figures(probabilities, truths, [str(i) for i in range(200)], BINARY, POSITIVE)["auc"]
    together = figures(
        np.repeat(probabilities, 5, 0), np.repeat(truths, 5), [str(i // 5) for i in range(1000)], BINARY, POSITIVE
    )["auc"]
    assert apart.low is not None
    assert together.low is not None
    assert together.low == pytest.approx(apart.low, abs=1e-6)  # five copies of each image are no more evidence


def test_calibration_error_is_nought_for_a_calibrated_and_large_for_a_boastful_model() -> None:
    truths = np.array([0] * 80 + [1] * 20)
    assert expected_calibration_error(np.tile([0.8, 0.2], (100, 1)), truths) == pytest.approx(0, abs=1e-9)
    assert expected_calibration_error(np.tile([0.99, 0.01], (100, 1)), truths) == pytest.approx(0.19)


def test_the_fitted_temperature_undoes_one_that_was_applied() -> None:
    logits, truths = draw(4000, 2, seed=4, skill=1.0)
    plain = fit_decision(logits, truths, "Cancer").temperature
    assert fit_decision(logits * 3, truths, "Cancer").temperature == pytest.approx(3 * plain, rel=0.01)


def test_the_confidence_limit_abstains_from_the_doubtful_but_from_few() -> None:
    logits, truths = draw(400, 2, seed=5, skill=3.0)
    probabilities = softmax(logits, 1.0)
    limit = fit_min_confidence(probabilities, truths, BINARY, POSITIVE)
    sure = probabilities.max(axis=1)
    assert 0 < np.count_nonzero(sure < limit) <= 20
    right = probabilities.argmax(axis=1) == truths
    assert right[sure >= limit].mean() > right.mean()


def test_the_confidence_limit_silences_no_class() -> None:
    logits, truths = draw(1000, 2, seed=6, skill=3.0)
    logits[truths == 1] *= 0.2  # right, but never sure
    probabilities = softmax(logits, 1.0)
    limit = fit_min_confidence(probabilities, truths, BINARY, POSITIVE)
    refused = probabilities.max(axis=1) < limit
    for label in (0, 1):
        assert refused[truths == label].mean() <= 0.05


def test_the_confidence_limit_does_not_silence_a_model_that_is_always_sure() -> None:
    rest = np.linspace(1e-6, 3e-5, 40)
    probabilities = np.stack([1 - rest, rest], axis=1)
    limit = fit_min_confidence(probabilities, np.zeros(40, int), BINARY, POSITIVE)
    assert 0.999 < limit <= probabilities.max(axis=1).min()


def test_burnt_out_ground_in_all_training_images_makes_a_limit_that_refuses_none() -> None:
    quality = Quality(
        mask_fraction=0.1,
        focus=0.5,
        noise=2,
        brightness=255,
        clipped=0.9,
        tint_a=128,
        tint_b=128,
        stain_hue=140,
        stain_saturation=90,
    )
    assert fit_limits([quality] * 20, 0.5).max_clipped == 1


def test_fitted_limits_accept_nearly_all_that_they_were_set_from() -> None:
    generator = np.random.default_rng(0)
    drawn = [
        Quality(
            mask_fraction=abs(m) + 0.01,
            focus=abs(f) + 0.1,
            noise=2 + abs(f),
            brightness=240 + b,
            clipped=abs(c),
            tint_a=130 + b,
            tint_b=118,
            stain_hue=130 + f,
            stain_saturation=100 + m,
        )
        for m, f, b, c in generator.normal(scale=0.1, size=(500, 4)).tolist()
    ]
    drawn[0] = drawn[0].replace(brightness=107.0)  # one dark frame does not let all dark ones pass
    limits = fit_limits(drawn, 0.7)
    assert refusal(drawn[1].replace(brightness=0.6 * drawn[1].brightness), limits) == "too_dark"
    assert sum(refusal(quality, limits) is None for quality in drawn) >= 0.97 * 500
    assert refusal(drawn[1].replace(focus=0.0), limits) == "out_of_focus"
    assert refusal(drawn[1].replace(noise=6.0), limits) == "noisy"
    assert refusal(drawn[1].replace(stain_hue=150.0), limits) == "stain_out_of_range"
