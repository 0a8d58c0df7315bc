"""Builds a data set from the published images: segmented, sized for the model, divided into parts."""

import hashlib
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import cv2

from benchmarks.dataset import MANIFEST, DatasetFile, DatasetManifest, Split, Task
from benchmarks.sources import CLASSES, SourceImage, find_sources
from edge_app import __version__
from edge_app.errors import DatasetError, LeukoscopeError
from edge_app.images import read_image
from edge_app.preprocessing import Preprocessing, prepare
from edge_app.quality import measure, thumbnail
from train.splits import split_parts


def build_dataset(
    folders: list[Path],
    output: Path,
    *,
    task: Task = "normal-cancer",
    split: Split = "random",
    seed: int = 0,
    preprocessing: Preprocessing | None = None,
    on_image: Callable[[int, int], None] = lambda *_: None,
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
        (partial / MANIFEST).write_text(manifest.model_dump_json(indent=1), "utf-8")
        partial.rename(output)
    except OSError as error:
        raise DatasetError(
            f"{output} can't be written: {error.strerror}; make room or choose another folder"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


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
        if (folder / path).exists():
            raise DatasetError(f"{image.path} has the name of another {image.label(task)} image; give its folder once")
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
                quality=measure(thumbnail(frame, record.height, record.width), prepared),
            )
        )
        on_image(index + 1, len(sources))
    return files
