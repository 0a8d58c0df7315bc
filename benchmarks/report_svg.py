"""Plots as SVG for a page: no script, nothing from elsewhere, colours from the page's style sheet.

Classes that the style sheet is to know: `axis`, `grid`, `label`, `title` for the frame; `s0` to `s7` for series (they
set `color`, which marks and lines take); `front` for the Pareto front; `best` for what is recommended.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 62, 44, 16, 48
SERIES_COLOURS = 8
LARGEST_LINEAR_RATIO = 8


@dataclass(frozen=True)
class Point:
    """A numbered mark. low, high: of its y, an interval. hint: what a pointer over it is told."""

    number: int
    x: float
    y: float
    hint: str
    low: float | None = None
    high: float | None = None
    best: bool = False


@dataclass(frozen=True)
class Line:
    """A numbered line through points, and those of them that are marked, by their index."""

    number: int
    xs: Sequence[float]
    ys: Sequence[float]
    hint: str
    marked: frozenset[int] = frozenset()
    dashed: bool = False


@dataclass(frozen=True)
class Scale:
    """From a value to a pixel; ticks: where the axis is labelled."""

    low: float
    high: float
    first_pixel: float
    last_pixel: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(self.first_pixel + share * (self.last_pixel - self.first_pixel), 1)

    @property
    def ticks(self) -> list[float]:
        """Return round values within the scale: four to nine, or on a logarithmic one 1, 2 and 5 of each decade."""
        if self.logarithmic:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)))
            values = [factor * 10.0**decade for decade in decades for factor in (1, 2, 5)]
            return [value for value in values if self.low <= value <= self.high]
        span = self.high - self.low
        step = 10 ** math.floor(math.log10(span / 4))
        step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 8)
        first = math.ceil(self.low / step - 1e-9)
        return [round(n * step, 12) for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def scatter(points: Sequence[Point], front: Sequence[tuple[float, float]], x_title: str, y_title: str) -> str:
    """Return numbered points, and the front as steps from its cheapest point on (to the right: no better is known)."""
    xs, ys = [each.x for each in points], [value for each in points for value in (each.y, each.low, each.high)]
    across, up = _cheap_to_dear(xs), _up([value for value in ys if value is not None])
    parts = [_frame(across, up, x_title, y_title)]
    if front:
        path = f"M{across(front[0][0])} {up.first_pixel}V{up(front[0][1])}"
        path += "".join(f"H{across(x)}V{up(y)}" for x, y in front[1:]) + f"H{across.last_pixel}"
        parts.append(f'<path class="front" d="{path}"/>')
    for each in points:
        x, y = across(each.x), up(each.y)
        bar = (
            f'<path class="interval" d="M{x} {up(each.low)}V{up(each.high)}"/>'
            if each.low is not None and each.high is not None
            else ""
        )
        ring = f'<circle class="best" cx="{x}" cy="{y}" r="13"/>' if each.best else ""
        parts.append(
            f'<g class="{_colour(each.number)}"><title>{escape(each.hint)}</title>{bar}{ring}'
            f'<circle class="mark" cx="{x}" cy="{y}" r="9"/>'
            f'<text class="number" x="{x}" y="{y}" dy="0.35em">{each.number}</text></g>'
        )
    return _svg(parts, f"{y_title} against {x_title}")


def curves(lines: Sequence[Line], x_title: str, y_title: str, *, from_zero: bool = True) -> str:
    """Return numbered lines; the numbers stand at their right ends."""
    ys = [y for line in lines for y in line.ys]
    across = _along([x for line in lines for x in line.xs])
    up = _up([0.0, *ys] if from_zero else ys)
    parts = [_frame(across, up, x_title, y_title)]
    places = _apart([(up(line.ys[-1]), line.number) for line in lines if not line.dashed])
    for line in lines:
        spots = [(across(x), up(y)) for x, y in zip(line.xs, line.ys, strict=True)]
        path = "M" + "L".join(f"{x} {y}" for x, y in spots)
        marks = "".join(
            f'<circle class="marked" cx="{x}" cy="{y}" r="4"/>' for n, (x, y) in enumerate(spots) if n in line.marked
        )
        end = (
            f'<text class="end" x="{spots[-1][0] + 6}" y="{places[line.number]}" dy="0.35em">{line.number}</text>'
            if not line.dashed
            else ""
        )
        parts.append(
            f'<g class="{_colour(line.number)}"><title>{escape(line.hint)}</title>'
            f'<path class="line{" dashed" if line.dashed else ""}" d="{path}"/>{marks}{end}</g>'
        )
    return _svg(parts, f"{y_title} against {x_title}")


def _cheap_to_dear(costs: Sequence[float]) -> Scale:
    """Return a scale for costs, logarithmic where they differ by more than a linear one can show."""
    low, high = min(costs), max(costs)
    if 0 < low * LARGEST_LINEAR_RATIO < high:
        return Scale(low / 1.25, high * 1.25, LEFT, WIDTH - RIGHT, logarithmic=True)
    return Scale(0.0, 1.08 * high or 1.0, LEFT, WIDTH - RIGHT)


def _along(values: Sequence[float]) -> Scale:
    low, high = min(values), max(values)
    return Scale(low, high if high > low else low + 1, LEFT, WIDTH - RIGHT)


def _up(values: Sequence[float]) -> Scale:
    low, high = min(values), max(values)
    reach = (high - low) or abs(high) or 1.0
    bottom = low if low == 0 else low - 0.08 * reach
    return Scale(bottom, high + 0.08 * reach, HEIGHT - BOTTOM, TOP)


def _frame(across: Scale, up: Scale, x_title: str, y_title: str) -> str:
    """Return grid, ticks and titles."""
    parts = []
    for tick in across.ticks:
        x = across(tick)
        parts.append(f'<path class="grid" d="M{x} {TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text class="label" x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick:g}</text>')
    for tick in up.ticks:
        y = up(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="label" x="{LEFT - 8}" y="{y}" dy="0.35em" text-anchor="end">{tick:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
    parts.append(f'<text class="title" x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x_title)}</text>')
    turned = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text class="title" transform="translate(16 {turned}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_title)}</text>"
    )
    return "".join(parts)


def _apart(places: Sequence[tuple[float, int]]) -> dict[int, float]:
    """Return where labels at the given heights go so that none covers another, by number; from the lowest one up."""
    result, last = {}, float("inf")
    for y, number in sorted(places, reverse=True):
        last = min(y, last - 13)
        result[number] = last
    return result


def _colour(number: int) -> str:
    return f"s{(number - 1) % SERIES_COLOURS}"


def _svg(parts: Sequence[str], description: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(description)}">'
        + "".join(parts)
        + "</svg>"
    )
