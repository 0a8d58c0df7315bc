"""Accuracy figures with 95 % intervals, the same for training reports, the export gate and benchmarks.

The figures are scikit-learn's, which a test holds them to; they are written down here because a bootstrap asks for
each a thousand times, and scikit-learn checks its arguments every time.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from edge_app.judging import Decision, confidence, named
from edge_app.manifest import Figure

Probabilities = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
REPLICATES = 1000
BINS = 15  # of the expected calibration error, as in Guo et al., ICML 2017


def predict(probabilities: Probabilities, classes: Sequence[str], decision: Decision) -> Labels:
    """Return the named class of each row as an index into `classes`."""
    return np.array(
        [classes.index(named(dict(zip(classes, row, strict=True)), decision)) for row in probabilities.tolist()]
    )


def confidences(probabilities: Probabilities, classes: Sequence[str], decision: Decision) -> npt.NDArray[np.float64]:
    """Return how sure the named class of each row is: `edge_app.judging.confidence`."""
    return np.array([confidence(dict(zip(classes, row, strict=True)), decision) for row in probabilities.tolist()])


def confusion(truths: Labels, predicted: Labels, classes: int) -> npt.NDArray[np.int64]:
    """Return counts [K, K]; rows are the truth."""
    return np.bincount(truths * classes + predicted, minlength=classes**2).reshape(classes, classes)


def figures(
    probabilities: Probabilities,
    truths: Labels,
    groups: Sequence[str],
    classes: Sequence[str],
    decision: Decision,
    *,
    seed: int = 0,
) -> dict[str, Figure]:
    """Return the figures of a test.

    probabilities: float64 [N, K]; truths: index into `classes`, [N]; groups: scene group of each image.
    With a positive class: accuracy, precision, recall (sensitivity), f1, specificity, auc, ece. Otherwise accuracy,
    macro-averaged f1 and auc, ece, and the recall of each class. What can't be told without images of a class is left
    out. Intervals of shares are Wilson's; of f1, auc and ece percentiles of a bootstrap over groups, because images of
    one scene are not independent.
    """
    predicted = predict(probabilities, classes, decision)
    result = shares(truths, predicted, classes, decision)
    statistics: dict[str, Callable[[Labels], float]] = {
        "f1": lambda rows: _f1(truths[rows], predicted[rows], classes, decision),
        "auc": lambda rows: _auc(truths[rows], probabilities[rows], classes, decision),
        "ece": lambda rows: expected_calibration_error(probabilities[rows], truths[rows]),
    }
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    units = [np.array(rows) for rows in members.values()]
    draw = np.random.default_rng(seed).integers(len(units), size=(REPLICATES, len(units)))
    samples = [np.concatenate([units[unit] for unit in row]) for row in draw]
    for name, statistic in statistics.items():
        value = statistic(np.arange(len(truths)))
        if np.isnan(value):
            continue  # an area under the curve, where one class only was tested
        low, high = np.nanpercentile([statistic(rows) for rows in samples], [2.5, 97.5])
        result[name] = Figure(value=value, low=float(low), high=float(high))
    return result


def shares(truths: Labels, predicted: Labels, classes: Sequence[str], decision: Decision) -> dict[str, Figure]:
    """Return those of the figures that are shares, which need no bootstrap: see `figures`."""
    counts = confusion(truths, predicted, len(classes))
    images = {name: int(row.sum()) for name, row in zip(classes, counts, strict=True)}
    result = {"accuracy": share(int(np.trace(counts)), len(truths))}
    if decision.positive is None:
        right = zip(classes, np.diag(counts).tolist(), strict=True)
        return result | {f"recall {name}": share(hits, images[name]) for name, hits in right if images[name]}
    p = classes.index(decision.positive)
    hits, called = int(counts[p, p]), int(counts[:, p].sum())
    positives, negatives = images[decision.positive], len(truths) - images[decision.positive]
    result["precision"] = share(hits, called)
    if positives:
        result["recall"] = share(hits, positives)
    if negatives:
        result["specificity"] = share(negatives - (called - hits), negatives)
    return result


def share(part: int, whole: int) -> Figure:
    """Return a share with Wilson's interval; of nothing, 0 with the widest interval there is."""
    from scipy.stats import binomtest

    if whole == 0:
        return Figure(value=0.0, low=0.0, high=1.0)
    interval = binomtest(part, whole).proportion_ci(method="wilson")
    return Figure(value=part / whole, low=float(interval.low), high=float(interval.high))


def expected_calibration_error(probabilities: Probabilities, truths: Labels) -> float:
    """Return the mean distance between confidence and accuracy over equal-width bins, weighted by their counts."""
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == truths
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, confidence - correct, BINS)
    return float(np.abs(gaps).sum() / len(truths))


def _f1(truths: Labels, predicted: Labels, classes: Sequence[str], decision: Decision) -> float:
    """Return F1 of the positive class, or the mean of all classes' F1."""
    scores = []
    for index in range(len(classes)) if decision.positive is None else [classes.index(decision.positive)]:
        named, true = predicted == index, truths == index
        both, either = np.count_nonzero(named & true), np.count_nonzero(named) + np.count_nonzero(true)
        scores.append(2 * both / either if either else 0.0)
    return float(np.mean(scores))


def _auc(truths: Labels, probabilities: Probabilities, classes: Sequence[str], decision: Decision) -> float:
    """Return the area under the ROC curve, by ranks (Hanley and McNeil, Radiology 1982), one class against the rest.

    NaN where a bootstrap sample lacks a class.
    """
    from scipy.stats import rankdata

    areas = []
    for index in range(len(classes)) if decision.positive is None else [classes.index(decision.positive)]:
        true = truths == index
        positives, negatives = np.count_nonzero(true), np.count_nonzero(~true)
        if positives == 0 or negatives == 0:
            return float("nan")
        ranks = rankdata(probabilities[:, index])[true].sum()
        areas.append((ranks - positives * (positives + 1) / 2) / (positives * negatives))
    return float(np.mean(areas))
