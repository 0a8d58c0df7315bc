"""A training run: from a built data set and a recipe to a run folder (its layout is in `benchmarks.run_folder`)."""

import csv
import hashlib
import json
import os
import platform
import shutil
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.dataset import DatasetManifest, read_dataset
from benchmarks.run_folder import RunRecord, read_record
from edge_app import __version__
from edge_app.errors import TrainingError
from train.recipe import Recipe

LIBRARIES = ("numpy", "torch", "torchvision", "ultralytics")


def train(
    dataset: Path,
    output: Path,
    recipe: Recipe,
    *,
    weights: Path | None = None,
    trust_weights: bool = False,
    device: str = "cpu",
) -> RunRecord:
    """Train by a recipe on a built data set, write the run folder `output` (a new one), and return its record.

    weights: a checkpoint of Ultralytics to start from; it is unpickled, so `trust_weights` must be said. device: as
    Ultralytics names it ("cpu", "0", "0,1"). Raises TrainingError when the run can't start, leaving nothing behind, and
    DatasetError when the data set is none.
    """
    manifest = read_dataset(dataset)
    if output.exists():
        hint = "finished run" if (output / "run.json").exists() else "run that was cut off (go on with --resume)"
        raise TrainingError(f"{output} exists and holds a {hint}; give another folder with --output")
    start = _start(recipe, weights, trust_weights)
    output.mkdir(parents=True)
    (output / "recipe.json").write_text(recipe.model_dump_json(indent=1), "utf-8")
    (output / "dataset.json").write_text(manifest.model_dump_json(indent=1), "utf-8")
    (output / "start.json").write_text(json.dumps({"model": Path(start).name, "dataset": str(dataset)}), "utf-8")
    return _fit(dataset, output, recipe, manifest, start, device, resume=False)


def resume(output: Path, *, epochs: int | None = None, device: str = "cpu") -> RunRecord:
    """Go on with a run that was cut off, from the last epoch it saved, and return its record.

    epochs: end after so many in all, instead of the recipe's; the learning rate falls faster or slower accordingly.
    Raises TrainingError when there is nothing to go on from.
    """
    last = output / "ultralytics" / "weights" / "last.pt"
    if (output / "run.json").exists():
        raise TrainingError(f"{output} holds a finished run; there is nothing to resume")
    if not last.exists():
        raise TrainingError(f"{output} has no checkpoint to go on from; remove it and start again without --resume")
    recipe = read_record(output / "recipe.json", Recipe)
    dataset = Path(json.loads((output / "start.json").read_text("utf-8"))["dataset"])
    manifest = read_dataset(dataset)
    if manifest != read_record(output / "dataset.json", DatasetManifest):
        raise TrainingError(f"{dataset} was built again since {output} was started; start a new run")
    if epochs is not None:
        recipe = recipe.replace(epochs=epochs)
        (output / "recipe.json").write_text(recipe.model_dump_json(indent=1), "utf-8")
    return _fit(dataset, output, recipe, manifest, str(last), device, resume=True)


def _start(recipe: Recipe, weights: Path | None, trust_weights: bool) -> str:
    """Return what Ultralytics' `model` argument shall be: a network's description, or a checkpoint that is here."""
    if weights is not None:
        if not weights.is_file():
            raise TrainingError(f"{weights} is no file; give a checkpoint of Ultralytics, or train with --from-scratch")
        if not trust_weights:
            raise TrainingError(f"{weights} can run code when it is loaded; if you trust it, say --trust-weights")
        return str(weights.resolve())
    if not recipe.pretrained:
        return f"{recipe.model}-cls.yaml"
    from train.weights import fetch_pretrained

    return str(fetch_pretrained(f"{recipe.model}-cls.pt"))


def _fit(
    dataset: Path, output: Path, recipe: Recipe, manifest: DatasetManifest, start: str, device: str, *, resume: bool
) -> RunRecord:
    from train.yolo import SmearTrainer, use_all_cores

    trainer = SmearTrainer(
        overrides={
            "model": start,
            "data": str(dataset.resolve()),
            "save_dir": str((output / "ultralytics").resolve()),
            "epochs": recipe.epochs,
            "batch": recipe.batch,
            "nbs": recipe.nominal_batch,
            "optimizer": recipe.optimizer,
            "lr0": recipe.learning_rate,
            "lrf": recipe.final_share,
            "cos_lr": recipe.cosine,
            "momentum": recipe.momentum,
            "weight_decay": recipe.weight_decay,
            "warmup_epochs": recipe.warmup_epochs,
            # Ultralytics starts biases at 0.1, which suits SGD only
            "warmup_bias_lr": 0.0 if recipe.optimizer == "AdamW" else 0.1,
            "dropout": recipe.dropout,
            "patience": recipe.patience or recipe.epochs,
            "seed": recipe.seed,
            "imgsz": manifest.preprocessing.height,
            "device": device,
            "cache": "ram",
            "plots": False,
            "resume": start if resume else False,
        }
    )
    trainer.add_callback("on_train_start", use_all_cores)
    trainer.train()
    return _finish(trainer, manifest, dataset, output, recipe, device)


def _finish(
    trainer: Any, manifest: DatasetManifest, dataset: Path, output: Path, recipe: Recipe, device: str
) -> RunRecord:
    shutil.copy(output / "ultralytics" / "results.csv", output / "history.csv")
    with (output / "history.csv").open(newline="") as file:
        history = [{key.strip(): value for key, value in row.items()} for row in csv.DictReader(file)]
    accuracies = [float(row["metrics/accuracy_top1"]) for row in history]
    shutil.copy(trainer.best, output / "weights.pt")
    record = RunRecord(
        model=recipe.model,
        recipe=recipe.model_dump(mode="json"),
        task=manifest.task,
        split=manifest.split,
        classes=manifest.classes,
        dataset_path=str(dataset),
        dataset_sha256=manifest.list_sha256(),
        started_from=json.loads((output / "start.json").read_text("utf-8"))["model"],
        weights_sha256=hashlib.sha256((output / "weights.pt").read_bytes()).hexdigest(),
        best_epoch=accuracies.index(max(accuracies)) + 1,
        epochs_run=len(history),
        seconds=float(history[-1]["time"]),
        finished_at=datetime.now(UTC),
        device=device,
        machine=f"{platform.machine()}, {os.cpu_count()} cores",
        python=sys.version.split()[0],
        leukoscope=__version__,
        libraries={name: metadata.version(name) for name in LIBRARIES},
    )
    partial = output / "run.json.partial"
    partial.write_text(record.model_dump_json(indent=1), "utf-8")
    partial.replace(output / "run.json")
    return record
