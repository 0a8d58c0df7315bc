"""Measures a finished run on validation and test, fits what the device needs, and reports it."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.dataset import Part, load_part, read_dataset
from benchmarks.fitting import fit_decision, fit_limits, fit_min_confidence
from benchmarks.run_folder import Epoch, Evaluation, RunRecord, read_history, read_run
from benchmarks.source_model import BATCH, Logits, source_logits
from edge_app import __version__
from edge_app.disk import check_folder, replace_file
from edge_app.errors import TrainingError
from edge_app.judging import softmax
from edge_app.manifest import Measured
from edge_app.preprocessing import Image
from train.measuring import measure_part
from train.recipe import load_recipe, recipe_names
from train.report import REPORT, report_page
from train.robustness import PERTURBATIONS, measure_robustness, sample
from train.run_metrics import METRICS, RunMetrics, read_metrics

POSITIVE = {"normal-cancer": "Cancer", "stages": None}
MEASURED: tuple[Part, ...] = ("val", "test")


def evaluate(
    run: Path,
    dataset: Path | None = None,
    *,
    sibling: Path | None = None,
    robustness_images: int = 100,
    robustness_seed: int = 0,
    on_images: Callable[[int, int], None] = lambda *_: None,
) -> Evaluation:
    """Fit decision and limits on train and validation, measure validation and test, and return what was found.

    Writes RUN/evaluation.json, RUN/metrics.json and RUN/report.html. dataset: where the run's data set lies now, if it
    was moved. sibling: a run by the same recipe on the other split, to stand beside this one in the report.
    robustness_images: of each class of the test part, drawn by the seed, to be made worse in every way; 0 leaves that
    out. on_images: called with the images done and their number. Raises TrainingError or DatasetError.
    """
    record = read_run(run)
    try:
        check_folder(run)
    except OSError as error:
        raise TrainingError(f"{run} can't be written ({error.strerror}); copy the run to a folder of yours") from error
    folder = dataset or Path(record.dataset_path)
    manifest = read_dataset(folder)
    if manifest.list_sha256() != record.dataset_sha256:
        raise TrainingError(f"{folder} has other images than {run} was trained on; name its data set with --data")
    beside = _read_sibling(sibling, record) if sibling else None
    logits = source_logits(run)
    files = {part: manifest.select(part) for part in MEASURED}
    drawn = sample(manifest, robustness_images, robustness_seed)
    total, done = sum(map(len, files.values())) + len(drawn) * len(PERTURBATIONS), 0

    def batched(images: Image) -> Logits:
        nonlocal done
        results = []
        for start in range(0, len(images), BATCH):
            results.append(logits(images[start : start + BATCH]))
            done += len(results[-1])
            on_images(done, total)
        return np.concatenate(results)

    truths, scores = {}, {}
    for part in MEASURED:
        images, truths[part] = load_part(folder, manifest, part)
        scores[part] = batched(images)
    decision = fit_decision(scores["val"], truths["val"], POSITIVE[manifest.task])
    min_confidence = fit_min_confidence(
        softmax(scores["val"], decision.temperature), truths["val"], record.classes, decision
    )
    limits = fit_limits((file.quality for file in manifest.select("train")), min_confidence)
    metrics = RunMetrics(
        leukoscope=__version__,
        made_at=datetime.now(UTC),
        run=record.replace(dataset_path=Path(record.dataset_path).name),
        recipe_epochs=_recipe_epochs(record),
        input_size=(manifest.preprocessing.height, manifest.preprocessing.width),
        fields=manifest.fields,
        decision=decision,
        limits=limits,
        parts={part: measure_part(scores[part], files[part], record.classes, decision, limits) for part in MEASURED},
        history=_history(run),
        robustness=measure_robustness(folder, manifest, drawn, batched, decision, limits, seed=robustness_seed)
        if drawn
        else None,
    )
    evaluation = Evaluation(
        decision=decision,
        limits=limits,
        measured=tuple(
            Measured(model="source", split=manifest.split, part=part, images=len(files[part]), figures=each.figures)
            for part, each in metrics.parts.items()
        ),
        confusion={part: each.confusion for part, each in metrics.parts.items()},
    )
    texts = {
        REPORT: report_page(folder, manifest, metrics, beside),
        METRICS: metrics.model_dump_json(indent=1) + "\n",
        "evaluation.json": evaluation.model_dump_json(indent=1),
    }
    try:
        for name, text in texts.items():
            replace_file(run / name, text.encode())
    except OSError as error:
        raise TrainingError(f"{run} can't be written ({error.strerror}); make room there and evaluate again") from error
    return evaluation


def _recipe_epochs(record: RunRecord) -> int:
    """Return the epochs of the shipped recipe of the run's model and source, or of the run's own if these are more."""
    shipped = (load_recipe(name) for name in recipe_names())
    own = record.recipe
    same = [each.epochs for each in shipped if (each.model, each.source) == (own["model"], own["source"])]
    return max([*same, int(own["epochs"])])


def _history(run: Path) -> tuple[Epoch, ...]:
    """Return the lines of history.csv; none where it can't be read, which the report says."""
    try:
        return tuple(read_history(run))
    except TrainingError:
        return ()


def _read_sibling(folder: Path, record: RunRecord) -> RunMetrics:
    metrics = read_metrics(folder / METRICS)
    other = metrics.run
    if (other.model, other.task, other.recipe) != (record.model, record.task, record.recipe):
        raise TrainingError(f"{folder} was not trained by the same recipe; name a run that differs in its split only")
    if other.split == record.split:
        raise TrainingError(f"{folder} was trained on the {other.split} split too; name a run on the other one")
    return metrics
