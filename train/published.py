"""The published figures: Table IV of the study as printed, and what its own notebooks' outputs really give.

A. Awad and S. A. Aly, "Acute Lymphoblastic Leukemia Diagnosis Employing YOLOv11, YOLOv8, ResNet50, and
Inception-ResNet-v2 Deep Learning Models". All on a random split; the positive class is Cancer.
"""

from dataclasses import dataclass

Shares = dict[str, float]  # by the names of `benchmarks.metrics.figures`


@dataclass(frozen=True)
class Published:
    """One model: its name in the study, its input's side in pixels, and shares from 0 to 1.

    printed: Table IV. evaluated: accuracy by the notebook's `evaluate` call. counted: from its confusion matrix, where
    it shows one: rows are the truth (their sums are the test part's 427 and 84), though the axes are labelled the
    other way round. remark: what is odd about the printed row.
    """

    name: str
    side: int
    printed: Shares
    evaluated: float
    counted: Shares
    remark: str = ""


def _of_counts(hits: int, missed: int, false_alarms: int, passed: int) -> Shares:
    """Return the figures of a binary confusion matrix."""
    return {
        "accuracy": (hits + passed) / (hits + missed + false_alarms + passed),
        "f1": 2 * hits / (2 * hits + missed + false_alarms),
        "precision": hits / (hits + false_alarms),
        "recall": hits / (hits + missed),
        "specificity": passed / (passed + false_alarms),
    }


PUBLISHED: dict[str, Published] = {
    "yolo11n": Published(
        "YOLO11n",
        side=224,
        printed={"accuracy": 0.973, "f1": 0.988, "precision": 0.979, "recall": 0.998, "specificity": 0.895},
        evaluated=0.973,
        counted={},
    ),
    "yolo11s": Published(
        "YOLO11s",
        side=224,
        printed={"accuracy": 0.982, "f1": 0.992, "precision": 0.986, "recall": 0.998, "specificity": 0.930},
        evaluated=0.982,
        counted={},
    ),
    "yolov8s": Published(
        "YOLOv8s",
        side=224,
        printed={"accuracy": 0.980, "f1": 0.980, "precision": 0.965, "recall": 0.996, "specificity": 0.826},
        evaluated=0.980,
        counted={},
    ),
    "resnet50": Published(
        "ResNet50",
        side=224,
        printed={"accuracy": 0.990, "f1": 0.993, "precision": 0.986, "recall": 1.0, "specificity": 0.928},
        evaluated=0.984,
        counted=_of_counts(427, 0, 6, 78),
    ),
    "inception_resnet_v2": Published(
        "Inception-ResNet-v2",
        side=299,
        printed={"accuracy": 0.997, "f1": 0.9896, "precision": 1.0, "recall": 0.9794, "specificity": 1.0},
        evaluated=0.992,
        counted=_of_counts(427, 0, 9, 75),
        remark="precision and recall are swapped, and the accuracy is a running average of the progress bar",
    ),
}
