"""What weights to start from have behind them: the runs that made them, and the images that these have seen."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.dataset import DatasetManifest
from benchmarks.run_folder import Earlier, RunRecord, Start, read_record, read_run
from edge_app.errors import TrainingError


def earlier_run(weights: Path, manifest: DatasetManifest) -> Earlier | None:
    """Return the run that wrote a file of weights, or None when the file is in no run's folder.

    manifest: of the data set that the new run is trained on. Images are told by the hash of the file they came from.
    Raises TrainingError when a record of these runs can't be read, or a file of weights is not what its run wrote.
    """
    try:
        runs = list(_runs(weights))
        seen = {
            file.source_sha256
            for folder, _ in runs
            for file in read_record(folder / "dataset.json", DatasetManifest).select("train")
        }
    except TrainingError as error:
        raise TrainingError(
            f"what {weights} was trained on can't be told ({error}); to start from it all the same, copy it out of its "
            "run's folder"
        ) from error
    if not runs:
        return None
    seen -= {file.source_sha256 for file in manifest.select("train")}  # copies of one image, on both sides of a split
    return Earlier(
        run=runs[0][0].name,
        epochs=sum(record.epochs_run for _, record in runs),
        test_images=sum(file.source_sha256 in seen for file in manifest.select("test")),
    )


def _runs(weights: Path) -> Iterator[tuple[Path, RunRecord]]:
    """Yield the run that wrote some weights, then the one whose weights that run started from, as far as they go."""
    before: str | None = str(weights)
    while before is not None:
        file = Path(before).resolve()
        if not (file.parent / "run.json").is_file():
            return
        record = read_run(file.parent)
        if file.name != record.weights_file:
            return
        yield file.parent, record
        before = read_record(file.parent / "start.json", Start).weights
