"""How a training report and docs/results.md say things: names, figures, times, and how far a run came."""

from collections.abc import Iterator, Mapping

from benchmarks.results import Perturbation
from edge_app.manifest import Figure
from train.published import PUBLISHED, Published
from train.run_metrics import RunMetrics
from train.weights import KERAS_SUFFIXES

TITLES = {
    "accuracy": "accuracy",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall (sensitivity)",
    "specificity": "specificity",
    "auc": "AUC",
    "ece": "calibration error (ECE)",
}
ROBUSTNESS_TEXT = (
    "These images are the data set's unsegmented ones, at most twice as wide and high as its prepared ones. Larger "
    "photos are segmented after shrinking here and before it on a device: the row of nothing shows what that alone "
    "changes."
)
FRAMES_TEXT = (
    "Frames that hold several fields are cut into fields of the training scale, and get a verdict from them: positive "
    "where one field is. The figures count every field; answered are the frames of which a device's limits leave a "
    "field. In the other tables, each field is an image."
)


def run_title(metrics: RunMetrics) -> str:
    """Return what a person calls a run: its model, task and split."""
    return f"{model_title(metrics.run.model)}, {metrics.run.task}, {metrics.run.split} split"


def model_title(model: str) -> str:
    """Return a model's name as the study writes it."""
    return PUBLISHED[model].name if model in PUBLISHED else model


def percent(figure: Figure | None) -> str:
    """Return a share in per cent with its interval; a dash where it is not known."""
    if figure is None:
        return "–"
    interval = "" if figure.low is None or figure.high is None else f" ({100 * figure.low:.1f}–{100 * figure.high:.1f})"
    return f"{100 * figure.value:.1f}{interval}"


def published_cells(study: Published, name: str) -> tuple[str, str]:
    """Return a figure of the study in per cent: as printed, and by its outputs."""
    printed = f"{100 * study.printed[name]:.1f}" if name in study.printed else "–"
    counted = f"{100 * study.counted[name]:.1f}" if name in study.counted else ""
    if name != "accuracy":
        return printed, counted or "–"
    evaluated = f"{100 * study.evaluated:.1f}"
    return printed, f"{evaluated} (evaluate), {counted} (matrix)" if counted else evaluated


def short_run(metrics: RunMetrics) -> str:
    """Return how far a run fell short of its recipe's epochs, or nothing; for a scratch recipe that was given weights,
    also which, as these have epochs behind them.
    """
    run, epochs = metrics.run, metrics.recipe_epochs
    given = not run.recipe["pretrained"] and run.started_from.endswith((".pt", *KERAS_SUFFIXES))
    before = f" after {run.earlier.epochs if run.earlier else 'those'} of {run.start}" if given else ""
    return "" if run.epochs_run >= epochs else f"short run: {run.epochs_run} of {epochs} epochs{before}"


def robustness_name(perturbation: Perturbation | None) -> str:
    """Return what was done to the images."""
    return f"{perturbation.kind} {perturbation.strength}" if perturbation else "nothing"


def size(metrics: RunMetrics) -> str:
    """Return the size of a model's input in pixels."""
    height, width = metrics.input_size
    return f"{width} × {height}"


def duration(seconds: float) -> str:
    """Return a time as a person says it: 1 h 05 min, or 4 min 10 s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min {rest:02} s"


def versions(metrics: RunMetrics) -> dict[str, str]:
    """Return what a run was made with, by name."""
    return {"Leukoscope": metrics.run.leukoscope, "Python": metrics.run.python} | metrics.run.libraries


def flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Return name and value of each field of a recipe, those of a record in it too."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", " to ".join(map(str, value)) if isinstance(value, list) else str(value)
