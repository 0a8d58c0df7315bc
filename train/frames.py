"""Figures by frame, where several images of a data set are fields that were cut from one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.metrics import Labels, Probabilities
from edge_app.judging import Decision, Judgement, judge_frame, named


@dataclass(frozen=True)
class Frames:
    """What is said of frames from their fields, in the order in which the frames first come.

    probabilities: float64 [F, K], those that `edge_app.judging.judge_frame` gives each frame, so that
    `benchmarks.metrics` can be asked for figures. truths: int64 [F], index of the class. fields: int64 [F].
    """

    names: tuple[str, ...]
    probabilities: Probabilities
    truths: Labels
    fields: Labels


def by_frame(
    probabilities: Probabilities, truths: Labels, frames: Sequence[str], classes: Sequence[str], decision: Decision
) -> Frames:
    """Return the frames' verdicts by the rule of the app, each field taken for what it is likelier to be.

    probabilities: float64 [N, K] of the fields, in the order of `classes`. truths: int64 [N]. frames: the name of the
    frame of each field, `DatasetFile.frame`. They share their frame's truth; the first's counts.
    """
    members: dict[str, list[int]] = {}
    for index, name in enumerate(frames):
        members.setdefault(name, []).append(index)
    rows = [dict(zip(classes, row, strict=True)) for row in probabilities.tolist()]
    judgements = [Judgement(named(row, decision), row, None) for row in rows]
    found = [judge_frame([judgements[index] for index in indices], decision).judgement for indices in members.values()]
    return Frames(
        names=tuple(members),
        probabilities=np.array([[each.probabilities[name] for name in classes] for each in found]),
        truths=np.array([int(truths[indices[0]]) for indices in members.values()]),
        fields=np.array([len(indices) for indices in members.values()]),
    )
