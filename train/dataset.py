"""Builds a data set from the published images: segmented, sized for the model, divided into parts.

With fields, a frame of ALL-IDB1 is cut into pieces that show as much as an ALL image does. A piece of a healthy frame
is Normal; one of an ALL frame is Cancer where the owners marked a blast in it, and is left out where they did not, as
it shows neither. A piece without a stained cell is left out too: the app would not judge it.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from benchmarks.dataset import MANIFEST, RAW_SIDES, DatasetFile, DatasetManifest, Part, Split, Task
from benchmarks.sources import ALL_IDB1, CLASSES, SourceImage, find_sources
from edge_app import __version__
from edge_app.cells import Box, find_cells
from edge_app.disk import new_folder
from edge_app.errors import DatasetError, LeukoscopeError
from edge_app.fields import cut, fit, holds, holds_nucleated, part
from edge_app.images import read_image
from edge_app.preprocessing import Image, Preprocessing, prepare, stain_mask
from edge_app.quality import measure, thumbnail
from edge_app.scale import RED_CELL_UM, RedCells, Scale, measure_red_cells
from train.splits import split_parts

NO_SCALE = "frame whose red cells could not be measured, or that shows less than a field"
NO_BLAST = "field of an ALL frame without a blast"
NO_CELL = "field without a stained cell"

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class _Source:
    """An image, where it goes, and what was found out about it before anything is written."""

    image: SourceImage
    sha256: str
    group: str
    part: Part
    size: tuple[int, int]  # width, height
    red_cells: RedCells | None
    blasts: Points


def build_dataset(
    folders: list[Path],
    output: Path,
    *,
    task: Task = "normal-cancer",
    split: Split = "random",
    seed: int = 0,
    fields: bool = False,
    groups: Path | None = None,
    preprocessing: Preprocessing | None = None,
    on_image: Callable[[int, int], None] = lambda *_: None,
) -> DatasetManifest:
    """Prepare every image under the folders, write the data set to `output` (a new folder), and return its manifest.

    fields: cut the frames of ALL-IDB1 into fields of the ALL images' scale. groups: a table,
    see `find_sources`. The folder appears whole or not at all. `on_image` is called with the steps done and their
    number. Raises DatasetError when there is nothing to build from, a class is empty, an image is broken or the folder
    exists.
    """
    if output.exists():
        raise DatasetError(f"{output} exists already; give another folder, or remove it first")
    record = preprocessing or Preprocessing()
    images = find_sources(folders, task, groups)
    if missing := set(CLASSES[task]) - {image.label(task) for image in images}:
        raise DatasetError(f"no image of {' and '.join(sorted(missing))}; add the folder that holds them")
    sources = _look_at(images, split, seed, fields, lambda done: on_image(done, 2 * len(images)))
    scale = _scale([each for each in sources if each.image.source != ALL_IDB1 and each.part == "train"], record)
    if fields and scale is None:
        raise DatasetError(
            "fields are cut at the scale of the images that are one field each, as those of the ALL image dataset, and "
            "no red cells could be measured in such ones; give its folder too, or build without --fields"
        )
    files: list[DatasetFile] = []
    left_out = Counter[str]()
    try:
        with new_folder(output) as partial:
            for index, source in enumerate(sources):
                boxes = _boxes(source, scale if fields else None, record, left_out)
                files += _write_fields(source, boxes, partial, task, record)
                on_image(len(sources) + index + 1, 2 * len(sources))
            if missing := set(CLASSES[task]) - {file.label for file in files}:
                raise DatasetError(f"no field of {' and '.join(sorted(missing))} is left; build without --fields")
            if all(file.quality.stain_hue is None for file in files if file.part == "train"):
                raise DatasetError(
                    "no image to train on has stain of the colour that the study cuts out, so that all would be black; "
                    "give images of smears stained purple, as by May-Grünwald-Giemsa, in colour"
                )
            manifest = DatasetManifest(
                task=task,
                classes=CLASSES[task],
                split=split,
                seed=seed,
                preprocessing=record,
                fields=fields,
                scale=scale,
                left_out=dict(left_out),
                created_at=datetime.now(UTC),
                leukoscope=__version__,
                files=tuple(files),
            )
            (partial / MANIFEST).write_text(manifest.model_dump_json(indent=1), "utf-8")
    except OSError as error:
        raise DatasetError(
            f"{output} can't be written: {error.strerror}; make room or choose another folder"
        ) from error
    return manifest


def _look_at(
    images: list[SourceImage], split: Split, seed: int, fields: bool, on_image: Callable[[int], None]
) -> list[_Source]:
    """Return what decides on each image: duplicates on the split, red cells on the scale, blasts on the labels."""
    blasts = [_blasts(image) if fields else [] for image in images]
    hashes = [_sha256(image) for image in images]
    groups = [image.group or f"sha256:{sha256}" for image, sha256 in zip(images, hashes, strict=True)]
    strata = [f"{image.source}/{image.original_class}" for image in images]
    parts = split_parts(strata, groups, split, seed)
    sources = []
    for index, image in enumerate(images):
        frame = _read(image)
        size = (frame.shape[1], frame.shape[0])
        sources.append(
            _Source(image, hashes[index], groups[index], parts[index], size, measure_red_cells(frame), blasts[index])
        )
        on_image(index + 1)
    return sources


def _blasts(image: SourceImage) -> Points:
    """Return the centres of the blasts that the owners of ALL-IDB1 marked, in a folder xyc beside the images'."""
    if image.source != ALL_IDB1 or image.original_class != "ALL":
        return []
    path = image.path.parent.parent / "xyc" / f"{image.path.stem}.xyc"
    try:
        lines = path.read_text("utf-8").splitlines()
        points = [(float(x), float(y)) for x, y in (line.split() for line in lines if line.strip())]
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path} is missing: fields are labelled by the blasts' centres that ALL-IDB1 comes with; put its folder "
            "xyc beside im, or build without --fields"
        ) from error
    except ValueError as error:
        raise DatasetError(f"{path} does not hold an x and a y a line; unpack ALL-IDB1 again") from error
    return points


