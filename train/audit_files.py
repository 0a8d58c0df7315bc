"""Finds the images of a data set in any layout known here, and says what each file is: sound, broken or odd."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from benchmarks.dataset import MANIFEST, Part, Task, read_dataset
from benchmarks.sources import OWN, sources_in
from edge_app.errors import DatasetError, InputError
from edge_app.frozen import Frozen
from edge_app.images import find_images, read_image
from edge_app.preprocessing import Image

SUFFIXES = {
    "BMP": (".bmp",),
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
KINDS = SUFFIXES | {"MPO": SUFFIXES["JPEG"]}  # what some cameras write: a JPEG with further pictures after it
RARE_SIZE = 0.05  # of the images of one source, at most: a size that is unlike the others'


@dataclass(frozen=True)
class LabelledFile:
    """An image file of a data set.

    name: as the group table has it; fields that were cut from one frame share it. label: what a network is to learn.
    original_class: its owners' class; the label where there is no other. part: of a built data set. slide: images of
    one belong together, as the owner's own table says.
    """

    path: Path
    name: str
    source: str
    original_class: str
    label: str
    part: Part | None = None
    slide: str | None = None


class FileFacts(Frozen):
    """What a file is.

    kind: by its content. width, height: in pixels, as it is shown. pixels_sha256: of size and decoded pixels, so equal
    for files that differ in their bytes alone. error: why it can't be read; all but `bytes` is then empty.
    """

    bytes: int
    kind: str = ""
    width: int = 0
    height: int = 0
    sha256: str = ""
    pixels_sha256: str = ""
    oddities: tuple[str, ...] = ()
    error: str | None = None


def find_files(folders: list[Path], task: Task) -> list[LabelledFile]:
    """Return the images under the folders, each once.

    A folder is a data set that was built here, a published one (`benchmarks.sources`), or has a subfolder a class.
    Raises DatasetError when a folder is none of them or all images are of one class.
    """
    files: dict[Path, LabelledFile] = {}
    for folder in folders:
        files |= {file.path.absolute(): file for file in _of_folder(folder, task)}
    found = list(files.values())
    if len({file.label for file in found}) < 2:
        raise DatasetError(
            f"all {len(found)} images are of the class {found[0].label}; name the folder above the class folders, or "
            "add the folder that holds the other class"
        )
    return found


def read_file(file: LabelledFile) -> tuple[FileFacts, Image | None]:
    """Return what a file is, and its picture (uint8 [h, w, 3], BGR); None when it can't be read."""
    try:
        frame = read_image(file.path)
        data = file.path.read_bytes()
    except (InputError, OSError) as error:
        size = file.path.stat().st_size if file.path.is_file() else 0
        return FileFacts(bytes=size, error=str(error).replace(str(file.path), file.path.name)), None
    kind, oddities = _form(data, file.path.suffix)
    if (frame == frame[:1, :1]).all():
        oddities.append("one colour all over")
    elif (frame == frame[..., :1]).all():
        oddities.append("grey")
    height, width = frame.shape[:2]
    facts = FileFacts(
        bytes=len(data),
        kind=kind,
        width=width,
        height=height,
        sha256=hashlib.sha256(data).hexdigest(),
        pixels_sha256=hashlib.sha256(f"{width}x{height}\n".encode() + frame.tobytes()).hexdigest(),
        oddities=tuple(oddities),
    )
    return facts, frame


def rare_sizes(files: list[LabelledFile], facts: list[FileFacts]) -> dict[int, str]:
    """Return the index of each image whose size few of its source have, with what is said of it."""
    sizes: dict[str, Counter[tuple[int, int]]] = {}
    for file, each in zip(files, facts, strict=True):
        if each.error is None:
            sizes.setdefault(file.source, Counter())[each.width, each.height] += 1
    rare = {}
    for index, (file, each) in enumerate(zip(files, facts, strict=True)):
        if each.error is not None:
            continue
        counts = sizes[file.source]
        (usual, most), own = counts.most_common(1)[0], counts[each.width, each.height]
        if own < most and own <= max(1, RARE_SIZE * counts.total()):
            rare[index] = f"{each.width}×{each.height} pixels, where most of {file.source} have {usual[0]}×{usual[1]}"
    return rare


def _of_folder(folder: Path, task: Task) -> list[LabelledFile]:
    if (folder / MANIFEST).is_file():
        return _built(folder)
    published = sources_in(folder, task)
    if not published:
        return _class_folders(folder)
    return [
        LabelledFile(
            image.path,
            image.path.name,
            image.source,
            image.original_class,
            image.label(task),
            slide=image.group if image.source == OWN else None,
        )
        for image in published
    ]


def _built(folder: Path) -> list[LabelledFile]:
    return [
        LabelledFile(
            folder / file.raw, Path(file.source_file).name, file.source, file.original_class, file.label, file.part
        )
        for file in read_dataset(folder).files
    ]


def _class_folders(folder: Path) -> list[LabelledFile]:
    found = []
    for subfolder in sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")):
        try:
            paths = find_images(subfolder)
        except InputError:  # no image is in there, so it is no class
            continue
        label = subfolder.name
        found += [LabelledFile(p, p.relative_to(subfolder).as_posix(), folder.name, label, label) for p in paths]
    if not found:
        raise DatasetError(
            f"{folder} holds no images of known class; name a data set made by leukoscope dataset build, a published "
            "one as it was unpacked, or a folder with a subfolder a class"
        )
    return found


def _form(data: bytes, suffix: str) -> tuple[str, list[str]]:
    """Return an image's kind, and what is odd about the form of its file."""
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    try:
        with Pillow.open(BytesIO(data)) as image:
            kind, mode, tags = image.format or "", image.mode, getattr(image, "tag_v2", None)
    except (UnidentifiedImageError, Pillow.DecompressionBombError):
        return "", ["of a form that other programs may not read"]
    bits = data[24] if kind == "PNG" else np.max(tags.get(258, 8)) if tags else 8
    oddities = []
    if suffix.lower() not in KINDS.get(kind, ()):
        oddities.append(f"a {kind} file, whatever its name says")
    if bits > 8:
        oddities.append(f"{bits} bits a channel")
    if "A" in mode or "transparency" in image.info:
        oddities.append("alpha channel")
    if mode == "CMYK":
        oddities.append("CMYK")
    if mode == "P":
        oddities.append("palette")
    if tags and tags.next:
        oddities.append("several pages, of which the first is read")
    return "JPEG" if kind == "MPO" else kind, oddities
