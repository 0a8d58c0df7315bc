"""Makes frames worse in the ways that a stain, a microscope and a camera do, to see what a model makes of them.

Training changes its images by the same functions (`train.recapture`), at amounts drawn at random.
"""

from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np

from benchmarks.results import Perturbation, PerturbationKind
from edge_app.preprocessing import Image

STRENGTHS: tuple[Literal[1], Literal[2], Literal[3]] = (1, 2, 3)
# Optical densities of red, green and blue by stain, from Ruifrok and Johnston, Anal Quant Cytol Histol 2001:
# haematoxylin (blue), eosin (pink) and what is left. Romanowsky stains are near enough for a change of strength.
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
DENSITY = -np.log((np.arange(256) + 1) / 256).astype(np.float32)


def perturb(frame: Image, perturbation: Perturbation, seed: int) -> Image:
    """Return a frame (uint8 [h, w, 3], BGR) made worse; seed: of what is random in it, the same gives the same."""
    amounts, change = KINDS[perturbation.kind]
    return change(frame, amounts[perturbation.strength - 1], np.random.default_rng(seed))


def blur(frame: Image, amount: float) -> Image:
    """Return the frame blurred by a Gaussian whose standard deviation is this share of the frame's height."""
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), max(0.3, amount * frame.shape[0])), np.uint8)


def brightness(frame: Image, amount: float) -> Image:
    """Return the frame with this share of its light lost (gained, where it is negative)."""
    return np.asarray(cv2.convertScaleAbs(frame, alpha=1 - amount), np.uint8)


def white_balance(frame: Image, amount: float) -> Image:
    """Return the frame with red raised and blue lowered by this share."""
    levels = np.outer(np.arange(256), [1 - amount, 1, 1 + amount])
    return np.asarray(cv2.LUT(frame, levels.round().clip(0, 255).astype(np.uint8)[np.newaxis]), np.uint8)


def noise(frame: Image, amount: float, random: np.random.Generator) -> Image:
    """Return the frame with Gaussian noise of this standard deviation, of 255."""
    noisy = frame + np.float32(amount) * random.standard_normal(frame.shape, np.float32)
    return noisy.round().clip(0, 255).astype(np.uint8)


def stain(frame: Image, haematoxylin: float, eosin: float) -> Image:
    """Return the frame with the two stains stronger by these shares (weaker, where they are negative).

    Densities are taken apart and put together again (Tellez et al., IEEE Trans Med Imaging 2018).
    """
    factors = np.diag([1 + haematoxylin, 1 + eosin, 1])
    change = np.linalg.inv(STAINS) @ factors @ STAINS  # of densities as a row: red, green, blue
    bgr = np.ascontiguousarray(change.T[::-1, ::-1], np.float32)
    density = cv2.transform(DENSITY[frame], bgr)
    return (256 * np.exp(-density) - 1).round().clip(0, 255).astype(np.uint8)


def illumination(frame: Image, amount: float, angle: float) -> Image:
    """Return the frame with light that falls by this share from one side to the other; angle: of the fall, radians."""
    height, width = frame.shape[:2]
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32) * np.float32(np.cos(angle))
    down = np.linspace(-0.5, 0.5, height, dtype=np.float32) * np.float32(np.sin(angle))
    light = across + down[:, np.newaxis]
    light = 1 - np.float32(amount) * (light - light.min()) / max(float(np.ptp(light)), 1e-6)
    return np.asarray((frame * light[..., np.newaxis]).round(), np.uint8)


def jpeg(frame: Image, quality: int) -> Image:
    """Return the frame as a JPEG of this quality (1 to 100) gives it back."""
    data = cv2.imencode(".jpg", frame, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


Change = Callable[[Image, float, np.random.Generator], Image]
# kind → its amount at each of the three strengths, and what it does; directions that are not said are random
KINDS: dict[PerturbationKind, tuple[tuple[float, float, float], Change]] = {
    "blur": ((0.0015, 0.003, 0.006), lambda frame, amount, _: blur(frame, amount)),
    "brightness": ((0.2, 0.4, 0.6), lambda frame, amount, _: brightness(frame, amount)),
    "white-balance": ((0.05, 0.1, 0.2), lambda frame, amount, _: white_balance(frame, amount)),
    "noise": ((5, 10, 20), noise),
    "stain": ((0.1, 0.2, 0.4), lambda frame, amount, random: stain(frame, *random.choice((-amount, amount), 2))),
    "illumination": (
        (0.15, 0.3, 0.5),
        lambda frame, amount, random: illumination(frame, amount, random.uniform(0, 2 * np.pi)),
    ),
    "jpeg": ((70, 40, 20), lambda frame, amount, _: jpeg(frame, round(amount))),
}
