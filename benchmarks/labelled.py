"""Finds images whose class is known: in a built data set, in the published layouts, or in a folder a class."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.dataset import MANIFEST, PARTS, DatasetFile, Part, read_dataset
from benchmarks.results import AccuracyData
from benchmarks.sources import CLASSES, sources_in
from edge_app.errors import DatasetError, InputError
from edge_app.images import find_images
from edge_app.preprocessing import Preprocessing

PartOrAll = Literal["train", "val", "test", "all"]


@dataclass(frozen=True)
class LabelledImage:
    """An image file and its class.

    name: relative to what the user named. group: images of one scene share it. prepared: of a data set whose original
    images are not at hand; the path is then that of the prepared image.
    """

    path: Path
    name: str
    label: str
    group: str
    prepared: DatasetFile | None = None


@dataclass(frozen=True)
class Labelled:
    """All images to judge, and what is said of them.

    dataset_sha256: of a built data set, its identity. preprocessing: of prepared images, how they were made.
    """

    folder: Path
    images: tuple[LabelledImage, ...]
    data: AccuracyData
    dataset_sha256: str | None = None
    preprocessing: Preprocessing | None = None


def find_labelled(
    folder: Path, task: str, classes: tuple[str, ...], part: PartOrAll = "test", originals: Path | None = None
) -> Labelled:
    """Return the images of a folder for a bundle of this task and these classes.

    part: of a built data set. originals: where the images lie that a data set was built from, to judge these from the
    image file on instead of the prepared ones. Raises InputError and DatasetError.
    """
    if (folder / MANIFEST).is_file():
        return _of_dataset(folder, classes, part, originals)
    if originals:
        raise InputError(f"{folder} is no built data set; leave out --images, as its own images are judged")
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; name one with images of known class")
    layout: Literal["published", "class folders"] = "published"
    images = _published(folder, task)
    if not images:
        layout, images = "class folders", _class_folders(folder, classes)
    if not images:
        raise InputError(
            f"{folder} has no images of known class: name a data set made by leukoscope dataset build, a published one "
            f"as it was unpacked, or a folder with a subfolder a class ({', '.join(classes)})"
        )
    hashes = {image.path: _sha256(image.path) for image in images}
    return Labelled(folder, images, _facts(folder, layout, None, classes, images, hashes))


def _of_dataset(folder: Path, classes: tuple[str, ...], part: PartOrAll, originals: Path | None) -> Labelled:
    manifest = read_dataset(folder)
    if set(manifest.classes) != set(classes):
        raise InputError(
            f"{folder} has the classes {', '.join(manifest.classes)}, the bundle {', '.join(classes)}; "
            "name a data set that was built for the bundle's task"
        )
    parts: tuple[Part, ...] = PARTS if part == "all" else (part,)
    files = [file for file in manifest.files if file.part in parts]
    if not files:
        raise DatasetError(f"{folder} has no {part} part; build it again from more images")
    if originals:
        found = _originals(files, originals)
        frames = {found[file]: file for file in files}  # fields of one frame are judged as that frame, once
        images = tuple(LabelledImage(path, file.source_file, file.label, file.group) for path, file in frames.items())
        hashes = {path: file.source_sha256 for path, file in frames.items()}
    else:
        images = tuple(LabelledImage(folder / file.path, file.path, file.label, file.group, file) for file in files)
        hashes = {folder / file.path: file.sha256 for file in files}
    facts = _facts(folder, "data set", part, classes, images, hashes)
    return Labelled(folder, images, facts, manifest.list_sha256(), None if originals else manifest.preprocessing)


def _originals(files: list[DatasetFile], folder: Path) -> dict[DatasetFile, Path]:
    """Return the image that each file of a data set was made from; names may occur twice, contents decide."""
    named: dict[str, list[Path]] = {}
    for path in find_images(folder):
        named.setdefault(f"{path.parent.name}/{path.name}", []).append(path)
    found = {}
    for file in files:
        for path in named.get(file.source_file, ()):
            if _sha256(path) == file.source_sha256:
                found[file] = path
    if missing := [file.source_file for file in files if file not in found]:
        raise InputError(
            f"{len(missing)} of {len(files)} images of the data set are not in {folder} as they were when it was "
            f"built ({missing[0]} is the first); name the folder that it was built from"
        )
    return found


def _published(folder: Path, task: str) -> tuple[LabelledImage, ...]:
    known = next((each for each in CLASSES if each == task), None)
    if known is None:
        return ()
    named = [(_name(image.path, folder), image) for image in sources_in(folder, known)]
    return tuple(LabelledImage(image.path, name, image.label(known), image.group or name) for name, image in named)


def _class_folders(folder: Path, classes: tuple[str, ...]) -> tuple[LabelledImage, ...]:
    """Return the images in the subfolders named as classes; one that is missing has no images."""
    return tuple(
        LabelledImage(path, _name(path, folder), label, _name(path, folder))
        for label in classes
        if (folder / label).is_dir()
        for path in find_images(folder / label)
    )


def _facts(
    folder: Path,
    layout: Literal["data set", "published", "class folders"],
    part: PartOrAll | None,
    classes: tuple[str, ...],
    images: tuple[LabelledImage, ...],
    hashes: dict[Path, str],
) -> AccuracyData:
    if unknown := {image.label for image in images} - set(classes):
        raise InputError(
            f"{folder} has images of {', '.join(sorted(unknown))}, which the bundle does not know "
            f"({', '.join(classes)}); leave them out, or take a bundle for these classes"
        )
    lines = sorted(f"{hashes[image.path]} {image.label}\n" for image in images)
    return AccuracyData(
        name=folder.resolve().name,
        layout=layout,
        part=part,
        images={name: sum(image.label == name for image in images) for name in classes},
        list_sha256=hashlib.sha256("".join(lines).encode()).hexdigest(),
        judged_from="prepared images" if any(image.prepared for image in images) else "image files",
    )


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}); check its permissions and the disk") from None
