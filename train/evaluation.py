"""Measures a finished run on validation and test, and fits what the device needs."""

from pathlib import Path

from benchmarks.dataset import DatasetManifest, load_part
from benchmarks.fitting import fit_decision, fit_limits, fit_min_confidence
from benchmarks.metrics import confusion, figures, predict
from benchmarks.run_folder import Evaluation, read_record, read_run
from benchmarks.source_model import source_logits
from edge_app.judging import softmax
from edge_app.manifest import Measured

POSITIVE = {"normal-cancer": "Cancer", "stages": None}


def evaluate(run: Path, dataset: Path | None = None) -> Evaluation:
    """Fit decision and limits on train and validation, measure both parts, write RUN/evaluation.json and return it.

    dataset: where the run's data set lies now, if it was moved. Raises TrainingError or DatasetError.
    """
    record = read_run(run)
    manifest = read_record(run / "dataset.json", DatasetManifest)
    folder = dataset or Path(record.dataset_path)
    logits = source_logits(run)
    truths, scores = {}, {}
    for part in ("val", "test"):
        images, truths[part] = load_part(folder, manifest, part)
        scores[part] = logits(images)
    decision = fit_decision(scores["val"], truths["val"], POSITIVE[manifest.task])
    probabilities = {part: softmax(values, decision.temperature) for part, values in scores.items()}
    min_confidence = fit_min_confidence(probabilities["val"], truths["val"], record.classes, decision)
    evaluation = Evaluation(
        decision=decision,
        limits=fit_limits((file.quality for file in manifest.select("train")), min_confidence),
        measured=tuple(
            Measured(
                model="source",
                split=manifest.split,
                part=part,
                images=len(truths[part]),
                figures=figures(
                    probabilities[part],
                    truths[part],
                    [file.group for file in manifest.select(part)],
                    record.classes,
                    decision,
                ),
            )
            for part in ("val", "test")
        ),
        confusion={
            part: tuple(
                tuple(row)
                for row in confusion(
                    truths[part], predict(probabilities[part], record.classes, decision), len(record.classes)
                ).tolist()
            )
            for part in ("val", "test")
        },
    )
    (run / "evaluation.json").write_text(evaluation.model_dump_json(indent=1), "utf-8")
    return evaluation
