"""A training run's folder, as `train` writes it and evaluation and export read it.

RUN/run.json            what was run: recipe, data, environment, seed, time, the hash of the weights
RUN/recipe.json         the resolved recipe
RUN/dataset.json        the data set's manifest
RUN/start.json          what it started from, and each --resume
RUN/history.csv         a line an epoch, its columns those of `Epoch`
RUN/weights.pt          YOLO: Ultralytics' checkpoint, the best by validation accuracy
RUN/model.keras         Keras: the best model by validation loss; it takes float32 [N, H, W, 3], RGB, 0 to 255, and
                        gives logits [N, K]; any scaling is a layer inside
RUN/evaluation.json     figures on validation and test, and the decision that was fitted on validation
RUN/ultralytics/        what Ultralytics keeps, its checkpoints for --resume among it
RUN/keras/              what --resume goes on from, until the run has ended
"""

import csv
import hashlib
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import AwareDatetime, ValidationError

from edge_app.errors import TrainingError
from edge_app.frozen import Frozen
from edge_app.judging import Decision, Limits
from edge_app.manifest import Measured

RecordT = TypeVar("RecordT", bound=Frozen)
Framework = Literal["ultralytics", "keras"]
WeightsFile = Literal["weights.pt", "model.keras"]


class Epoch(Frozen):
    """A line of history.csv.

    seconds: of training since the run's start, breaks not counted. learning_rate: at the epoch's end. train_accuracy,
    val_accuracy: as shares; None, empty in the file, where it was not measured.
    """

    epoch: int
    seconds: float
    learning_rate: float
    train_loss: float
    train_accuracy: float | None
    val_loss: float
    val_accuracy: float


class Resumption(Frozen):
    """A run was gone on with: after which epoch, and how many epochs it then had in all."""

    after_epoch: int
    epochs: int


class Earlier(Frozen):
    """The run that wrote the weights which another started from.

    run: its folder's name. epochs: of it and of those before it. test_images: how many images of the later run's test
    part these were trained on, without those that its own training part holds, too; figures on them are too good.
    """

    run: str
    epochs: int
    test_images: int

    @property
    def warning(self) -> str:
        """A sentence where test images were seen, else nothing."""
        if not self.test_images:
            return ""
        return (
            f"{self.test_images} of the test images are among those that {self.run} was trained on, whose weights this "
            "run started from: figures of the test part are too good. Start from weights of the same split."
        )


class Start(Frozen):
    """What a run started from, and each time it was gone on with.

    model: in words. weights: the file given, which the user trusts. earlier: the run that wrote it, where it is known.
    """

    model: str
    dataset: str
    weights: str | None = None
    earlier: Earlier | None = None
    resumed: tuple[Resumption, ...] = ()


class RunRecord(Frozen):
    """What a finished run was.

    weights_sha256: of `weights_file`, which in Ultralytics' case holds pickled code. backend: what Keras ran on.
    earlier: the run that wrote the weights which it started from, where that is known. resumed: each time that the run
    was gone on with; its epochs are not the recipe's where they were changed.
    """

    format_version: Literal[1] = 1
    framework: Framework = "ultralytics"
    backend: Literal["torch", "tensorflow"] = "torch"
    weights_file: WeightsFile = "weights.pt"
    model: str
    recipe: dict[str, Any]
    task: str
    split: str
    classes: tuple[str, ...]
    dataset_path: str
    dataset_sha256: str
    started_from: str
    earlier: Earlier | None = None
    resumed: tuple[Resumption, ...] = ()
    weights_sha256: str
    best_epoch: int
    epochs_run: int
    seconds: float
    finished_at: AwareDatetime
    device: str
    machine: str
    python: str
    leukoscope: str
    libraries: dict[str, str]

    @property
    def start(self) -> str:
        """What it started from, and whose that was."""
        return f"{self.started_from} of {self.earlier.run}" if self.earlier else self.started_from

    @property
    def warning(self) -> str:
        """See `Earlier.warning`."""
        return self.earlier.warning if self.earlier else ""


class Evaluation(Frozen):
    """What `evaluate` found, and what it fitted for the device: see `benchmarks.fitting`.

    confusion: part → counts, rows are the truth, in the order of the run's classes.
    """

    decision: Decision
    limits: Limits
    measured: tuple[Measured, ...]
    confusion: dict[str, tuple[tuple[int, ...], ...]]


def read_run(folder: Path) -> RunRecord:
    """Return the record of a finished run; raises TrainingError when there is none, or its weights are not its own."""
    record = read_record(folder / "run.json", RunRecord)
    path = folder / record.weights_file
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TrainingError(f"{path} can't be read ({error.strerror}); train again") from error
    if sha256 != record.weights_sha256:
        raise TrainingError(f"{path} is not the file that this run wrote; train again")
    return record


def read_history(folder: Path) -> list[Epoch]:
    """Return what history.csv of a run folder holds, also of one that has not ended; raises TrainingError."""
    path = folder / "history.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [Epoch.model_validate({key: row[key] or None for key in row}) for row in csv.DictReader(file)]
    except OSError as error:
        raise TrainingError(f"{path} can't be read ({error.strerror}); train again") from error
    except ValidationError as error:
        raise TrainingError(f"{path} does not fit this version ({error.errors()[0]['msg']}); train again") from error


def read_record(path: Path, kind: type[RecordT], again: str = "train again") -> RecordT:
    """Return a record of a run folder; raises TrainingError when it is missing or of another form.

    again: how it is made.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise TrainingError(
            f"{path} can't be read ({error.strerror}); name the folder of a finished leukoscope train run, or {again}"
        ) from error
    except ValidationError as error:
        raise TrainingError(f"{path} does not fit this version ({error.errors()[0]['msg']}); {again}") from error
