"""A training run: from a built data set and a recipe to a run folder (its layout is in `benchmarks.run_folder`)."""

import errno
import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.dataset import DatasetManifest, read_dataset
from benchmarks.run_folder import Framework, Resumption, RunRecord, Start, WeightsFile, read_record
from edge_app import __version__
from edge_app.disk import check_folder, replace_file
from edge_app.errors import TrainingError
from train.earlier import earlier_run
from train.history import History
from train.job import Fit, Job
from train.recipe import KerasRecipe, YoloRecipe, parse_recipe, with_epochs

# framework → the file that it writes, and the libraries whose versions count
WEIGHTS_FILES: dict[Framework, WeightsFile] = {"ultralytics": "weights.pt", "keras": "model.keras"}
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
LIBRARIES = {"ultralytics": ("numpy", "torch", "torchvision", "ultralytics"), "keras": ("numpy", "keras")}


def train(
    dataset: Path,
    output: Path,
    recipe: YoloRecipe | KerasRecipe,
    *,
    weights: Path | None = None,
    trust_weights: bool = False,
    device: str = "cpu",
    on_warning: Callable[[str], None] = lambda _: None,
) -> RunRecord:
    """Train by a recipe on a built data set, write the run folder `output` (a new one), and return its record.

    weights: a file to start from; Ultralytics' are unpickled, so `trust_weights` must be said, and of Keras' only the
    arrays are read. device: "cpu", or the numbers of GPUs as in "0" or "0,1". on_warning: is told, before anything is
    trained, what will make the run's figures worthless. Raises TrainingError when the run can't start, leaving nothing
    behind, and DatasetError when the data set is none.
    """
    manifest = read_dataset(dataset)
    if output.exists():
        hint = "finished run" if (output / "run.json").exists() else "run that was cut off (go on with --resume)"
        raise TrainingError(f"{output} exists and holds a {hint}; give another folder with --output")
    if weights and not weights.is_file():
        raise TrainingError(f"{weights} is no file; give a file of weights, or train with --from-scratch")
    if weights and isinstance(recipe, YoloRecipe) and not trust_weights:
        raise TrainingError(f"{weights} can run code when it is loaded; if you trust it, say --trust-weights")
    try:
        check_folder(output)
    except OSError as error:
        raise TrainingError(f"{output} can't be written ({error.strerror}); give --output a folder of yours") from error
    job = Job(dataset, manifest, output, weights, device)
    earlier = earlier_run(weights, manifest) if weights else None
    if earlier and earlier.warning:
        on_warning(earlier.warning)
    fit = _fit(job, recipe)
    start = Start(
        model=fit.started_from,
        dataset=str(dataset),
        weights=str(weights.resolve()) if weights else None,
        earlier=earlier,
    )
    with _in_words(output):
        output.mkdir(parents=True)
        replace_file(output / "recipe.json", recipe.model_dump_json(indent=1).encode())
        replace_file(output / "dataset.json", manifest.model_dump_json(indent=1).encode())
        replace_file(output / "start.json", start.model_dump_json(indent=1).encode())
        return _finish(job, recipe, fit, start)


def resume(output: Path, *, epochs: int | None = None, device: str = "cpu") -> RunRecord:
    """Go on with a run that was cut off, from the last epoch it saved, and return its record.

    epochs: end after so many in all, instead of the recipe's; a learning rate that falls by the clock falls faster or
    slower accordingly. With fewer epochs the share of small ones stays, with more their number; those that were run
    stay small ones. Raises TrainingError when there is nothing to go on from.
    """
    if (output / "run.json").exists():
        raise TrainingError(f"{output} holds a finished run; there is nothing to resume")
    if not (output / "start.json").exists():
        raise TrainingError(f"{output} holds no run to go on with; remove it and start again without --resume")
    start = read_record(output / "start.json", Start)
    dataset = Path(start.dataset)
    manifest = read_dataset(dataset)
    if manifest != read_record(output / "dataset.json", DatasetManifest):
        raise TrainingError(f"{dataset} was built again since {output} was started; start a new run")
    values = json.loads((output / "recipe.json").read_text("utf-8"))
    done = len(History(output).epochs)
    if epochs:
        small = min(values.get("small_epochs", 0), done)
        values |= with_epochs(values, min(epochs, values["epochs"])) | {"epochs": epochs}
        values["small_epochs"] = max(values["small_epochs"], small)
    recipe = parse_recipe(values, str(output / "recipe.json"))
    job = Job(dataset, manifest, output, Path(start.weights) if start.weights else None, device)
    fit = _fit(job, recipe)
    resumption = Resumption(after_epoch=done, epochs=recipe.epochs)
    start = start.replace(resumed=(*start.resumed, resumption))
    with _in_words(output):
        replace_file(output / "recipe.json", recipe.model_dump_json(indent=1).encode())
        replace_file(output / "start.json", start.model_dump_json(indent=1).encode())
        return _finish(job, recipe, fit, start)


@contextmanager
def _in_words(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise TrainingError(
            f"{output} can't be written ({os.strerror(error.errno)}); make room there, then go on with --resume"
        ) from error


def _fit(job: Job, recipe: YoloRecipe | KerasRecipe) -> Fit:
    """Return the job made ready by the recipe's family, whose libraries are imported here."""
    if isinstance(recipe, KerasRecipe):
        from train.keras_fit import KerasFit

        return KerasFit(job, recipe)
    from train.yolo import YoloFit

    return YoloFit(job, recipe)


def _finish(job: Job, recipe: YoloRecipe | KerasRecipe, fit: Fit, start: Start) -> RunRecord:
    """Run the job, and write its record; what was kept for --resume goes when the record is there."""
    best = fit.run()
    output, manifest = job.output, job.manifest
    framework: Framework = "keras" if isinstance(recipe, KerasRecipe) else "ultralytics"
    epochs = History(output).epochs
    record = RunRecord(
        framework=framework,
        backend=fit.backend,
        weights_file=WEIGHTS_FILES[framework],
        model=recipe.model,
        recipe=recipe.model_dump(mode="json"),
        task=manifest.task,
        split=manifest.split,
        classes=manifest.classes,
        dataset_path=str(job.dataset),
        dataset_sha256=manifest.list_sha256(),
        started_from=start.model,
        earlier=start.earlier,
        resumed=start.resumed,
        weights_sha256=hashlib.sha256((output / WEIGHTS_FILES[framework]).read_bytes()).hexdigest(),
        best_epoch=best,
        epochs_run=len(epochs),
        seconds=epochs[-1].seconds,
        finished_at=datetime.now(UTC),
        device=job.device,
        machine=f"{platform.machine()}, {os.cpu_count()} cores",
        python=sys.version.split()[0],
        leukoscope=__version__,
        libraries={name: sys.modules[name].__version__ for name in sorted({*LIBRARIES[framework], fit.backend})},
    )
    replace_file(output / "run.json", record.model_dump_json(indent=1).encode())
    shutil.rmtree(output / "keras", ignore_errors=True)
    return record
