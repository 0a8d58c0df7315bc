"""A run's report: RUN/report.html, one page with its pictures in it, from the run's metrics and its data set."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.dataset import DatasetFile, DatasetManifest, read_prepared, read_raw
from benchmarks.page import Picture, html
from benchmarks.results import Mistake
from edge_app.judging import REASONS
from edge_app.preprocessing import Image
from edge_app.quality import thumbnail
from train.report_sections import sections
from train.report_words import run_title
from train.run_metrics import RunMetrics

REPORT = "report.html"
NOTICE = (
    "This page is private: it shows images of the data sets, whose owners do not allow that they are passed on. Keep "
    "it with the run; metrics.json has the figures without the images."
)
MOST_PICTURES = 60  # of mistakes; the surest come first


def report_page(
    dataset: Path, manifest: DatasetManifest, metrics: RunMetrics, sibling: RunMetrics | None = None
) -> str:
    """Return the page (HTML). sibling: the metrics of the same recipe on the other split.

    Raises DatasetError when an image of a mistake is not the one that was built.
    """
    pictures = tuple(_gallery(dataset, manifest, metrics.parts["test"].mistakes[:MOST_PICTURES]))
    return html(f"Training report: {run_title(metrics)}", sections(metrics, sibling, pictures), metrics.made_at, NOTICE)


def _gallery(dataset: Path, manifest: DatasetManifest, mistakes: Sequence[Mistake]) -> Iterator[Picture]:
    """Return each mistake with the image as it was taken and as the model saw it."""
    files = {file.path: file for file in manifest.files}
    for each in mistakes:
        file = files[each.image]
        abstained = f"; no label: {REASONS[each.indeterminate].partition(':')[0]}" if each.indeterminate else ""
        at = f", field at {file.box[0]}, {file.box[1]}" if file.box else ""
        yield Picture(
            tuple(_images(dataset, file)),
            f"{file.source_file}{at}: {file.original_class}, called {each.named} at {each.probability:.1%}{abstained}",
        )


def _images(dataset: Path, file: DatasetFile) -> Iterator[Image]:
    prepared = np.asarray(cv2.cvtColor(read_prepared(dataset, file)[0], cv2.COLOR_RGB2BGR), np.uint8)
    yield thumbnail(read_raw(dataset, file), *prepared.shape[:2])
    yield prepared
