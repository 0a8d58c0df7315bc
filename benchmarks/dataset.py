"""A built data set: prepared images in part and class folders, and a manifest of every file.

DATASET/manifest.json
DATASET/{train,val,test}/{class}/{name}.png     the model's input, after segmentation
"""

import hashlib
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import AwareDatetime, ValidationError

from edge_app.errors import DatasetError
from edge_app.frozen import Frozen
from edge_app.images import read_image
from edge_app.preprocessing import Image, Preprocessing
from edge_app.quality import Quality

Task = Literal["normal-cancer", "stages"]
Part = Literal["train", "val", "test"]
Split = Literal["random", "scene"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
MANIFEST = "manifest.json"


class DatasetFile(Frozen):
    """One image of a data set.

    path: of the prepared image, relative to the data set. source_sha256: of the file it was made from. quality: what
    the judge of the app measures on the image before segmentation.
    """

    path: str
    sha256: str
    label: str
    part: Part
    group: str
    source: str
    source_file: str
    source_sha256: str
    original_class: str
    quality: Quality


class DatasetManifest(Frozen):
    """What a data set is made of."""

    format_version: Literal[1] = 1
    task: Task
    classes: tuple[str, ...]
    split: Split
    seed: int
    preprocessing: Preprocessing
    created_at: AwareDatetime
    leukoscope: str
    files: tuple[DatasetFile, ...]

    def select(self, part: Part) -> list[DatasetFile]:
        """Return the files of one part, in the manifest's order."""
        return [file for file in self.files if file.part == part]

    def list_sha256(self) -> str:
        """Return the sha256 (hex) over path, hash, class and part of every file: the identity of the data."""
        lines = "".join(f"{file.path} {file.sha256} {file.label} {file.part}\n" for file in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()


def read_dataset(folder: Path) -> DatasetManifest:
    """Return the manifest of a built data set; raises DatasetError when there is none or it is of another form."""
    path = folder / MANIFEST
    try:
        return DatasetManifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DatasetError(
            f"{folder} is no data set ({error.strerror}); make one with leukoscope dataset build"
        ) from error
    except ValidationError as error:
        raise DatasetError(
            f"{path} does not fit this version; build the data set again: {error.errors()[0]['msg']}"
        ) from error


def load_part(folder: Path, manifest: DatasetManifest, part: Part) -> tuple[Image, npt.NDArray[np.int64]]:
    """Return a part's prepared images, uint8 [N, H, W, 3], RGB, and their classes as indices, int64 [N].

    Raises DatasetError when the part is empty or an image is not the one that was built.
    """
    files = manifest.select(part)
    if not files:
        raise DatasetError(f"{folder} has no {part} part; build it again from more images")
    images = np.concatenate([read_prepared(folder, file) for file in files])
    return images, np.array([manifest.classes.index(file.label) for file in files])


def read_prepared(folder: Path, file: DatasetFile) -> Image:
    """Return a prepared image as the model takes it: uint8 [1, H, W, 3], RGB. Raises DatasetError if it changed."""
    path = folder / file.path
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} can't be read ({error.strerror}); build the data set again") from error
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise DatasetError(f"{path} is not the file that was built; build the data set again")
    return np.asarray(cv2.cvtColor(read_image(path), cv2.COLOR_BGR2RGB), np.uint8)[np.newaxis]
