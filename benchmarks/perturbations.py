"""Makes frames worse in the ways that a microscope does, to see what a model makes of them."""

from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np

from benchmarks.results import Perturbation, PerturbationKind
from edge_app.preprocessing import Image

STRENGTHS: tuple[Literal[1], Literal[2], Literal[3]] = (1, 2, 3)
BLUR = (0.0015, 0.003, 0.006)  # standard deviation of the blur as a share of the frame's height
BRIGHTNESS = (0.8, 0.6, 0.4)  # what is left of the light
WHITE_BALANCE = (0.05, 0.1, 0.2)  # share that red gains; blue loses as much
NOISE = (5.0, 10.0, 20.0)  # standard deviation, of 255


def perturb(frame: Image, perturbation: Perturbation, seed: int) -> Image:
    """Return a frame (uint8 [h, w, 3], BGR) made worse; seed: of the noise, the same gives the same."""
    return KINDS[perturbation.kind](frame, perturbation.strength - 1, seed)


def _blur(frame: Image, level: int, seed: int) -> Image:  # noqa: ARG001
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), max(0.3, BLUR[level] * frame.shape[0])), np.uint8)


def _brightness(frame: Image, level: int, seed: int) -> Image:  # noqa: ARG001
    return np.asarray(cv2.convertScaleAbs(frame, alpha=BRIGHTNESS[level]), np.uint8)


def _white_balance(frame: Image, level: int, seed: int) -> Image:  # noqa: ARG001
    gain = WHITE_BALANCE[level]
    levels = np.outer(np.arange(256), [1 - gain, 1, 1 + gain])
    return np.asarray(cv2.LUT(frame, levels.round().clip(0, 255).astype(np.uint8)[np.newaxis]), np.uint8)


def _noise(frame: Image, level: int, seed: int) -> Image:
    noise = NOISE[level] * np.random.default_rng(seed).standard_normal(frame.shape, np.float32)
    return (frame + noise).round().clip(0, 255).astype(np.uint8)


KINDS: dict[PerturbationKind, Callable[[Image, int, int], Image]] = {
    "blur": _blur,
    "brightness": _brightness,
    "white-balance": _white_balance,
    "noise": _noise,
}
