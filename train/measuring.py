"""From what a model said of a part, and the truth, to the part's metrics."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.dataset import DatasetFile
from benchmarks.metrics import BINS, Labels, Probabilities, confidences, confusion, figures, predict, share
from benchmarks.results import Mistake
from benchmarks.source_model import Logits
from edge_app.judging import Decision, Judgement, Limits, judge, judge_frame, softmax
from train.frames import by_frame
from train.run_metrics import Answered, Bin, Counts, Curve, FrameFigures, PartMetrics, Risk, SourceFigures

MOST_POINTS = 101  # of a curve of coverage against risk
DIGITS = 6

Booleans = npt.NDArray[np.bool_]


def measure_part(
    logits: Logits, files: Sequence[DatasetFile], classes: tuple[str, ...], decision: Decision, limits: Limits
) -> PartMetrics:
    """Return the metrics of a part: logits [N, K] in the order of its files, which say what is true."""
    truths: Labels = np.array([classes.index(file.label) for file in files])
    probabilities = softmax(logits, decision.temperature)
    named = predict(probabilities, classes, decision)
    sure = confidences(probabilities, classes, decision)
    right = named == truths

    def of_source(rows: npt.NDArray[np.int64]) -> SourceFigures:
        groups = [files[row].group for row in rows]
        return SourceFigures(
            images=len(rows),
            figures=figures(probabilities[rows], truths[rows], groups, classes, decision),
            confusion=counts(truths[rows], named[rows], classes),
            answered=_answered(right[rows], sure[rows], limits.min_confidence),
        )

    sources = np.array([file.source for file in files])
    whole = of_source(np.arange(len(files)))
    judgements = [judge(row, file.quality, classes, decision, limits) for row, file in zip(logits, files, strict=True)]
    wrong = sorted(np.flatnonzero(~right).tolist(), key=lambda row: -sure[row])
    return PartMetrics(
        images={name: int((truths == index).sum()) for index, name in enumerate(classes)},
        figures=whole.figures,
        confusion=whole.confusion,
        by_source={name: of_source(np.flatnonzero(sources == name)) for name in sorted(set(sources.tolist()))},
        frames=tuple(
            _frames(probabilities, truths, files, judgements, classes, decision, source)
            for source in sorted({file.source for file in files if file.box})
        ),
        roc=_roc(probabilities, truths, classes, decision),
        reliability=_reliability(probabilities, truths),
        risks=_risks(right, sure),
        answered=whole.answered,
        abstained=dict(Counter(each.indeterminate for each in judgements if each.indeterminate)),
        mistakes=tuple(
            Mistake(
                image=files[row].path,
                truth=files[row].label,
                named=classes[named[row]],
                probability=round(float(probabilities[row, named[row]]), DIGITS),
                label=judgements[row].label,
                indeterminate=judgements[row].indeterminate,
            )
            for row in wrong
        ),
    )


def counts(truths: Labels, named: Labels, classes: tuple[str, ...]) -> Counts:
    """Return the confusion matrix as a record holds it; rows are the truth."""
    return tuple(tuple(row) for row in confusion(truths, named, len(classes)).tolist())


def _answered(right: Booleans, sure: npt.NDArray[np.float64], limit: float) -> Answered:
    answered = sure >= limit
    wrong = int((answered & ~right).sum())
    return Answered(
        limit=limit,
        coverage=share(int(answered.sum()), len(answered)),
        risk=share(wrong, int(answered.sum())) if answered.any() else None,
    )


def _frames(
    probabilities: Probabilities,
    truths: Labels,
    files: Sequence[DatasetFile],
    judgements: Sequence[Judgement],
    classes: tuple[str, ...],
    decision: Decision,
    source: str,
) -> FrameFigures:
    """Return what the fields say of the frames that they were cut from; a frame's fields have its label and group."""
    rows = [row for row, file in enumerate(files) if file.source == source]
    names = [files[row].frame for row in rows]
    frames = by_frame(probabilities[rows], truths[rows], names, classes, decision)
    labels = [
        judge_frame([judgements[row] for row, name in zip(rows, names, strict=True) if name == frame], decision)
        for frame in frames.names
    ]
    group = {file.frame: file.group for file in files}
    given = [each.judgement.label for each in labels]
    answered = sum(label is not None for label in given)
    right = sum(label == classes[truth] for label, truth in zip(given, frames.truths, strict=True))
    return FrameFigures(
        source=source,
        frames={name: int((frames.truths == index).sum()) for index, name in enumerate(classes)},
        fields=len(rows),
        figures=figures(frames.probabilities, frames.truths, [group[name] for name in frames.names], classes, decision),
        confusion=counts(frames.truths, predict(frames.probabilities, classes, decision), classes),
        coverage=share(answered, len(given)),
        answered=share(right, answered) if answered else None,
    )


def _roc(
    probabilities: Probabilities, truths: Labels, classes: tuple[str, ...], decision: Decision
) -> dict[str, Curve]:
    from sklearn.metrics import roc_curve

    curves = {}
    for name in classes if decision.positive is None else [decision.positive]:
        true = truths == classes.index(name)
        if true.all() or not true.any():
            continue  # nothing to tell apart
        false_rate, true_rate, _ = roc_curve(true, probabilities[:, classes.index(name)])
        curves[name] = Curve(
            false_positive_rate=tuple(false_rate.round(DIGITS).tolist()),
            true_positive_rate=tuple(true_rate.round(DIGITS).tolist()),
        )
    return curves


def _reliability(probabilities: Probabilities, truths: Labels) -> tuple[Bin, ...]:
    """Return the bins that hold images, of those that `expected_calibration_error` has."""
    largest, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truths
    bins = np.minimum((largest * BINS).astype(int), BINS - 1)
    return tuple(
        Bin(
            low=round(index / BINS, DIGITS),
            high=round((index + 1) / BINS, DIGITS),
            images=int((bins == index).sum()),
            confidence=round(float(largest[bins == index].mean()), DIGITS),
            accuracy=share(int(right[bins == index].sum()), int((bins == index).sum())),
        )
        for index in np.unique(bins).tolist()
    )


def _risks(right: Booleans, sure: npt.NDArray[np.float64]) -> tuple[Risk, ...]:
    """Return coverage and risk (El-Yaniv and Wiener, JMLR 2010) with the limit at some of the images."""
    order = np.argsort(sure)
    positions = np.unique(np.linspace(0, len(right) - 1, MOST_POINTS).round().astype(int))
    return tuple(
        Risk(
            limit=round(float(sure[order[position]]), DIGITS),
            coverage=round(1 - position / len(right), DIGITS),
            risk=round(float((~right[order[position:]]).mean()), DIGITS),
        )
        for position in positions.tolist()
    )
