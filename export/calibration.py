"""The training images that set the ranges of quantised models: one set for all formats."""

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.dataset import DatasetFile, DatasetManifest, read_prepared
from edge_app.errors import ExportError
from edge_app.manifest import Calibration
from edge_app.preprocessing import Image

DEFAULT_IMAGES = 300


@dataclass(frozen=True)
class CalibrationSet:
    """Prepared images (uint8 [N, H, W, 3], RGB), and the data set's entries of them."""

    images: Image
    files: tuple[DatasetFile, ...]

    @property
    def record(self) -> Calibration:
        """What the manifest says of the set."""
        lines = "".join(f"{file.path} {file.sha256}\n" for file in self.files)
        return Calibration(images=len(self.files), list_sha256=hashlib.sha256(lines.encode()).hexdigest())

    def first(self, count: int) -> "CalibrationSet":
        """Return the set of the first images: it is shuffled, so each class keeps about its share."""
        return CalibrationSet(self.images[:count], self.files[:count])


def calibration_set(
    folder: Path, manifest: DatasetManifest, count: int = DEFAULT_IMAGES, seed: int = 0
) -> CalibrationSet:
    """Return so many training images, each class by its share, shuffled by the seed.

    Raises ExportError when a class has no training image, and DatasetError when one can't be read.
    """
    shuffler = random.Random(seed)
    files = manifest.select("train")
    chosen = []
    for label in manifest.classes:
        of_class = [file for file in files if file.label == label]
        if not of_class:
            raise ExportError(
                f"the training part has no image of {label}, so nothing can be calibrated; build it again"
            )
        share = max(1, round(count * len(of_class) / len(files)))
        chosen += shuffler.sample(of_class, min(share, len(of_class)))
    # in class order, a quantiser that keeps a moving average would forget the first class
    shuffler.shuffle(chosen)
    return CalibrationSet(np.concatenate([read_prepared(folder, file) for file in chosen]), tuple(chosen))
