"""What a report says, section by section; `benchmarks.page` writes it down as HTML and Markdown."""

from collections.abc import Sequence

from benchmarks.page import Column, Plot, Section, Table
from benchmarks.report import Candidate, Collected
from benchmarks.report_choice import AXES, COSTS, AxisName, Limits, broken, choose, pareto_front
from benchmarks.report_svg import Line, Point, curves, scatter
from benchmarks.report_tables import accuracy_table, invalid_table, latency_table, peers_table

TITLE = "Leukoscope benchmark report"
MOST_LINES = 12  # of one plot; more can't be told apart
MOST_ROWS = 12  # of the table below a recommendation; of more candidates it has those that are on a front


def sections(collected: Collected, limits: Limits) -> list[Section]:
    """Return the report's sections in the order in which they are read; those without content are left out."""
    result = _comparisons(collected, limits)
    if collected.candidates:
        result.append(_runs(collected.candidates))
    if any(each.invalid for each in collected.candidates):
        result.append(
            Section(
                "Invalid runs",
                text=("They are shown with the reason, and nothing is concluded from them: measure them again.",),
                table=invalid_table(collected.candidates),
            )
        )
    if any(each.run.sustained for each in collected.candidates):
        result.append(_sustained(collected.candidates))
    if collected.accuracies:
        result.append(
            Section(
                "Accuracy",
                text=(
                    "Judged by the code that runs on the device. Accuracy, sensitivity and specificity take the "
                    "likelier class of every image; answered is the share that the device would label. In brackets: "
                    "95 % intervals.",
                ),
                table=accuracy_table(collected.accuracies),
            )
        )
    result += [
        Section(
            f"Other ways to the same verdict, on {each.environment.device}",
            text=(
                f"One interleaved run of {each.rounds} rounds, a fresh process for each way in each, on {each.frames} "
                f"frames{f' of {each.size} pixels' if each.size else ''} with the same weights. × is relative to the "
                "first row, the median of the rounds' own ratios. The bare runtime call begins with an input that was "
                f"prepared already. Load of the device before: {each.load:.1f} on {each.environment.cores} cores.",
            ),
            table=peers_table(each),
        )
        for each in collected.peers
    ]
    result.append(_devices(collected))
    return result


def _comparisons(collected: Collected, limits: Limits) -> list[Section]:
    """Return a section for each set of candidates that may be compared: the recommendation and the Pareto fronts."""
    groups = collected.comparisons()
    if not groups:
        return [Section("Recommendation", advice=choose((), limits).reasons)]
    result = []
    for (size, basis), candidates in groups.items():
        choice = choose(candidates, limits)
        shown = _worth_a_look(candidates, choice.best)
        left_out = len(candidates) - len(shown)
        plots = [
            Plot(_front_plot(candidates, cost, choice.best), _front_caption(candidates, cost))
            for cost in COSTS
            if any(AXES[cost].of(each) is not None and AXES["accuracy"].of(each) is not None for each in candidates)
        ]
        result.append(
            Section(
                "Recommendation" if len(groups) == 1 else f"Recommendation for frames of {size}, by {basis}",
                advice=choice.reasons,
                text=(
                    f"Compared are frames of {size} pixels, and accuracy on the same images: {basis}."
                    + (
                        f" {left_out} others, which are on no front, are among all valid runs below."
                        if left_out
                        else ""
                    ),
                ),
                plots=tuple(plots),
                table=_key(shown, pareto_front(candidates, "latency"), limits),
            )
        )
    return result


def _front_plot(candidates: Sequence[Candidate], cost: AxisName, best: Candidate | None) -> str:
    axis, gain = AXES[cost], AXES["accuracy"]
    points = []
    for each in candidates:
        x, y = axis.of(each), gain.of(each)
        if x is not None and y is not None:
            figure = each.figures["accuracy"]
            low, high = (None if bound is None else 100 * bound for bound in (figure.low, figure.high))
            hint = f"{each.number}: {each.name}; {axis.show(x)}, {gain.show(y)}"
            points.append(Point(each.number, x, 100 * y, hint, low, high, best=each is best))
    front = [(axis.of(each) or 0.0, 100 * (gain.of(each) or 0.0)) for each in pareto_front(candidates, cost)]
    return scatter(points, front, f"{axis.title} ({axis.unit})", "accuracy (%)")


def _front_caption(candidates: Sequence[Candidate], cost: AxisName) -> str:
    numbers = ", ".join(str(each.number) for each in pareto_front(candidates, cost))
    return f"Accuracy against {AXES[cost].title}. On the Pareto front, where none is better at no more: {numbers}."


def _worth_a_look(candidates: Sequence[Candidate], best: Candidate | None) -> list[Candidate]:
    """Return the candidates, fastest first; of many, those on the front of a cost and what is recommended."""
    on_a_front = {each.number for cost in COSTS for each in pareto_front(candidates, cost)}
    many = len(candidates) > MOST_ROWS
    return sorted((each for each in candidates if not many or each is best or each.number in on_a_front), key=_p90)


def _key(candidates: Sequence[Candidate], front: Sequence[Candidate], limits: Limits) -> Table:
    """Return what the numbers in the plots mean, and which of them meet the limits."""
    forms: tuple[tuple[AxisName, str], ...] = (("latency", ".1f"), ("memory", ".0f"), ("accuracy", ".1%"))
    columns = ("#", "configuration", "p90 ms", "memory MB", "accuracy", "on the front of latency", "limits")
    rows = (
        (
            str(each.number),
            each.name,
            *("" if (value := AXES[axis].of(each)) is None else f"{value:{form}}" for axis, form in forms),
            "yes" if each in front else "",
            "; ".join(broken(each, limits)) or ("met" if limits else "none"),
        )
        for each in candidates
    )
    return Table(tuple(Column(title, title not in ("configuration", "limits")) for title in columns), tuple(rows))


