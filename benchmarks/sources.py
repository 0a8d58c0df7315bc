"""Finds the images of the published data sets in the layouts their owners give them.

- ALL image dataset (Ghaderzadeh et al., doi 10.34740/KAGGLE/DSV/2175623): a folder with Benign, Early, Pre and Pro in
  it, as in its Kaggle archive (`Original/Benign/WBC-Benign-001.jpg`); a `Segmented` folder beside it is left alone.
- ALL-IDB1 (Labati et al., ICIP 2011): a folder `im` with `ImNNN_0` (healthy) and `ImNNN_1` (ALL) in it.
"""

import csv
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from benchmarks.dataset import Task
from edge_app.errors import DatasetError
from edge_app.images import IMAGE_SUFFIXES

STAGES = ("Benign", "Early", "Pre", "Pro")
CLASSES: dict[Task, tuple[str, ...]] = {"normal-cancer": ("Cancer", "Normal"), "stages": STAGES}
ALL_IMAGES, ALL_IDB1 = "ALL image dataset", "ALL-IDB1"


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
        return "Normal" if self.original_class in ("Benign", "healthy") else "Cancer"


def find_sources(folders: list[Path], task: Task) -> list[SourceImage]:
    """Return the images of all data sets found under the folders, in a fixed order.

    ALL-IDB1 has no stages and is left out of that task. Raises DatasetError when a folder holds neither data set.
    """
    groups = _scene_groups()
    images: dict[Path, SourceImage] = {}
    for folder in folders:
        found = _all_images(folder, groups) + (_all_idb1(folder) if task == "normal-cancer" else [])
        if not found:
            raise DatasetError(
                f"{folder} holds no data set known here: expected folders {', '.join(STAGES)} (ALL image dataset) "
                "or a folder im with ImNNN_0.jpg and ImNNN_1.jpg (ALL-IDB1); give the folder you unpacked"
            )
        images |= {image.path.resolve(): image for image in found}
    return sorted(images.values(), key=lambda image: (image.source, image.original_class, image.path.name))


def _all_images(folder: Path, groups: dict[tuple[str, str], str]) -> list[SourceImage]:
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


def _all_idb1(folder: Path) -> list[SourceImage]:
    return [
        SourceImage(path, ALL_IDB1, "ALL" if match[1] == "1" else "healthy", None)
        for path in sorted(folder.rglob("Im*"))
        if path.parent.name == "im" and (match := re.fullmatch(r"Im\d{3}_([01])\.(?:jpg|tif)", path.name))
    ]


def _scene_groups() -> dict[tuple[str, str], str]:
    """Return (class, file name) → group, from the shipped table: images of one group overlap."""
    text = resources.files("benchmarks").joinpath("data/scene_groups.csv").read_text("utf-8")
    return {(row["class"], row["file"]): row["group"] for row in csv.DictReader(text.splitlines())}
