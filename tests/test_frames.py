import numpy as np

from benchmarks.metrics import predict
from edge_app.judging import Decision
from train.frames import by_frame

CLASSES = ("Cancer", "Normal")
POSITIVE = Decision(positive="Cancer")


def test_figures_by_frame_rest_on_the_apps_rule() -> None:
    probabilities = np.array([[0.2, 0.8], [0.9, 0.1], [0.1, 0.9], [0.3, 0.7], [0.6, 0.4]])
    frames = by_frame(probabilities, np.array([0, 0, 1, 1, 0]), ["a", "b", "c", "c", "a"], CLASSES, POSITIVE)
    assert frames.names == ("a", "b", "c")
    assert frames.truths.tolist() == [0, 0, 1]
    assert frames.fields.tolist() == [2, 1, 2]
    assert frames.probabilities[:, 0].tolist() == [0.6, 0.9, 0.3]
    assert predict(frames.probabilities, CLASSES, POSITIVE).tolist() == [0, 0, 1]
