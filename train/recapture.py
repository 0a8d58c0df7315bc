"""Training images as another stain, microscope and camera would have given them: changed before they are segmented."""

from typing import Annotated

import numpy as np
from pydantic import Field

from benchmarks import perturbations
from benchmarks.dataset import DatasetFile
from edge_app.frozen import Frozen
from edge_app.preprocessing import Image, Preprocessing, prepare

SMALLEST_RED_CELL = 8.0  # pixels; in smaller pictures of cells the opening of the mask would leave none

Share = Annotated[float, Field(ge=0, lt=1)]


class Recapture(Frozen):
    """How far a training image may be from the one that was taken; the mask of the stain moves with it.

    share: of the images shown that are changed, the others are shown as they are. Every other field is the largest
    amount of one of `benchmarks.perturbations`; what is applied is drawn evenly from none to it, either way where
    there are two ways. jpeg: the lowest quality.
    """

    share: Annotated[float, Field(ge=0, le=1)]
    stain: Share = 0
    white_balance: Share = 0
    brightness: Share = 0
    illumination: Share = 0
    blur: Share = 0
    noise: Annotated[float, Field(ge=0, le=64)] = 0
    jpeg: Annotated[int, Field(ge=1, le=100)] = 100


def can_be_recaptured(file: DatasetFile, raw: Image, record: Preprocessing) -> bool:
    """Return whether a file's raw image can be segmented again: not one of a large frame that was made too small."""
    return file.red_cell_px is None or file.red_cell_px * raw.shape[1] / record.width >= SMALLEST_RED_CELL


def recapture(raw: Image, changes: Recapture, record: Preprocessing, random: np.random.Generator) -> Image:
    """Return an image (uint8 [H, W, 3], BGR, not segmented) changed and segmented: uint8 [H, W, 3], RGB."""

    def amount(name: str) -> float:
        return float(random.uniform(0, getattr(changes, name)))

    def either_way(name: str) -> float:
        return float(random.choice((-1, 1))) * amount(name)

    frame = perturbations.stain(raw, either_way("stain"), either_way("stain"))
    frame = perturbations.illumination(frame, amount("illumination"), float(random.uniform(0, 2 * np.pi)))
    frame = perturbations.white_balance(frame, either_way("white_balance"))
    frame = perturbations.brightness(frame, either_way("brightness"))
    if changes.blur:
        frame = perturbations.blur(frame, amount("blur"))
    if changes.noise:
        frame = perturbations.noise(frame, amount("noise"), random)
    if changes.jpeg < 100:
        frame = perturbations.jpeg(frame, int(random.integers(changes.jpeg, 101)))
    return np.asarray(prepare(frame, record).model_input[0], np.uint8)