def _runs(candidates: Sequence[Candidate]) -> Section:
    valid = [each for each in candidates if each.total and not each.invalid]
    plots = []
    for size in dict.fromkeys(str(each.size) for each in valid):
        alike = [each for each in valid if str(each.size) == size]
        shown = alike if len(alike) <= MOST_LINES else sorted(alike, key=_p90)[:MOST_LINES]
        lines = [Line(each.number, range(101), each.total.curve_ms, each.name) for each in shown if each.total]
        left_out = f" The {len(alike) - len(shown)} slowest are left out." if len(alike) > len(shown) else ""
        plots.append(
            Plot(
                curves(lines, "percentile of all queries", "frame → verdict (ms)"),
                f"Frames of {size} pixels: so many per cent of all queries took no longer; none is dropped.{left_out}",
            )
        )
    return Section(
        "All valid runs",
        text=(
            "Single stream, from a frame in memory to its verdict. Figures are the median of the repeats; spread is "
            "the range of their p90 over its median. The fastest come first.",
        ),
        plots=tuple(plots),
        table=latency_table(sorted(candidates, key=_p90)),
    )


def _p90(candidate: Candidate) -> float:
    return AXES["latency"].of(candidate) or 0.0


def _sustained(candidates: Sequence[Candidate]) -> Section:
    """Return how runs fare that never rest: times and temperature by the minute, slowed minutes marked."""
    once = {(id(each.run)): each for each in reversed(candidates) if each.run.sustained}
    times, degrees, rows = [], [], []
    for each in sorted(once.values(), key=lambda candidate: candidate.number):
        sustained = each.run.sustained
        assert sustained is not None  # noqa: S101 - chosen above
        minutes = sustained.minutes
        ends = [sum(minute.seconds for minute in minutes[: n + 1]) / 60 for n in range(len(minutes))]
        slowed = frozenset(n for n, minute in enumerate(minutes) if minute.conditions.throttled)
        if minutes:
            p90 = [minute.times.p90_ms for minute in minutes]
            times.append(Line(each.number, ends, p90, f"{each.name}, p90", slowed))
            p50 = [minute.times.p50_ms for minute in minutes]
            times.append(Line(each.number, ends, p50, f"{each.name}, p50", dashed=True))
        warm = [
            (end, minute.conditions.temperature_c, n) for n, (end, minute) in enumerate(zip(ends, minutes, strict=True))
        ]
        known = [(end, value, n) for end, value, n in warm if value is not None]
        if known:
            marked = frozenset(index for index, (_, _, n) in enumerate(known) if n in slowed)
            degrees.append(Line(each.number, [k[0] for k in known], [k[1] for k in known], each.name, marked))
        hottest = f"{max(value for _, value, _ in known):.0f}" if known else ""
        p90_ms = [minute.times.p90_ms for minute in minutes]
        rows.append(
            (
                str(each.number),
                f"{each.name} (INVALID)" if each.invalid else each.name,
                f"{sum(minute.seconds for minute in minutes) / 60:.0f} of {sustained.minutes_asked:.0f}"
                + ("" if sustained.complete else ", CUT SHORT"),
                *(
                    (f"{p90_ms[0]:.1f}", f"{p90_ms[-1]:.1f}", f"{p90_ms[-1] / p90_ms[0] - 1:+.0%}")
                    if minutes
                    else [""] * 3
                ),
                hottest,
                str(len(slowed)),
            )
        )
    plots = []
    if times:
        plots.append(Plot(curves(times, "minutes", "frame → verdict (ms)"), "p90 (and p50, dashed) of each minute."))
    if degrees:
        plots.append(Plot(curves(degrees, "minutes", "temperature (°C)", from_zero=False), "At each minute's end."))
    columns = (
        "#",
        "configuration",
        "minutes",
        "p90 ms, first minute",
        "last minute",
        "change",
        "hottest °C",
        "slowed minutes",
    )
    return Section(
        "Without rest",
        text=(
            "One frame after the other, minute by minute. Minutes in which the board was slowed down are marked. What "
            "was cut short may not have become as hot, and as slow, as it would have.",
        ),
        plots=tuple(plots),
        table=Table(tuple(Column(title, title != "configuration") for title in columns), tuple(rows)),
    )


def _devices(collected: Collected) -> Section:
    """Return where everything ran."""
    columns = ("device", "processor", "cores", "memory", "system", "kernel", "governor", "Leukoscope", "libraries")
    environments = [
        *(each.environment for each in collected.candidates),
        *(each.environment for each in collected.accuracies),
        *(each.environment for each in collected.peers),
    ]
    rows = dict.fromkeys(
        (
            f"{each.device} (emulated)" if each.emulated else each.device,
            f"{each.processor}, {each.machine}",
            str(each.cores),
            f"{each.memory_bytes / 2**30:.1f} GiB" if each.memory_bytes else "",
            each.system,
            each.kernel,
            each.governor or "",
            each.leukoscope,
            ", ".join(f"{name} {version}" for name, version in each.libraries.items()),
        )
        for each in environments
    )
    return Section("Devices", table=Table(tuple(Column(title, title == "cores") for title in columns), tuple(rows)))
