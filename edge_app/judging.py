"""From logits and figures to a verdict, or to the reason why there is none; from a frame's fields to its verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from edge_app.frozen import Frozen
from edge_app.quality import Level, Quality, Share

Reason = Literal[
    "no_stained_cell",
    "too_dark",
    "clipped",
    "out_of_focus",
    "noisy",
    "stain_out_of_range",
    "scale_unknown",
    "scale_out_of_range",
    "low_confidence",
]

REASONS: dict[Reason, str] = {
    "no_stained_cell": "no stained cell in the field: move to one with cells, or check the stain",
    "too_dark": "too dark: raise the lamp or the exposure",
    "clipped": "burnt out: lower the lamp or the exposure",
    "out_of_focus": "out of focus: focus again",
    "noisy": "too noisy: give the camera more light and less gain",
    "stain_out_of_range": "colours unlike those of the training images: check white balance and stain",
    "scale_unknown": "red cells can't be measured: move to where more lie, or give the scale (--um-per-pixel)",
    "scale_out_of_range": "red cells too large or too small for the model: use another magnification",
    "low_confidence": "the model is not sure: look at another field",
}
# More than this share of the fields that got a label must be positive for the frame to be: 0 for one of them. On the
# validation frames of ALL-IDB1 this and one half were both always right; half would miss two of 29 ALL frames that were
# trained on, whose blasts lie in one corner.
POSITIVE_SHARE = 0.0


class Range(Frozen):
    """An inclusive range."""

    low: Level
    high: Level

    @model_validator(mode="after")
    def _is_ordered(self) -> "Range":
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


class Limits(Frozen):
    """Outside these a frame gets no label; they are set from training images (see `edge_app.quality.Quality`)."""

    min_mask_fraction: Share
    min_focus: Annotated[float, Field(ge=0)]
    max_noise: Annotated[float, Field(ge=0)]
    min_brightness: Level
    max_clipped: Share
    tint_a: Range
    tint_b: Range
    stain_hue: Range
    stain_saturation: Range
    min_confidence: Share


class Decision(Frozen):
    """How logits become a label.

    temperature: the logits are divided by it before softmax (Guo et al., ICML 2017).
    positive, threshold: the class that is named as soon as its probability reaches the threshold; without a positive
    class the most probable one is named.
    """

    temperature: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    positive: str | None = None
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5


@dataclass(frozen=True)
class Judgement:
    """What was decided: a label, or None and the reason; the probabilities stand in either case."""

    label: str | None
    probabilities: dict[str, float]
    indeterminate: Reason | None


@dataclass(frozen=True)
class FrameJudgement:
    """What was decided on a frame of fields.

    positive_share: of the fields that got a label, how many are positive. worst: index of the one where the positive
    class is most probable. Both are None without a positive class, or where no field got a label.
    """

    judgement: Judgement
    positive_share: float | None
    worst: int | None


def softmax(logits: npt.NDArray[np.float32], temperature: float) -> npt.NDArray[np.float64]:
    """Return probabilities over the last axis, in float64, of logits [..., K]."""
    scaled = logits.astype(np.float64) / temperature
    exponents = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))


def judge(
    logits: npt.NDArray[np.float32],
    quality: Quality,
    classes: tuple[str, ...],
    decision: Decision,
    limits: Limits,
    fault: Reason | None = None,
) -> Judgement:
    """Return the judgement of one field: logits [K] in the order of `classes`, and the field's figures.

    fault: why it can't be judged, found by other means; what `refusal` finds comes before it, but for a scale that is
    known to be out of range.
    """
    probabilities = dict(zip(classes, softmax(logits, decision.temperature).tolist(), strict=True))
    label = named(probabilities, decision)
    reason = fault if fault == "scale_out_of_range" else refusal(quality, limits) or fault
    # How sure the label is, on a scale where the threshold, wherever it lies, is as unsure as can be.
    if reason is None and confidence(probabilities, decision) < limits.min_confidence:
        reason = "low_confidence"
    return Judgement(None if reason else label, probabilities, reason)


def judge_frame(fields: Sequence[Judgement], decision: Decision) -> FrameJudgement:
    """Return the judgement of a frame from those of its fields, one or more.

    Indeterminate fields do not count. If all are, so is the frame, for the reason of the field that came nearest to an
    answer: the last one in the order of `REASONS`. With a positive class, the frame is positive if more than
    `POSITIVE_SHARE` of its fields are; its probabilities are those of the field that decides this. Without one, the
    mean of the probabilities names the class.
    """
    positive = decision.positive
    counted = [index for index, field in enumerate(fields) if field.label is not None]
    if not counted:
        order = list(REASONS)
        nearest = max(fields, key=lambda field: order.index(field.indeterminate) if field.indeterminate else 0)
        return FrameJudgement(nearest, None, None)
    if positive is None:
        mean = {
            name: sum(fields[index].probabilities[name] for index in counted) / len(counted)
            for name in fields[0].probabilities
        }
        return FrameJudgement(Judgement(named(mean, decision), mean, None), None, None)
    ordered = sorted(counted, key=lambda index: -fields[index].probabilities[positive])
    deciding = fields[ordered[math.floor(POSITIVE_SHARE * len(ordered))]]
    share = sum(fields[index].label == positive for index in counted) / len(counted)
    return FrameJudgement(deciding, share, ordered[0])


def named(probabilities: dict[str, float], decision: Decision) -> str:
    """Return the class that the decision names."""
    if decision.positive is not None and probabilities[decision.positive] >= decision.threshold:
        return decision.positive
    others = {name: p for name, p in probabilities.items() if name != decision.positive}
    return max(others, key=others.__getitem__)


def confidence(probabilities: dict[str, float], decision: Decision) -> float:
    """Return how sure the named class is, 0 to 1.

    Without a positive class it is the largest probability. With one, the way from the threshold to certainty is mapped
    to 0.5 … 1 on either side, so that a limit means the same for both classes.
    """
    if decision.positive is None:
        return max(probabilities.values())
    p, t = probabilities[decision.positive], decision.threshold
    return 0.5 + 0.5 * ((p - t) / (1 - t) if p >= t else (t - p) / t)


def refusal(quality: Quality, limits: Limits) -> Reason | None:
    """Return why a frame can't be judged whatever the model says, or None. The most basic fault comes first."""
    if quality.brightness < limits.min_brightness:
        return "too_dark"
    if quality.clipped > limits.max_clipped:
        return "clipped"
    if (
        quality.mask_fraction < limits.min_mask_fraction
        or quality.stain_hue is None
        or quality.stain_saturation is None
    ):
        return "no_stained_cell"
    if quality.focus < limits.min_focus:
        return "out_of_focus"
    if quality.noise > limits.max_noise:
        return "noisy"
    in_range = (
        quality.tint_a in limits.tint_a
        and quality.tint_b in limits.tint_b
        and quality.stain_hue in limits.stain_hue
        and quality.stain_saturation in limits.stain_saturation
    )
    return None if in_range else "stain_out_of_range"
