"""White balance by hand: from the picture of an empty field, the gains that make its background neutral."""

import cv2
import numpy as np
import numpy.typing as npt

from edge_app.errors import InputError
from edge_app.preprocessing import Image

CLIPPED_LEVEL = 250  # of 255, in any channel: the colour of a brighter pixel is not known
DARK_LEVEL = 60  # of the brightest channel's median
MOST_CLIPPED = 0.01
MOST_COLOURED = 0.02  # share of the picture that may differ from its background
COLOUR_TOLERANCE = 1.15  # ratio of two channels over that ratio in the background
LARGEST_GAIN = 8.0
_SIDE = 64  # pixels: noise is averaged away, a cell is still seen


def gains_for_neutral(image: Image) -> tuple[float, float]:
    """Return the factors (red, blue) by which the gains in force must change to make an empty field neutral grey.

    image: uint8 [h, w, 3], BGR, of a field without cells. Light that falls off towards the edge does no harm. Gains act
    on light and the picture holds its sRGB code, so the factors are taken of decoded levels; a camera with another tone
    curve comes nearer with each measurement.

    Raises InputError when the picture is too bright or too dark to tell, or shows more than an empty field.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise InputError("white balance needs a picture in colour; choose a camera format with colour")
    if (image.max(axis=2) >= CLIPPED_LEVEL).mean() > MOST_CLIPPED:
        raise InputError("the empty field is too bright to measure its colour; lower the exposure or the light")
    light = decoded(cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA))
    background = np.median(light.reshape(-1, 3), axis=0)
    if background.max() < decoded(np.array(DARK_LEVEL)):
        raise InputError("the empty field is too dark to measure its colour; raise the exposure or the light")
    blue, green, red = (float(level) for level in background)
    if not green / LARGEST_GAIN <= min(red, blue) <= max(red, blue) <= green * LARGEST_GAIN:
        raise InputError("the field's colour is too strong for white; take coloured filters out of the light")
    # each pixel's red over green and blue over green, against the background's: how bright it is plays no part
    ratios = np.maximum(light[..., [0, 2]], 1e-6) / np.maximum(light[..., [1]], 1e-6)
    deviations = np.abs(np.log(ratios * green / [blue, red])).max(axis=2)
    if (deviations > np.log(COLOUR_TOLERANCE)).mean() > MOST_COLOURED:
        raise InputError("the field is not empty; move to a place without cells or stain and measure again")
    return green / red, green / blue


def decoded(levels: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Return the light, 0 to 1, of sRGB levels, 0 to 255 (IEC 61966-2-1)."""
    share = np.asarray(levels, np.float64) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def encoded(light: npt.NDArray[np.float64]) -> Image:
    """Return the sRGB levels, 0 to 255, of light; what is brighter than 1 is clipped."""
    light = np.clip(light, 0, 1)
    share = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return (share * 255).round().astype(np.uint8)
