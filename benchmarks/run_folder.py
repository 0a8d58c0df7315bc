"""A training run's folder, as `train` writes it and evaluation and export read it.

RUN/run.json            what was run: recipe, data, environment, seed, time, the hash of the weights
RUN/recipe.json         the resolved recipe
RUN/dataset.json        the data set's manifest
RUN/history.csv         a line an epoch
RUN/weights.pt          the best weights by validation accuracy
RUN/evaluation.json     figures on validation and test, and the decision that was fitted on validation
RUN/ultralytics/        what Ultralytics keeps, its checkpoints for --resume among it
"""

import hashlib
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import AwareDatetime, ValidationError

from edge_app.errors import TrainingError
from edge_app.frozen import Frozen
from edge_app.judging import Decision, Limits
from edge_app.manifest import Measured

RecordT = TypeVar("RecordT", bound=Frozen)


class RunRecord(Frozen):
    """What a finished run was; `weights_sha256` guards the file that holds pickled code."""

    format_version: Literal[1] = 1
    model: str
    recipe: dict[str, Any]
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
    finished_at: AwareDatetime
    device: str
    machine: str
    python: str
    leukoscope: str
    libraries: dict[str, str]


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
    try:
        data = (folder / "weights.pt").read_bytes()
    except OSError as error:
        raise TrainingError(f"{folder}/weights.pt can't be read ({error.strerror}); train again") from error
    if hashlib.sha256(data).hexdigest() != record.weights_sha256:
        raise TrainingError(f"{folder}/weights.pt is not the file that this run wrote; train again")
    return record


def read_record(path: Path, kind: type[RecordT]) -> RecordT:
    """Return a record of a run folder; raises TrainingError when it is missing or of another form."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise TrainingError(
            f"{path} can't be read ({error.strerror}); name the folder of a finished leukoscope train run"
        ) from error
    except ValidationError as error:
        raise TrainingError(f"{path} does not fit this version ({error.errors()[0]['msg']}); train again") from error
