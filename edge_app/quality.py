"""What a frame is like, before anybody asks what it shows: focus, noise, exposure, colour, amount of stain.

All figures are taken at the model's input size, so they speak of the picture that the model gets: a frame of 2592
pixels whose blur vanishes when it is reduced to 224 is sharp to the model.
"""

from collections.abc import Sequence
from typing import Annotated

import cv2
import numpy as np
from pydantic import Field

from edge_app.frozen import Frozen
from edge_app.preprocessing import Image, Prepared

CLIPPED_LEVEL = 253  # of 255, in the darkest channel: JPEG leaves burnt-out white a little below 255
# across and down, the difference of two Laplacians: flat areas and straight edges leave nothing, noise is six times as
# strong after it
NOISE_KERNEL = np.array([1, -2, 1], np.float32)

Share = Annotated[float, Field(ge=0, le=1)]
Level = Annotated[float, Field(ge=0, le=255)]


class Quality(Frozen):
    """Figures of one frame.

    mask_fraction: share of the frame's pixels that are stained, at the frame's own size.
    focus: variance of the Laplacian over the variance, both of the green channel; free of brightness and contrast
    (variance of the Laplacian: Pech-Pacheco et al., ICPR 2000).
    noise: standard deviation of the green channel's noise, of 255, as J. Immerkær estimates it (Fast Noise Variance
    Estimation, Computer Vision and Image Understanding 1996).
    brightness: 95th percentile of grey, 0 to 255: the level of the background.
    clipped: share of pixels that are burnt out in all three channels.
    tint_a, tint_b: mean a* and b* of the whole frame, OpenCV's 8-bit CIELAB (128 is neutral).
    stain_hue, stain_saturation: means over the stained pixels, OpenCV's 8-bit HSV; null where nothing is stained.
    """

    mask_fraction: Share
    focus: Annotated[float, Field(ge=0)]
    noise: Annotated[float, Field(ge=0)]
    brightness: Level
    clipped: Share
    tint_a: Level
    tint_b: Level
    stain_hue: Annotated[float, Field(ge=0, le=179)] | None
    stain_saturation: Level | None


def thumbnail(frame: Image, height: int, width: int) -> Image:
    """Return a frame (uint8 [h, w, 3], BGR) at the model's size: what `measure` looks at, and a gallery shows."""
    small: cv2.typing.MatLike = frame
    while small.shape[0] >= 2 * height and small.shape[1] >= 2 * width:
        # halving is many times faster than the reduction by an odd factor that comes last
        rows, columns = small.shape[0] // 2, small.shape[1] // 2
        small = cv2.resize(small[: 2 * rows, : 2 * columns], (columns, rows), interpolation=cv2.INTER_AREA)
    whole = small.shape[0] % height == 0 or small.shape[1] % width == 0
    if whole or small.shape[0] < height or small.shape[1] < width:
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    # the same sums, which OpenCV takes of bytes in float32 as well, but slower
    sums = cv2.resize(small.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return np.rint(sums).astype(np.uint8)


def measure(small: Image, prepared: Prepared) -> Quality:
    """Return the figures of a frame from its `thumbnail` at the model's size, and from what `prepare` made of it."""
    height, width = small.shape[:2]
    green = cv2.extractChannel(small, 1)
    grain = cv2.norm(cv2.sepFilter2D(green, cv2.CV_16S, NOISE_KERNEL, NOISE_KERNEL), cv2.NORM_L1) / green.size
    _, tint_a, tint_b, _ = cv2.mean(cv2.cvtColor(small, cv2.COLOR_BGR2LAB))
    stain = cv2.cvtColor(prepared.model_input[0], cv2.COLOR_RGB2HSV)
    stained = cv2.extractChannel(stain, 2)  # the value: 0 where all is black
    hue, saturation, _, _ = cv2.mean(stain, mask=stained)
    is_stained = cv2.countNonZero(stained) > 0
    return Quality(
        mask_fraction=cv2.countNonZero(prepared.mask) / prepared.mask.size,
        focus=_variance(cv2.Laplacian(green, cv2.CV_16S)) / max(_variance(green), 1.0),
        noise=(np.pi / 2) ** 0.5 / 6 * grain,
        brightness=_percentile(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), 0.95),
        clipped=cv2.countNonZero(cv2.inRange(small, (CLIPPED_LEVEL,) * 3, (255, 255, 255))) / (height * width),
        tint_a=min(tint_a, 255.0),
        tint_b=min(tint_b, 255.0),
        stain_hue=min(hue, 179.0) if is_stained else None,
        stain_saturation=min(saturation, 255.0) if is_stained else None,  # a mean of many 255 may come out above
    )


def pooled(fields: Sequence[Quality], mask: Image) -> Quality:
    """Return the figures of a frame from those of its fields: their means, and the stained share of its whole mask."""
    if len(fields) == 1:
        return fields[0]
    means = {}
    for name in Quality.model_fields:
        values = [value for value in (getattr(field, name) for field in fields) if value is not None]
        means[name] = sum(values) / len(values) if values else None
    return Quality.model_validate(means | {"mask_fraction": cv2.countNonZero(mask) / mask.size})


def _variance(image: cv2.typing.MatLike) -> float:
    return float(cv2.meanStdDev(image)[1][0][0]) ** 2


def _percentile(grey: cv2.typing.MatLike, share: float) -> float:
    """Return the level below which a share of the pixels lies, from the histogram, which is faster than a sort."""
    counts = cv2.calcHist([grey], [0], None, [256], [0, 256])
    return float(np.searchsorted(np.cumsum(counts), share * grey.size))
