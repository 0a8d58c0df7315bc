"""Finds the images of the published data sets in the layouts their owners give them, and those of a user's own.

- ALL image dataset (Ghaderzadeh et al., doi 10.34740/KAGGLE/DSV/2175623): a folder with Benign, Early, Pre and Pro in
  it, as in its Kaggle archive (`Original/Benign/WBC-Benign-001.jpg`); a `Segmented` folder beside it is left alone.
- ALL-IDB1 (Labati et al., ICIP 2011): a folder `im` with `ImNNN_0` (healthy) and `ImNNN_1` (ALL) in it.
- Own images: a folder with Cancer and Normal in it, and where images belong together (one slide, one patient)
  `groups.csv`, with the columns class, file and group.
"""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from benchmarks.dataset import Task
from edge_app.errors import DatasetError
from edge_app.images import IMAGE_SUFFIXES

STAGES = ("Benign", "Early", "Pre", "Pro")
CLASSES: dict[Task, tuple[str, ...]] = {"normal-cancer": ("Cancer", "Normal"), "stages": STAGES}
ALL_IMAGES, ALL_IDB1, OWN = "ALL image dataset", "ALL-IDB1", "own images"
GROUPS = "groups.csv"  # of own images; the ALL image dataset's table is shipped
Groups = dict[tuple[str, str], str]  # (class, file name) → group


@dataclass(frozen=True)
class SourceImage:
    """One image as its owners published it; `original_class` is theirs, `group` a scene group where one is known."""

    path: Path
    source: str
    original_class: str
    group: str | None

    def label(self, task: Task) -> str:
        """Return the class of this image in a task."""
        if task == "stages":
            return self.original_class
        return "Normal" if self.original_class in ("Benign", "healthy", "Normal") else "Cancer"


def find_sources(folders: list[Path], task: Task, table: Path | None = None) -> list[SourceImage]:
    """Return the images of all data sets found under the folders, in a fixed order.

    table: a group table of them all, as `dataset audit` makes; without it the shipped one and each groups.csv hold.
    ALL-IDB1 and own images have no stages and are left out of that task. Raises DatasetError when a folder holds none,
    or when a table is not what it should be or names none of the images.
    """
    given = _read_table(table) if table else None
    images: dict[Path, SourceImage] = {}
    for folder in folders:
        found = sources_in(folder, task, given)
        if not found:
            raise DatasetError(
                f"{folder} holds no data set known here: expected folders {', '.join(STAGES)} (ALL image dataset), "
                "a folder im with ImNNN_0.jpg and ImNNN_1.jpg (ALL-IDB1), or for the task normal-cancer folders Cancer "
                "and Normal (own images); give the folder they are in"
            )
        images |= {image.path.resolve(): image for image in found}
    if table and not any(image.group for image in images.values()):
        raise DatasetError(f"{table} names none of the images; give the table that was made for these folders")
    return _in_order(images.values())


def sources_in(folder: Path, task: Task, given: Groups | None = None) -> list[SourceImage]:
    """Return the images of the data sets found under one folder, none where no layout known here is.

    given: the groups of them all; without it as in `find_sources`. Raises DatasetError for a groups.csv that is not
    what it should be or names none of the images.
    """
    groups = _scene_groups() if given is None else given
    found = _all_images(folder, groups)
    if task == "normal-cancer":
        found += _all_idb1(folder, groups) + _own_images(folder, given)
    return _in_order(found)


def _in_order(images: Iterable[SourceImage]) -> list[SourceImage]:
    return sorted(images, key=lambda image: (image.source, image.original_class, image.path.name))


def _all_images(folder: Path, groups: Groups) -> list[SourceImage]:
    roots = [path.parent for path in folder.rglob("Benign") if path.is_dir() and path.parent.name != "Segmented"]
    if folder.name == "Original" or (folder / "Benign").is_dir():
        roots = [folder]
    return [
        SourceImage(path, ALL_IMAGES, stage, groups.get((stage, path.name)))
        for root in roots
        for stage in STAGES
        for path in sorted((root / stage).glob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]


def _all_idb1(folder: Path, groups: Groups) -> list[SourceImage]:
    found = [
        (path, "ALL" if match[1] == "1" else "healthy")
        for path in sorted(folder.rglob("Im*"))
        if path.parent.name == "im" and (match := re.fullmatch(r"Im\d{3}_([01])\.(?:jpg|tif)", path.name))
    ]
    return [SourceImage(path, ALL_IDB1, name, groups.get((name, path.name))) for path, name in found]


def _own_images(folder: Path, given: Groups | None) -> list[SourceImage]:
    table = folder / GROUPS
    has_own = given is None and table.is_file()
    groups = _read_table(table) if has_own else given or {}
    found = [
        SourceImage(path, OWN, label, groups.get((label, path.name)))
        for label in CLASSES["normal-cancer"]
        for path in sorted((folder / label).glob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]
    if has_own and found and not any(image.group for image in found):
        raise DatasetError(
            f"{table} names none of the images; write Cancer or Normal into its column class, and into file the name "
            "of the file alone"
        )
    return found


def _scene_groups() -> Groups:
    """Return the shipped table: images of one group overlap."""
    text = resources.files("benchmarks").joinpath("data/scene_groups.csv").read_text("utf-8")
    return _group_table(text, "scene_groups.csv")


def _read_table(path: Path) -> Groups:
    try:
        return _group_table(path.read_text("utf-8-sig"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} can't be read as a group table ({error}); save it as CSV in UTF-8") from None


def _group_table(text: str, name: str) -> Groups:
    try:
        return {(row["class"], row["file"]): row["group"] for row in csv.DictReader(text.splitlines())}
    except (KeyError, csv.Error) as error:
        raise DatasetError(f"{name} is no group table ({error}); give it the columns class, file and group") from None
