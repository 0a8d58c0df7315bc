"""From a file of a data set to a training image, the same for both families."""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.dataset import DatasetManifest, Part, load_part, read_raw
from edge_app.preprocessing import Image
from train.recapture import can_be_recaptured, recapture
from train.recipe import Augmentation


class PartImages:
    """The images of a part of a data set, kept in memory as uint8.

    labels: int64 [N], their classes as indices. recapturable: whether images are kept unsegmented, too, where they can
    be changed before it. Raises DatasetError when an image is not the one that was built.
    """

    def __init__(self, folder: Path, manifest: DatasetManifest, part: Part, *, recapturable: bool = False) -> None:
        self.images, self.labels = load_part(folder, manifest, part)
        self.record = manifest.preprocessing
        self.raw: dict[int, Image] = {}
        for index, file in enumerate(manifest.select(part) if recapturable else ()):
            raw = read_raw(folder, file)
            if can_be_recaptured(file, raw, self.record):
                self.raw[index] = raw

    def training_image(self, index: int, augmentation: Augmentation, generator: np.random.Generator) -> Image:
        """Return an image as one step of training sees it: uint8 [H, W, 3], RGB."""
        image = self.images[index]
        changes = augmentation.recapture
        if changes and index in self.raw and generator.random() < changes.share:
            image = recapture(self.raw[index], changes, self.record, generator)
        return augment(image, augmentation, generator)


def shown(labels: npt.NDArray[np.int64], balance: float) -> npt.NDArray[np.int64]:
    """Return the indices of an epoch's images, unshuffled; those of small classes come more than once.

    balance: 0 shows each once; 1 repeats those of a class until it is as often as the largest, to whole repeats.
    """
    counts = Counter(labels.tolist())
    repeats = [round((max(counts.values()) / counts[label]) ** balance) for label in labels.tolist()]
    return np.repeat(np.arange(len(labels)), repeats)


def augment(image: Image, augmentation: Augmentation, generator: np.random.Generator) -> Image:
    """Return a prepared image (uint8 [H, W, 3], RGB, black where it is not stained) changed at random.

    Colours first, and what is black stays black, as at the microscope; then flips, rotation, zoom and shift in one
    bilinear warp.
    """
    return _warped(_coloured(image, augmentation, generator), augmentation, generator)


def _coloured(image: Image, augmentation: Augmentation, generator: np.random.Generator) -> Image:
    """Change brightness, contrast, saturation and hue by factors as torchvision's ColorJitter draws them."""
    limits = (augmentation.brightness, augmentation.contrast, augmentation.saturation)
    brightness, contrast, saturation = (generator.uniform(1 - limit, 1 + limit) for limit in limits)
    hue = generator.uniform(-augmentation.hue, augmentation.hue)
    if not any((*limits, augmentation.hue)):
        return image
    stained = (image[..., 0] | image[..., 1] | image[..., 2]) > 0
    if not stained.any():
        return image
    pixels = image[stained][np.newaxis].astype(np.float32) * brightness  # the rest is black and most of an image
    mean = pixels.mean()
    pixels = (pixels - mean) * contrast + mean
    hsv = cv2.cvtColor(np.clip(pixels, 0, 255) / np.float32(255), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 360 * hue) % 360
    hsv[..., 1] = np.clip(hsv[..., 1] * saturation, 0, 1)
    changed = np.zeros_like(image)
    changed[stained] = np.rint(255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))[0]
    return changed


def _warped(image: Image, augmentation: Augmentation, generator: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    angle = np.deg2rad(generator.uniform(-augmentation.rotation_degrees, augmentation.rotation_degrees))
    zoom = generator.uniform(*augmentation.zoom, size=2)
    if not augmentation.zoom_apart:
        zoom[1] = zoom[0]
    flips = generator.random(2) < (augmentation.flip_horizontal, augmentation.flip_vertical)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = rotation * (zoom * np.where(flips, -1, 1))
    centre = np.array([width - 1, height - 1]) / 2
    shift = generator.uniform(-augmentation.shift, augmentation.shift, size=2) * (width, height)
    matrix = np.column_stack([linear, centre + shift - linear @ centre])
    if np.array_equal(matrix, np.eye(2, 3)):
        return image
    border = cv2.BORDER_REFLECT if augmentation.fill == "mirror" else cv2.BORDER_CONSTANT
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=border))
