"""Draws labelled smear fields, so that training can be tried without anyone's images."""

from collections.abc import Callable
from pathlib import Path

import cv2

from edge_app.disk import new_folder
from edge_app.errors import DatasetError
from edge_app.slides import Kind
from edge_app.smears import draw_smear

KINDS: dict[str, Kind] = {"Cancer": "leukaemic", "Normal": "healthy"}
SIDE = 224  # pixels, as the images of the ALL image dataset


def draw_images(
    folder: Path, count: int, *, seed: int = 0, on_image: Callable[[int, int], None] = lambda *_: None
) -> None:
    """Write `count` drawn fields of each class to a new folder, in a folder a class; the same seed gives the same.

    `on_image` is called with the fields done and their number. The folder appears whole or not at all. Raises
    DatasetError when it exists or can't be written.
    """
    if folder.exists():
        raise DatasetError(f"{folder} exists already; give another folder, or remove it first")
    try:
        with new_folder(folder) as partial:
            for index, label in enumerate(KINDS):
                (partial / label).mkdir(parents=True)
                for number in range(count):
                    field = draw_smear(seed * count + number, kind=KINDS[label], height=SIDE, width=SIDE).image
                    path = partial / label / f"drawn-{number + 1:04}.png"
                    path.write_bytes(cv2.imencode(".png", field)[1].tobytes())
                    on_image(index * count + number + 1, len(KINDS) * count)
    except OSError as error:
        raise DatasetError(f"{folder} can't be written: {error.strerror}; choose another folder") from error
