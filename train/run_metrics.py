"""What `evaluate` found of a run: RUN/metrics.json, its schema in `train/data`.

`python -m train.run_metrics` writes the published schema anew when these records changed.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, ValidationError

from benchmarks.dataset import Part
from benchmarks.results import Count, Mistake, Perturbation
from benchmarks.run_folder import Epoch, RunRecord
from edge_app.errors import TrainingError
from edge_app.frozen import Frozen
from edge_app.judging import Decision, Limits, Reason
from edge_app.manifest import Figure
from edge_app.quality import Share
from edge_app.schema import published

METRICS = "metrics.json"
SCHEMA_FILE = Path(__file__).with_name("data") / "metrics.schema.json"
FORMAT_VERSION: Literal[1] = 1

Counts = tuple[tuple[Count, ...], ...]


class Curve(Frozen):
    """Points of a receiver operating characteristic, from (0, 0) to (1, 1)."""

    false_positive_rate: tuple[Share, ...]
    true_positive_rate: tuple[Share, ...]


class Bin(Frozen):
    """Images whose largest probability lies between `low` and `high`, the mean of it, and how many were right."""

    low: Share
    high: Share
    images: Annotated[int, Field(ge=1)]
    confidence: Share
    accuracy: Figure


class Risk(Frozen):
    """What would be answered at a confidence limit: the share of all images, and the share of it that is wrong."""

    limit: Share
    coverage: Share
    risk: Share


class Answered(Frozen):
    """What a device answers that abstains below the fitted confidence limit, other reasons to abstain aside.

    coverage: share of the images. risk: share of these that are named wrongly; null when none is answered.
    """

    limit: Share
    coverage: Figure
    risk: Figure | None


class SourceFigures(Frozen):
    """Figures of the images of one published data set."""

    images: Annotated[int, Field(ge=1)]
    figures: dict[str, Figure]
    confusion: Counts
    answered: Answered


class FrameFigures(Frozen):
    """What the fields of large frames say of the frames: `edge_app.judging.judge_frame`.

    source: the data set of the frames. frames: by class. fields: of all of them. figures, confusion: every field
    counted, whether a device would label it or not. coverage: share of the frames that a device labels. answered:
    accuracy of these; null when there is none.
    """

    source: str
    frames: dict[str, Count]
    fields: Count
    figures: dict[str, Figure]
    confusion: Counts
    coverage: Figure
    answered: Figure | None


class PartMetrics(Frozen):
    """What the model said of one part of its data set.

    images: by class. figures: of `benchmarks.metrics.figures`, the likelier class taken of every image. confusion: rows
    are the truth. by_source: the same of each published data set. frames: of those whose large frames were cut into
    fields. roc: by class, the others against it; of the positive class only, where there is one. risks: from the most
    doubtful image on. answered: at the fitted limit. abstained: images that would get no label for any reason.
    mistakes: by probability, the surest first.
    """

    images: dict[str, Count]
    figures: dict[str, Figure]
    confusion: Counts
    by_source: dict[str, SourceFigures]
    frames: tuple[FrameFigures, ...]
    roc: dict[str, Curve]
    reliability: tuple[Bin, ...]
    risks: tuple[Risk, ...]
    answered: Answered
    abstained: dict[Reason, Count]
    mistakes: tuple[Mistake, ...]


class Worse(Frozen):
    """What is left when the images are made worse before they are segmented; perturbation: null for as they are.

    figures: the likelier class taken of every image. abstained: share that gets no label. answered: accuracy of the
    others; null when there is none.
    """

    perturbation: Perturbation | None
    figures: dict[str, Figure]
    abstained: Figure
    answered: Figure | None


class Robustness(Frozen):
    """A sample of the test part made worse in every way and strength. images: by class. seed: of the sample."""

    images: dict[str, Count]
    seed: int
    rows: tuple[Worse, ...]


class RunMetrics(Frozen):
    """What is known of a run. run: its record, with the data set's folder by its name alone.

    recipe_epochs: of the shipped recipe that it was started by, which --epochs may have cut; else of its own.
    input_size: of the model, [height, width] in pixels. fields: whether large frames were cut into fields. history:
    empty where history.csv can't be read. robustness: null where it was not measured.
    """

    format_version: Literal[1] = FORMAT_VERSION
    leukoscope: str
    made_at: AwareDatetime
    run: RunRecord
    recipe_epochs: Annotated[int, Field(ge=1)]
    input_size: tuple[int, int]
    fields: bool
    decision: Decision
    limits: Limits
    parts: dict[Part, PartMetrics]
    history: tuple[Epoch, ...]
    robustness: Robustness | None


def read_metrics(path: Path) -> RunMetrics:
    """Return the metrics in a file; raises TrainingError when there is none, or one of another version."""
    try:
        return RunMetrics.model_validate_json(path.read_bytes())
    except OSError as error:
        raise TrainingError(f"{path} can't be read ({error.strerror}); leukoscope evaluate RUN makes it") from error
    except ValidationError as error:
        raise TrainingError(
            f"{path} does not fit this version ({error.errors()[0]['msg']}); make it again with leukoscope evaluate RUN"
        ) from error


def metrics_schema() -> str:
    """Return the JSON schema of metrics.json as text; it is made from the records, so it says what is checked."""
    return published(RunMetrics.model_json_schema())


if __name__ == "__main__":
    SCHEMA_FILE.write_text(metrics_schema(), encoding="utf-8")
