"""What the shipped bundle's limits refuse, on real images as they are and made bad on purpose.

`pytest tests/test_limits.py -s` prints the shares.
"""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_app.bundle import default_bundle_path, open_bundle
from edge_app.images import find_images, read_image
from edge_app.judging import refusal
from edge_app.preprocessing import Image, prepare
from edge_app.quality import measure, thumbnail

Change = Callable[[Image], Image]


def blurred(frame: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), 2 * frame.shape[1] / 224), np.uint8)  # sigma: 2 model pixels


def noisy(frame: Image) -> Image:
    cells = frame.shape[0] / 224 * frame.shape[1] / 224  # pixels that the model sees as one
    noise = np.random.default_rng(0).normal(scale=12 * cells**0.5, size=frame.shape)
    return (frame + noise).round().clip(0, 255).astype(np.uint8)


def gain(factors: tuple[float, float, float]) -> Change:
    return lambda frame: np.clip(frame * np.array(factors), 0, 255).astype(np.uint8)


def empty(frame: Image) -> Image:
    return np.broadcast_to(np.quantile(frame, 0.9, axis=(0, 1)).astype(np.uint8), frame.shape).copy()


def grey(frame: Image) -> Image:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8)


CHANGES: dict[str, tuple[Change, float]] = {  # name → (change, smallest share that must be refused)
    "blurred, sigma 2 of 224 pixels": (blurred, 0.95),
    "noise, sigma 12 of 255 at the model's size": (noisy, 0.95),
    "dimmed to 30 %": (gain((0.3, 0.3, 0.3)), 0.95),
    "over-exposed, twice": (gain((2, 2, 2)), 0.95),
    "empty field": (empty, 1.0),
    "green cast": (gain((0.8, 1.1, 0.8)), 0.9),
    "warm cast": (gain((0.6, 1.0, 1.1)), 0.75),
    "no colour": (grey, 1.0),
    "red and blue swapped": (lambda frame: np.ascontiguousarray(frame[..., ::-1]), 0.75),
}


@pytest.fixture(scope="module")
def frames(smears: Path) -> list[Image]:
    pick = random.Random(0).sample
    files = pick(find_images(smears / "all" / "Original"), 240) + pick(find_images(smears / "all_idb1" / "im"), 16)
    return [read_image(file) for file in files]


def reasons(frames: list[Image], change: Change) -> Counter[str | None]:
    manifest = open_bundle(default_bundle_path()).manifest
    found: Counter[str | None] = Counter()
    for frame in frames:
        changed = change(frame)
        record = manifest.preprocessing
        quality = measure(thumbnail(changed, record.height, record.width), prepare(changed, record))
        found[refusal(quality, manifest.limits)] += 1
    return found


def test_few_good_images_are_refused(frames: list[Image]) -> None:
    found = reasons(frames, lambda frame: frame)
    print(f"\nas they are: {1 - found[None] / len(frames):.1%} refused {dict(found)}")
    assert found[None] / len(frames) >= 0.95


@pytest.mark.parametrize("name", CHANGES)
def test_bad_images_are_refused(name: str, frames: list[Image]) -> None:
    change, share = CHANGES[name]
    found = reasons(frames, change)
    print(f"\n{name}: {1 - found[None] / len(frames):.1%} refused {dict(found)}")
    assert 1 - found[None] / len(frames) >= share
