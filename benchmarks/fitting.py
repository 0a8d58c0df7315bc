"""What is fitted, not trained: the decision on validation images, the limits of a frame on training images."""

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np

from benchmarks.metrics import Labels, Probabilities, confidences, predict
from benchmarks.source_model import Logits
from edge_app.judging import Decision, Limits, Range, softmax
from edge_app.quality import Quality

REFUSED_SHARE = 0.01  # of the training images that each limit may refuse
NOISE_FACTOR = 2  # times the noise that nearly all training images stay below is too much
MARGIN = 0.05  # a range is widened by this share of its width at both ends
SURE_ACCURACY = 0.995  # what is wanted of the validation images that are not abstained from
LARGEST_ABSTENTION = 0.05  # but no more than this share of any class is abstained from: the limit must silence none


def fit_decision(logits: Logits, truths: Labels, positive: str | None) -> Decision:
    """Return the decision whose temperature minimises the log loss of validation logits [N, K] (Guo et al., ICML 2017).

    The threshold stays at 0.5: the likelier class is named, as in the study. One that is fitted to the accuracy of some
    hundred images with few healthy ones among them gives away specificity for next to nothing.
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(truths))

    def log_loss(log_temperature: float) -> float:
        return float(-np.log(softmax(logits, float(np.exp(log_temperature)))[rows, truths] + 1e-12).mean())

    temperature = float(np.exp(minimize_scalar(log_loss, bounds=(-3, 3), method="bounded").x))
    return Decision(temperature=round(temperature, 4), positive=positive)


def fit_min_confidence(
    probabilities: Probabilities, truths: Labels, classes: tuple[str, ...], decision: Decision
) -> float:
    """Return the smallest confidence at which the accuracy of what is left on validation is `SURE_ACCURACY`.

    Where that would abstain from more than `LARGEST_ABSTENTION` of a class, the limit that abstains from so many.
    """
    right = predict(probabilities, classes, decision) == truths
    sure = confidences(probabilities, classes, decision)
    order = np.argsort(sure)
    images, left_out = Counter(truths.tolist()), Counter[int]()
    for position, index in enumerate(order.tolist()):
        label = int(truths[index])
        left_out[label] += 1
        if right[order[position:]].mean() >= SURE_ACCURACY or left_out[label] > LARGEST_ABSTENTION * images[label]:
            break
    # rounded down, as the nearest would be 1 for a model that is surer than 0.99995, and silence it
    return math.floor(1e4 * float(sure[index])) / 1e4


def fit_limits(qualities: Iterable[Quality], min_confidence: float) -> Limits:
    """Return limits that refuse about `REFUSED_SHARE` of the training images each, and next to none by colour."""
    figures = list(qualities)

    def column(name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([value for value in (getattr(figure, name) for figure in figures) if value is not None], float)

    def spread(name: str) -> Range:
        values = column(name)
        low, high = np.quantile(values, [0.001, 0.999])
        margin = MARGIN * (high - low)
        return Range(low=max(0.0, round(low - margin, 2)), high=min(255.0, round(high + margin, 2)))

    return Limits(
        min_mask_fraction=round(float(column("mask_fraction").min()) / 2, 6),
        min_focus=round(float(np.quantile(column("focus"), REFUSED_SHARE)), 4),
        max_noise=round(float(np.quantile(column("noise"), 1 - REFUSED_SHARE)) * NOISE_FACTOR, 2),
        # not of the darkest: a data set with a few dark frames would let others be answered that are dimmed to 40 %
        min_brightness=round(float(np.quantile(column("brightness"), REFUSED_SHARE)) * 0.9, 1),
        max_clipped=min(1.0, round(float(np.quantile(column("clipped"), 1 - REFUSED_SHARE)) * 1.2, 4)),
        tint_a=spread("tint_a"),
        tint_b=spread("tint_b"),
        stain_hue=spread("stain_hue"),
        stain_saturation=spread("stain_saturation"),
        min_confidence=min_confidence,
    )
