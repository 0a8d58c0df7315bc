"""A built data set: prepared images in part and class folders, and a manifest of every file.

    DATASET/manifest.json
    DATASET/{train,val,test}/{class}/{name}.png     the model's input, after segmentation
"""

import hashlib
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import cv2
from pydantic import AwareDatetime, ValidationError

from edge_app import __version__
from edge_app.errors import DatasetError, LeukoscopeError
from edge_app.images import read_image
from edge_app.preprocessing import Image, Preprocessing, prepare
from edge_app.quality import Quality, measure
from edge_app.records import Record
from train.sources import CLASSES, SourceImage, Task, find_sources
from train.splits import Part, Split, split_parts


class DatasetFile(Record):
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


class DatasetManifest(Record):
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


def build_dataset(
    folders: list[Path],
    output: Path,
    *,
    task: Task = "normal-cancer",
    split: Split = "random",
    seed: int = 0,
    preprocessing: Preprocessing | None = None,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> DatasetManifest:
    """Prepare every image under the folders, write the data set to `output` (a new folder), and return its manifest.

    The folder appears whole or not at all. `on_image` is called with the images done and their number. Raises
    DatasetError when there is nothing to build from, a class is empty, an image is broken or the folder exists.
    """
    if output.exists():
        raise DatasetError(f"{output} exists already; give another folder, or remove it first")
    record = preprocessing or Preprocessing()
    sources = find_sources(folders, task)
    if missing := set(CLASSES[task]) - {image.label(task) for image in sources}:
        raise DatasetError(f"no image of {' and '.join(sorted(missing))}; add the folder that holds them")
    partial = output.with_name(output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        files = _write_images(sources, partial, task, split, seed, record, on_image)
        manifest = DatasetManifest(
            task=task,
            classes=CLASSES[task],
            split=split,
            seed=seed,
            preprocessing=record,
            created_at=datetime.now(UTC),
            leukoscope=__version__,
            files=tuple(files),
        )
        (partial / "manifest.json").write_text(manifest.model_dump_json(indent=1), "utf-8")
        partial.rename(output)
    except OSError as error:
        raise DatasetError(f"{output} can't be written: {error.strerror}; make room or choose another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def read_dataset(folder: Path) -> DatasetManifest:
    """Return the manifest of a built data set; raises DatasetError when there is none or it is of another form."""
    path = folder / "manifest.json"
    try:
        return DatasetManifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"{folder} is no data set ({error.strerror}); make one with leukoscope dataset build") from error
    except ValidationError as error:
        raise DatasetError(f"{path} does not fit this version; build the data set again: {error.errors()[0]['msg']}") from error


def read_prepared(folder: Path, file: DatasetFile) -> Image:
    """Return a prepared image as the model takes it: uint8 [1, H, W, 3], RGB. Raises DatasetError if it changed."""
    path = folder / file.path
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} can't be read ({error.strerror}); build the data set again") from error
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise DatasetError(f"{path} is not the file that was built; build the data set again")
    return cv2.cvtColor(read_image(path), cv2.COLOR_BGR2RGB)[None]


def _write_images(
    sources: list[SourceImage],
    folder: Path,
    task: Task,
    split: Split,
    seed: int,
    record: Preprocessing,
    on_image: Callable[[int, int], None],
) -> list[DatasetFile]:
    """Write the prepared images and return their entries; two passes, because duplicates decide the split."""
    hashes = [hashlib.sha256(image.path.read_bytes()).hexdigest() for image in sources]
    groups = [image.group or f"sha256:{sha256}" for image, sha256 in zip(sources, hashes, strict=True)]
    strata = [f"{image.source}/{image.original_class}" for image in sources]
    parts = split_parts(strata, groups, split, seed)
    files = []
    for index, (image, sha256, group, part) in enumerate(zip(sources, hashes, groups, parts, strict=True)):
        try:
            frame = read_image(image.path)
        except LeukoscopeError as error:
            raise DatasetError(f"{error}; mend or remove it, then build again") from error
        prepared = prepare(frame, record)
        png = cv2.imencode(".png", cv2.cvtColor(prepared.model_input[0], cv2.COLOR_RGB2BGR))[1].tobytes()
        path = Path(part, image.label(task), f"{image.path.stem}.png")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(png)
        files.append(
            DatasetFile(
                path=path.as_posix(),
                sha256=hashlib.sha256(png).hexdigest(),
                label=image.label(task),
                part=part,
                group=group,
                source=image.source,
                source_file=f"{image.path.parent.name}/{image.path.name}",
                source_sha256=sha256,
                original_class=image.original_class,
                quality=measure(frame, prepared),
            )
        )
        on_image(index + 1, len(sources))
    return files
