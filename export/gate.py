"""Holds a bundle against its source model on validation images, by the code that runs on the device."""

from collections.abc import Callable

import numpy as np

from benchmarks.metrics import Labels, predict
from edge_app.judging import Decision, confidence, softmax
from edge_app.manifest import Gate
from edge_app.preprocessing import Image
from edge_app.runtimes import Logits

LARGEST_DROP = 0.005  # of the accuracy
SMALLEST_AGREEMENT = 0.99


def compare(
    source: Logits,
    bundle: Logits,
    truths: Labels,
    classes: tuple[str, ...],
    decision: Decision,
    min_confidence: float,
) -> Gate:
    """Return how far the bundle's logits [N, K] are from the source's, and whether that is certified."""
    expected, found = softmax(source, decision.temperature), softmax(bundle, decision.temperature)
    wanted, given = predict(expected, classes, decision), predict(found, classes, decision)
    agreement = float((wanted == given).mean())
    drop = float((wanted == truths).mean() - (given == truths).mean())
    unsure = np.array(
        [confidence(dict(zip(classes, row, strict=True)), decision) < min_confidence for row in found.tolist()]
    )
    return Gate(
        images=len(truths),
        agreement=agreement,
        accuracy_drop=drop,
        largest_probability_difference=float(np.abs(expected - found).max()),
        abstained={name: float(unsure[truths == label].mean()) for label, name in enumerate(classes)},
        certified=agreement >= SMALLEST_AGREEMENT and drop <= LARGEST_DROP,
    )


def run_all(infer: Callable[[Image], Logits], images: Image) -> Logits:
    """Return the logits [N, K] of images [N, H, W, 3], one by one as a device takes them."""
    return np.concatenate([infer(images[index : index + 1]) for index in range(len(images))])
