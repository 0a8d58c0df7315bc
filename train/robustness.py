"""What is left of a model's accuracy when stain, microscope and camera are not as they were in training."""

import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.dataset import DatasetFile, DatasetManifest, read_raw
from benchmarks.metrics import Labels, predict, share, shares
from benchmarks.perturbations import KINDS, STRENGTHS, perturb
from benchmarks.results import Perturbation
from benchmarks.source_model import Logits
from edge_app.judging import Decision, Limits, judge, softmax
from edge_app.preprocessing import Image, prepare
from edge_app.quality import Quality, measure, thumbnail
from train.run_metrics import Robustness, Worse

PERTURBATIONS = (None, *(Perturbation(kind=kind, strength=level) for kind in KINDS for level in STRENGTHS))


def sample(manifest: DatasetManifest, per_class: int, seed: int) -> list[DatasetFile]:
    """Return up to so many images of each class of the test part, the same for the same seed."""
    files = manifest.select("test")
    chosen: list[DatasetFile] = []
    for name in manifest.classes:
        of_class = [file for file in files if file.label == name]
        chosen += random.Random(seed).sample(of_class, min(per_class, len(of_class)))
    return chosen


def measure_robustness(
    folder: Path,
    manifest: DatasetManifest,
    files: list[DatasetFile],
    logits: Callable[[Image], Logits],
    decision: Decision,
    limits: Limits,
    *,
    seed: int,
) -> Robustness:
    """Return what the model makes of some files' raw images as they are, and made worse in every way and strength.

    They are made worse before they are segmented, as it would happen; a device's limits then judge them. logits: from
    prepared images (uint8 [N, H, W, 3], RGB) to float32 [N, K]. seed: what the files were drawn by.

    Raises DatasetError.
    """
    raw = [read_raw(folder, file) for file in files]
    truths: Labels = np.array([manifest.classes.index(file.label) for file in files])

    def seen(perturbation: Perturbation | None) -> Iterator[tuple[Image, Quality]]:
        for file, image in zip(files, raw, strict=True):
            seed_of_image = zlib.crc32(file.path.encode())
            frame = perturb(image, perturbation, seed_of_image) if perturbation else image
            prepared = prepare(frame, manifest.preprocessing)
            yield prepared.model_input, measure(thumbnail(frame, *prepared.model_input.shape[1:3]), prepared)

    rows = []
    for perturbation in PERTURBATIONS:
        inputs, qualities = zip(*seen(perturbation), strict=True)
        scores = logits(np.concatenate(inputs))
        rows.append(_row(perturbation, scores, qualities, truths, manifest.classes, decision, limits))
    return Robustness(
        images={name: int((truths == index).sum()) for index, name in enumerate(manifest.classes)},
        seed=seed,
        rows=tuple(rows),
    )


def _row(
    perturbation: Perturbation | None,
    logits: Logits,
    qualities: tuple[Quality, ...],
    truths: Labels,
    classes: tuple[str, ...],
    decision: Decision,
    limits: Limits,
) -> Worse:
    named = predict(softmax(logits, decision.temperature), classes, decision)
    answered = np.array(
        [
            judge(row, quality, classes, decision, limits).label is not None
            for row, quality in zip(logits, qualities, strict=True)
        ]
    )
    right = int((answered & (named == truths)).sum())
    return Worse(
        perturbation=perturbation,
        figures=shares(truths, named, classes, decision),
        abstained=share(int((~answered).sum()), len(truths)),
        answered=share(right, int(answered.sum())) if answered.any() else None,
    )
