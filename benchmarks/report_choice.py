"""Which configuration to take: the Pareto front, limits, and a recommendation in plain words."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.report import Candidate

AxisName = Literal["latency", "memory", "size", "energy", "accuracy", "recall", "specificity"]


@dataclass(frozen=True)
class Axis:
    """Something to choose by. of: its value for a candidate in `unit` (shares from 0 to 1), None where not known."""

    title: str
    unit: str
    smaller_is_better: bool
    of: Callable[[Candidate], float | None]

    def show(self, value: float) -> str:
        """Return a value with its unit, as precise as is worth reading."""
        if self.unit == "%":
            return f"{value:.1%}"
        return f"{value:.3g} {self.unit}" if value < 100 else f"{value:.0f} {self.unit}"


def _figure(name: str) -> Callable[[Candidate], float | None]:
    return lambda candidate: candidate.figures[name].value if name in candidate.figures else None


AXES: dict[AxisName, Axis] = {
    "latency": Axis("frame → verdict, p90", "ms", True, lambda each: each.total.median.p90_ms if each.total else None),
    "memory": Axis("peak memory", "MB", True, lambda each: each.memory_mb),
    "size": Axis("size of the bundle", "MB", True, lambda each: each.bundle.bundle_bytes / 1e6),
    "energy": Axis("energy a frame", "J", True, lambda each: each.energy_j),
    "accuracy": Axis("accuracy", "%", False, _figure("accuracy")),
    "recall": Axis("sensitivity", "%", False, _figure("recall")),
    "specificity": Axis("specificity", "%", False, _figure("specificity")),
}
COSTS: tuple[AxisName, ...] = ("latency", "memory", "size", "energy")
Limits = Mapping[AxisName, float]  # the largest value of a cost, the smallest of a figure


@dataclass(frozen=True)
class Choice:
    """A recommendation: the configuration, or None where none meets the limits; and why, a sentence each."""

    best: Candidate | None
    reasons: tuple[str, ...]


def pareto_front(candidates: Sequence[Candidate], cost: AxisName, gain: AxisName = "accuracy") -> list[Candidate]:
    """Return the candidates that none beats, the cheapest first: none costs less at no less gain, or gains more at no
    higher cost. One whose cost or gain is not known is not on it; equal ones all are.
    """
    known = [
        (cost_value, -gain_value, each)
        for each in candidates
        if (cost_value := AXES[cost].of(each)) is not None and (gain_value := AXES[gain].of(each)) is not None
    ]
    front, best_loss, cost_of_best = [], math.inf, math.inf
    for cost_value, loss, each in sorted(known, key=lambda entry: entry[:2]):
        if loss < best_loss or (loss, cost_value) == (best_loss, cost_of_best):
            front.append(each)
            best_loss, cost_of_best = loss, cost_value
    return front


def broken(candidate: Candidate, limits: Limits) -> list[str]:
    """Return which limits a candidate does not meet, in words; what was not measured meets none."""
    faults = []
    for name, limit in limits.items():
        axis = AXES[name]
        value = axis.of(candidate)
        if value is None:
            faults.append(f"{axis.title} is not known")
        elif value > limit if axis.smaller_is_better else value < limit:
            side = "above" if axis.smaller_is_better else "below"
            faults.append(f"{axis.title} of {axis.show(value)} is {side} {axis.show(limit)}")
    return faults


def choose(candidates: Sequence[Candidate], limits: Limits) -> Choice:
    """Return which of some comparable candidates to take: of those that meet the limits the most accurate, and of
    equally accurate ones the fastest, then the one that needs the least memory.

    Candidates that are invalid, or whose accuracy or latency is not known, are never taken; those of bundles that are
    not certified only where there is no certified one.
    """
    able = [each for each in candidates if not each.invalid and not broken(each, {"accuracy": 0, "latency": math.inf})]
    if not able:
        return Choice(None, ("No run is valid and has both a latency and an accuracy: measure again.",))
    trusted = [each for each in able if each.bundle.certified] or able
    counted = f"Runs to choose from: {len(trusted)}."
    if left_out := len(able) - len(trusted):
        counted += f" Left out, as their bundles are not certified: {left_out}."
    fitting = [each for each in trusted if not broken(each, limits)]
    if not fitting:
        nearest = min(trusted, key=lambda each: (len(broken(each, limits)), -_accuracy(each)))
        return Choice(
            None,
            (
                f"{counted} None meets the limits ({in_words(limits)}).",
                f"Nearest is {nearest.name}: {'; '.join(broken(nearest, limits))}.",
                "Ease a limit, or measure another bundle, number of threads or device.",
            ),
        )
    best = min(fitting, key=lambda each: (-_accuracy(each), _latency(each), each.memory_mb or math.inf, each.number))
    return Choice(best, tuple(_reasons(best, fitting, counted, limits)))


def in_words(limits: Limits) -> str:
    """Return limits as a person reads them; empty where there are none."""
    return ", ".join(
        f"{AXES[name].title} {'at most' if AXES[name].smaller_is_better else 'at least'} {AXES[name].show(limit)}"
        for name, limit in limits.items()
    )


def _reasons(best: Candidate, fitting: list[Candidate], counted: str, limits: Limits) -> list[str]:
    figure, latency = best.figures["accuracy"], AXES["latency"]
    interval = (
        f" (95 % interval {figure.low:.1%} to {figure.high:.1%})"
        if figure.low is not None and figure.high is not None
        else ""
    )
    meeting = f" Meeting the limits ({in_words(limits)}): {len(fitting)}." if limits else ""
    reasons = [
        f"Take {best.name}.",
        f"{counted}{meeting} None of them is more accurate: {figure.value:.1%}{interval}.",
        f"It takes {latency.show(_latency(best))} from frame to verdict in nine cases of ten.",
    ]
    quicker = [
        each
        for each in fitting
        if _latency(each) < 0.9 * _latency(best) and _accuracy(each) >= (figure.low or figure.value)
    ]
    if quicker:
        other = min(quicker, key=_latency)
        reasons.append(
            f"{other.name} is {_latency(best) / _latency(other):.1f} times as fast, and its accuracy of "
            f"{_accuracy(other):.1%} lies within that interval: on so few images the difference may be chance."
        )
    if not best.bundle.certified:
        reasons.append("It is not certified: it differs from its source model by more than export allows.")
    return reasons


def _accuracy(candidate: Candidate) -> float:
    return AXES["accuracy"].of(candidate) or 0.0


def _latency(candidate: Candidate) -> float:
    return AXES["latency"].of(candidate) or 0.0
