"""The plots of a training report: matplotlib's SVG, in the colours of the page's style sheet.

Colours are written as the sheet's variables, so that a plot turns dark with the page and prints light; the same metrics
give the same bytes.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from benchmarks.dataset import Part
from benchmarks.run_folder import Epoch
from train.run_metrics import Bin, Counts, Curve, Risk, Robustness, Worse

# what matplotlib is told to draw with → what the page's style sheet calls it; the values are never seen
TEXT, FAINT, RULE, GROUND, ACCENT = "#010101", "#020202", "#030303", "#040404", "#050505"
SERIES = tuple(f"#0600{number:02}" for number in range(8))
VARIABLES = {TEXT: "text", FAINT: "faint", RULE: "rule", GROUND: "ground", ACCENT: "accent"} | {
    colour: f"s{number}" for number, colour in enumerate(SERIES)
}
NAMES = {"train": "training", "val": "validation", "test": "test"}
LOOKS: dict[str, dict[str, Any]] = {"test": {}, "val": {"linestyle": ":", "alpha": 0.8}}
DARK = 0.55  # share of the accent's colour above which a number on it is to be light
WIDTH, HEIGHT = 640, 360
PIXELS_PER_INCH = 72  # of matplotlib's SVG
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "leukoscope",
    "font.size": 12,
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "legend.frameon": False,
    "lines.linewidth": 2,
}


def history_plots(history: Sequence[Epoch], best_epoch: int) -> tuple[str, str]:
    """Return accuracy and loss by epoch; the epoch whose weights were kept is marked."""

    def paint(axes: Any, name: str) -> None:
        for part, colour in (("train", SERIES[1]), ("val", ACCENT)):
            known = [(each.epoch, getattr(each, f"{part}_{name}")) for each in history]
            points = [(epoch, value) for epoch, value in known if value is not None]
            if points:
                mark = "o" if len(points) == 1 else None
                axes.plot(*zip(*points, strict=True), color=colour, marker=mark, label=NAMES[part])
        axes.axvline(best_epoch, color=FAINT, linestyle="--", linewidth=1, label="kept")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.legend()

    return (
        _draw("accuracy by epoch", lambda axes: paint(axes, "accuracy")),
        _draw("loss by epoch", lambda axes: paint(axes, "loss")),
    )


def confusion_plot(counts: Counts, classes: Sequence[str]) -> str:
    """Return a confusion matrix, rows the truth: counts, and below them shares of the row, which the colour shows."""
    rows = [sum(row) for row in counts]

    def paint(axes: Any) -> None:
        from matplotlib.patches import Rectangle

        for y, (row, images) in enumerate(zip(counts, rows, strict=True)):
            for x, count in enumerate(row):
                share = count / images if images else 0.0
                axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=ACCENT, alpha=share, linewidth=0))
                look = {"ha": "center", "color": GROUND if share > DARK else TEXT}
                axes.text(x, y, str(count), va="bottom", fontsize=17, **look)
                axes.text(x, y + 0.02, f"{share:.1%}" if images else "–", va="top", **look)
        ticks = range(len(classes))
        axes.set(xlim=(-0.5, len(classes) - 0.5), ylim=(len(classes) - 0.5, -0.5), xlabel="called", ylabel="truth")
        axes.set_xticks(ticks, classes)
        axes.set_yticks(ticks, [f"{name}: {images}" for name, images in zip(classes, rows, strict=True)])
        axes.grid(visible=False)
        axes.tick_params(length=0)

    return _draw("confusion matrix, counts and shares of each row", paint)


def roc_plot(curves: Mapping[Part, dict[str, Curve]]) -> str:
    """Return receiver operating characteristics by part and class."""

    def paint(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
        for part, by_class in curves.items():
            for number, (name, curve) in enumerate(by_class.items()):
                colour = ACCENT if len(by_class) == 1 else SERIES[number]
                axes.plot(
                    curve.false_positive_rate,
                    curve.true_positive_rate,
                    color=colour,
                    label=f"{name}, {NAMES[part]}",
                    **LOOKS[part],
                )
        axes.set(xlabel="1 − specificity", ylabel="sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.legend(loc="lower right")

    return _draw("receiver operating characteristic", paint)


def reliability_plot(bins: Sequence[Bin]) -> str:
    """Return how often the model was right against how sure it was, with intervals and the images of each bin."""

    def paint(axes: Any) -> None:
        lowest = min(each.low for each in bins)
        axes.plot([lowest, 1], [lowest, 1], color=FAINT, linewidth=1, linestyle="--")
        for each in bins:
            spot = (each.confidence, each.accuracy.value)
            axes.plot([each.confidence] * 2, [each.accuracy.low, each.accuracy.high], color=ACCENT, alpha=0.4)
            axes.plot(*spot, color=ACCENT, marker="o")
            axes.annotate(str(each.images), spot, (7, -4), textcoords="offset points", color=FAINT)
        axes.set(xlabel="probability of the likelier class", ylabel="share that was right", ylim=(-0.02, 1.02))

    return _draw("reliability", paint)


def risk_plot(risks: Mapping[Part, Sequence[Risk]], limit: Mapping[Part, tuple[float, float]]) -> str:
    """Return the share of wrong answers against the share answered, by part; limit: where the fitted one lies."""

    def paint(axes: Any) -> None:
        for part, points in risks.items():
            axes.plot(
                [100 * each.coverage for each in points],
                [100 * each.risk for each in points],
                color=ACCENT,
                label=NAMES[part],
                **LOOKS[part],
            )
        for part, (coverage, risk) in limit.items():
            axes.plot(
                100 * coverage, 100 * risk, color=ACCENT, marker="o", markersize=9, **LOOKS[part] | {"linestyle": ""}
            )
        axes.set(xlabel="answered (%)", ylabel="of these wrong (%)")
        axes.legend()

    return _draw("coverage against risk", paint)


def robustness_plot(robustness: Robustness, title: str, share: Callable[[Worse], float]) -> str:
    """Return a share by strength, a line for each way in which the images were made worse; title: of the share."""
    unchanged = next(share(row) for row in robustness.rows if row.perturbation is None)
    lines: dict[str, list[float]] = {}
    for row in robustness.rows:
        if row.perturbation:
            lines.setdefault(row.perturbation.kind, [unchanged]).append(share(row))

    def paint(axes: Any) -> None:
        for number, (kind, values) in enumerate(lines.items()):
            axes.plot(
                range(len(values)), [100 * value for value in values], color=SERIES[number], marker="o", label=kind
            )
        axes.set(xlabel="strength", ylabel=f"{title} (%)")
        axes.set_xticks(range(4), ["as it is", "1", "2", "3"])
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))

    return _draw(f"{title} by strength", paint)


def _draw(name: str, paint: Callable[[Any], None]) -> str:
    """Return the SVG of what `paint` draws on matplotlib's axes; name: what a person who can't see it is told."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH / PIXELS_PER_INCH, HEIGHT / PIXELS_PER_INCH), layout="constrained")
        paint(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    return _for_page(file.getvalue(), name)


def _for_page(svg: str, name: str) -> str:
    """Return matplotlib's SVG as a part of a page: its size, colours and type are the page's."""
    inner = svg[svg.index("<defs>") :]  # what stands before speaks of a file of its own
    inner = re.sub(r"<g id=\"[^\"]*\"", "<g", inner)  # nothing refers to them, and a page has many plots
    inner = re.sub(r"(font-family:|font: [\d.]+px) [^;\"]*", r"\1 system-ui, sans-serif", inner)
    for colour, variable in VARIABLES.items():
        inner = inner.replace(colour, f"var(--{variable})")
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(name)}">{inner}'
