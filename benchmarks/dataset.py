"""A built data set: prepared images in part and class folders, and a manifest of every file.

DATASET/manifest.json
DATASET/{train,val,test}/{class}/{name}.png     the model's input, after segmentation
DATASET/raw/{train,val,test}/{class}/{name}.png the same before segmentation, RAW_SIDES as large at most
"""

import hashlib
import json
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import AwareDatetime, ValidationError

from edge_app.cells import Box
from edge_app.errors import DatasetError
from edge_app.frozen import Frozen
from edge_app.images import read_image
from edge_app.preprocessing import Image, Preprocessing
from edge_app.quality import Quality
from edge_app.scale import Scale

Task = Literal["normal-cancer", "stages"]
Part = Literal["train", "val", "test"]
Split = Literal["random", "scene"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
MANIFEST = "manifest.json"
FORMAT_VERSION: Literal[4] = 4
RAW_SIDES = 2  # times those of the model's input


class DatasetFile(Frozen):
    """One image of a data set.

    path, raw: of the prepared image and of the unsegmented one, relative to the data set. frame: the image that it is
    or was cut from; the fields of a frame share it. box: what was cut, in pixels of the frame; null for the whole.
    red_cell_px: the red cells' diameter in pixels of the model's input, across; null where it could not be measured.
    source_sha256: of the file it was made from. quality: what the judge of the app measures before segmentation.
    """

    path: str
    sha256: str
    raw: str
    raw_sha256: str
    frame: str
    box: Box | None
    red_cell_px: float | None
    label: str
    part: Part
    group: str
    source: str
    source_file: str
    source_sha256: str
    original_class: str
    quality: Quality


class DatasetManifest(Frozen):
    """What a data set is made of.

    fields: whether the frames of ALL-IDB1 were cut into fields of the other images' scale. scale: of these; null where
    there are none, or their red cells could not be measured. left_out: reason → fields that are in no part.
    """

    format_version: Literal[4] = FORMAT_VERSION
    task: Task
    classes: tuple[str, ...]
    split: Split
    seed: int
    preprocessing: Preprocessing
    fields: bool
    scale: Scale | None
    left_out: dict[str, int]
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
        data = path.read_bytes()
        version = json.loads(data)["format_version"]
        if version != FORMAT_VERSION:
            raise DatasetError(
                f"{folder} is a data set of format {version}, and this version reads format {FORMAT_VERSION}; build it "
                "again with leukoscope dataset build"
            )
        return DatasetManifest.model_validate_json(data)
    except OSError as error:
        raise DatasetError(
            f"{folder} is no data set ({error.strerror}); make one with leukoscope dataset build"
        ) from error
    except ValidationError as error:
        raise DatasetError(
            f"{path} does not fit this version; build the data set again: {error.errors()[0]['msg']}"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is no manifest of a data set; build the data set again") from error


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
    return np.asarray(cv2.cvtColor(_read(folder / file.path, file.sha256), cv2.COLOR_BGR2RGB), np.uint8)[np.newaxis]


def read_raw(folder: Path, file: DatasetFile) -> Image:
    """Return an image before segmentation, uint8 [h, w, 3], BGR, at most `RAW_SIDES` as large as the prepared one.

    Raises DatasetError.
    """
    return _read(folder / file.raw, file.raw_sha256)


def _read(path: Path, sha256: str) -> Image:
    """Return an image of a data set; raises DatasetError when it is missing or not the one that was built."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} can't be read ({error.strerror}); build the data set again") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DatasetError(f"{path} is not the file that was built; build the data set again")
    return read_image(path)
