"""Holds a bundle against its source model on validation images, by the code that runs on the device."""

import statistics
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from benchmarks.metrics import Labels, expected_calibration_error, predict
from edge_app.judging import Decision, confidence, softmax
from edge_app.manifest import Beside, Gate
from edge_app.preprocessing import Image
from edge_app.runtimes import Logits, Model, load_model

LARGEST_DROP = 0.005  # of the accuracy
SMALLEST_AGREEMENT = 0.99
WARM_UPS = 3
QUERIES, QUERY_SECONDS = 200, 10  # of both models together; whichever comes first


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
        abstained=_by_class(unsure, truths, classes),
        certified=agreement >= SMALLEST_AGREEMENT and drop <= LARGEST_DROP,
        recall=_by_class(given == truths, truths, classes),
        source_recall=_by_class(wanted == truths, truths, classes),
        ece=expected_calibration_error(found, truths),
        source_ece=expected_calibration_error(expected, truths),
    )


def stand_beside(model: Model, plain: Model, picture: Image) -> Beside:
    """Return size and latency of a model beside its network in float32, the two timed by turns on one thread.

    picture: uint8 [1, H, W, 3]. Raises what the runtime raises.
    """
    calls = [load_model(each, threads=1).infer for each in (model, plain)]
    spans: tuple[list[int], list[int]] = [], []
    end = None
    for turn in range(WARM_UPS + QUERIES):
        for call, kept in zip(calls, spans, strict=True):
            before = time.perf_counter_ns()
            call(picture)
            kept.append(time.perf_counter_ns() - before)
        if turn == WARM_UPS - 1:
            for kept in spans:
                kept.clear()
            end = time.monotonic() + QUERY_SECONDS
        elif end and time.monotonic() > end:
            break
    return Beside(
        model_bytes=model.size,
        fp32_bytes=plain.size,
        p50_ms=round(statistics.median(spans[0]) / 1e6, 3),
        fp32_p50_ms=round(statistics.median(spans[1]) / 1e6, 3),
        queries=len(spans[0]),
    )


def run_all(
    infer: Callable[[Image], Logits], images: Image, on_progress: Callable[[float], None] = lambda _: None
) -> Logits:
    """Return the logits [N, K] of images [N, H, W, 3], one by one as a device takes them."""
    logits = []
    for index in range(len(images)):
        logits.append(infer(images[index : index + 1]))
        on_progress((index + 1) / len(images))
    return np.concatenate(logits)


def _by_class(chosen: npt.NDArray[np.bool_], truths: Labels, classes: tuple[str, ...]) -> dict[str, float]:
    """Return the share of each class's images that are chosen; classes without images are left out."""
    return {
        name: float(chosen[truths == label].mean()) for label, name in enumerate(classes) if (truths == label).any()
    }