def _sha256(image: SourceImage) -> str:
    try:
        return hashlib.sha256(image.path.read_bytes()).hexdigest()
    except OSError as error:
        raise DatasetError(
            f"{image.path} can't be read ({error.strerror}); mend or remove it, then build again"
        ) from error


def _read(image: SourceImage) -> Image:
    try:
        return read_image(image.path)
    except LeukoscopeError as error:
        raise DatasetError(f"{error}; mend or remove it, then build again") from error


def _scale(sources: Sequence[_Source], record: Preprocessing) -> Scale | None:
    """Return the median scale of whole images at the model's input."""
    across = [record.width * each.red_cells.width / each.size[0] for each in sources if each.red_cells]
    down = [record.height * each.red_cells.height / each.size[1] for each in sources if each.red_cells]
    if not across:
        return None
    red_cell_px = float(np.median(across))
    return Scale(
        red_cell_px=round(red_cell_px, 2),
        pixel_aspect=round(float(np.median(np.divide(down, across))), 3),
        um_per_pixel=round(RED_CELL_UM / red_cell_px, 4),
    )


def _boxes(source: _Source, scale: Scale | None, record: Preprocessing, left_out: Counter[str]) -> list[Box | None]:
    """Return what is taken of an image, None for the whole, and count what is left out; no scale: nothing is cut."""
    if scale is None or source.image.source != ALL_IDB1:
        return [None]
    red_cells = source.red_cells
    boxes = cut(*source.size, red_cells, scale, record) if red_cells else ()
    full = (record.width, record.height)
    if not boxes or red_cells is None or fit(boxes[0], red_cells, scale, record) != full:
        left_out[NO_SCALE] += 1
        return []
    cells = find_cells(stain_mask(_read(source.image), record))
    kept: list[Box | None] = []
    for box in boxes:
        if not holds_nucleated(box, cells, red_cells):
            left_out[NO_CELL] += 1
        elif source.image.original_class == "ALL" and not any(holds(box, x, y) for x, y in source.blasts):
            left_out[NO_BLAST] += 1
        else:
            kept.append(None if box == (0, 0, *source.size) else box)
    return kept


def _write_fields(
    source: _Source, boxes: list[Box | None], folder: Path, task: Task, record: Preprocessing
) -> list[DatasetFile]:
    """Write an image's fields, prepared and raw, and return their entries."""
    if not boxes:
        return []
    image, frame = source.image, _read(source.image)
    label = image.label(task)
    files = []
    for number, box in enumerate(boxes, 1):
        field = part(frame, box) if box else frame
        prepared = prepare(field, record)
        name = f"{image.path.stem}-{number}" if box else image.path.stem
        path = Path(source.part, label, f"{name}.png")
        if (folder / path).exists():
            raise DatasetError(f"{image.path} has the name of another {label} image; give its folder once")
        width, height = min(field.shape[1], RAW_SIDES * record.width), min(field.shape[0], RAW_SIDES * record.height)
        raw = cv2.resize(field, (width, height), interpolation=cv2.INTER_AREA)
        files.append(
            DatasetFile(
                path=path.as_posix(),
                sha256=_write_png(folder / path, cv2.cvtColor(prepared.model_input[0], cv2.COLOR_RGB2BGR)),
                raw=(Path("raw") / path).as_posix(),
                raw_sha256=_write_png(folder / "raw" / path, raw),
                frame=f"{image.path.parent.name}/{image.path.name}",
                box=box,
                red_cell_px=round(record.width * source.red_cells.width / field.shape[1], 3)
                if source.red_cells
                else None,
                label=label,
                part=source.part,
                group=source.group,
                source=image.source,
                source_file=f"{image.path.parent.name}/{image.path.name}",
                source_sha256=source.sha256,
                original_class=image.original_class,
                quality=measure(thumbnail(field, record.height, record.width), prepared),
            )
        )
    return files


def _write_png(path: Path, image: cv2.typing.MatLike) -> str:
    """Write a BGR image and return the file's sha256 (hex)."""
    data = cv2.imencode(".png", image)[1].tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()
