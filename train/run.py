"""A training run: from a built data set and a recipe to a run folder.

    RUN/run.json            what was run: data, recipe, environment, seed, time, the hash of the weights
    RUN/recipe.json         the resolved recipe
    RUN/dataset.json        the data set's manifest
    RUN/history.csv         a line an epoch
    RUN/weights.pt          the best weights by validation accuracy
    RUN/ultralytics/        what Ultralytics keeps, its checkpoints for --resume among it
"""

import csv
import hashlib
import os
import platform
import shutil
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, ValidationError

from edge_app import __version__
from edge_app.errors import TrainingError
from edge_app.records import Record
from train.dataset import DatasetManifest, read_dataset
from train.recipe import Recipe, parse_recipe

LIBRARIES = ("numpy", "opencv-python-headless", "torch", "torchvision", "ultralytics")


class RunRecord(Record):
    """What a finished run was; `weights_sha256` guards the file that holds pickled code."""

    format_version: Literal[1] = 1
    model: str
    recipe: Recipe
    task: str
    split: str
    classes: tuple[str, ...]
    dataset_path: str
    dataset_sha256: str
    started_from: str
    weights_sha256: str
    best_epoch: int
    epochs_run: int
    seconds: float
    sessions: int
    finished_at: AwareDatetime
    device: str
    machine: str
    python: str
    leukoscope: str
    libraries: dict[str, str]


def train(
    dataset: Path,
    output: Path,
    recipe: Recipe,
    *,
    weights: Path | None = None,
    trust_weights: bool = False,
    device: str = "cpu",
    resume: bool = False,
) -> RunRecord:
    """Train by a recipe on a built data set, write the run folder `output`, and return its record.

    weights: a checkpoint of Ultralytics to start from; it is unpickled, so `trust_weights` must be said. device: as
    Ultralytics names it ("cpu", "0", "0,1"). resume: go on from the last epoch that `output` holds. Raises
    TrainingError when the run can't start, and DatasetError when the data set is none.
    """
    manifest = read_dataset(dataset)
    last = output / "ultralytics" / "weights" / "last.pt"
    if (output / "run.json").exists():
        raise TrainingError(f"{output} holds a finished run; give another folder with --output")
    if resume:
        if not last.exists():
            raise TrainingError(f"{output} has no checkpoint to go on from; start without --resume")
        recipe = _stored(output / "recipe.json", "recipe")
        if (output / "dataset.json").read_text("utf-8") != manifest.model_dump_json(indent=1):
            raise TrainingError(f"{dataset} is not the data set that {output} was started on; name that one")
        start = str(last)
    else:
        if last.exists():
            raise TrainingError(f"{output} holds a run that was cut off; go on with --resume, or remove it")
        start = _start(recipe, weights, trust_weights)
        output.mkdir(parents=True, exist_ok=True)
        (output / "recipe.json").write_text(recipe.model_dump_json(indent=1), "utf-8")
        (output / "dataset.json").write_text(manifest.model_dump_json(indent=1), "utf-8")
        (output / "started_from").write_text(start, "utf-8")
    trainer, seconds = _fit(dataset, output, recipe, start, device, resume)
    return _finish(trainer, seconds, manifest, dataset, output, recipe, device)


def read_run(output: Path) -> RunRecord:
    """Return the record of a finished run; raises TrainingError when there is none, or its weights are not its own."""
    record = _stored_record(output)
    try:
        data = (output / "weights.pt").read_bytes()
    except OSError as error:
        raise TrainingError(f"{output}/weights.pt can't be read ({error.strerror}); train again") from error
    if hashlib.sha256(data).hexdigest() != record.weights_sha256:
        raise TrainingError(f"{output}/weights.pt is not the file that this run wrote; train again")
    return record


def _start(recipe: Recipe, weights: Path | None, trust_weights: bool) -> str:
    """Return what Ultralytics' `model` argument shall be."""
    if weights is not None:
        if not weights.is_file():
            raise TrainingError(f"{weights} is no file; give a checkpoint of Ultralytics, or --from-scratch")
        if not trust_weights:
            raise TrainingError(f"{weights} can run code when it is loaded; if you trust it, say --trust-weights")
        return str(weights)
    if not recipe.pretrained:
        return f"{recipe.model}-cls.yaml"
    name = f"{recipe.model}-cls.pt"
    from train import yolo  # noqa: F401  torchvision must be imported before ultralytics
    from ultralytics.utils.downloads import attempt_download_asset

    try:
        path = Path(attempt_download_asset(name))
    except Exception as error:  # noqa: BLE001  urllib, requests, curl: whatever a lost network raises
        path = Path(name)
        reason = f" ({type(error).__name__})"
    else:
        reason = ""
    if not path.is_file():
        raise TrainingError(
            f"the pretrained weights {name} can't be fetched{reason}; "
            "give them with --weights FILE --trust-weights, or train with --from-scratch"
        )
    return str(path)


def _fit(dataset: Path, output: Path, recipe: Recipe, start: str, device: str, resume: bool) -> tuple[Any, float]:
    from train.yolo import SmearTrainer, use_all_cores

    overrides = {
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
        "warmup_bias_lr": 0.0 if recipe.optimizer == "AdamW" else 0.1,
        "dropout": recipe.dropout,
        "patience": recipe.patience or recipe.epochs,
        "seed": recipe.seed,
        "device": device,
        "cache": "ram",
        "plots": False,
        "resume": start if resume else False,
    }
    began = time.monotonic()
    trainer = SmearTrainer(overrides=overrides)
    trainer.add_callback("on_train_start", use_all_cores)
    trainer.train()
    return trainer, time.monotonic() - began


def _finish(
    trainer: Any, seconds: float, manifest: DatasetManifest, dataset: Path, output: Path, recipe: Recipe, device: str
) -> RunRecord:
    with (output / "ultralytics" / "results.csv").open(newline="") as file:
        history = [{key.strip(): value.strip() for key, value in row.items()} for row in csv.DictReader(file)]
    accuracies = [float(row["metrics/accuracy_top1"]) for row in history]
    shutil.copy(output / "ultralytics" / "results.csv", output / "history.csv")
    shutil.copy(trainer.best, output / "weights.pt")
    record = RunRecord(
        model=recipe.model,
        recipe=recipe,
        task=manifest.task,
        split=manifest.split,
        classes=manifest.classes,
        dataset_path=str(dataset),
        dataset_sha256=manifest.list_sha256(),
        started_from=Path((output / "started_from").read_text("utf-8")).name,
        weights_sha256=hashlib.sha256((output / "weights.pt").read_bytes()).hexdigest(),
        best_epoch=accuracies.index(max(accuracies)) + 1,
        epochs_run=len(history),
        seconds=float(history[-1]["time"]),
        sessions=1,
        finished_at=datetime.now(UTC),
        device=device,
        machine=f"{platform.machine()}, {os.cpu_count()} cores",
        python=sys.version.split()[0],
        leukoscope=__version__,
        libraries={name: metadata.version(name) for name in LIBRARIES},
    )
    (output / "run.json").write_text(record.model_dump_json(indent=1), "utf-8")
    return record
