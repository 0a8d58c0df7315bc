"""Ways from a frame in memory to a label with the same weights: other people's, ours, and the bare runtime call.

Each is a function that starts a pipeline and returns what judges a frame. Libraries are imported where they are used
and nothing of `edge_app` is imported at the top, so that a process of its own holds what its pipeline needs, no more.
The other ways segment by the plain OpenCV sequence of the published study: without it they would answer another
question than the one that the weights were trained on.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Judge = Callable[[Image], str | None]  # a frame → the class that is named, or None where none is


@dataclass(frozen=True)
class Question:
    """What all ways are asked: the classes in the model's order, and `edge_app.preprocessing.Preprocessing` in parts.

    side: of the model's square input, pixels.
    """

    classes: Sequence[str]
    hsv_low: Sequence[int]
    hsv_high: Sequence[int]
    opening: int
    side: int


@dataclass(frozen=True)
class Peer:
    """One way.

    start: (model, question) → judge. model: the run's weights, Ultralytics' own export of them to a format, or one of
    our bundles. prepared: it is given the model's input (uint8 [1, H, W, 3], RGB), else the frame (uint8 [h, w, 3],
    BGR).
    """

    title: str
    start: Callable[[Path, Question], Judge]
    model: Literal["weights", "onnx", "openvino", "litert", "bundle"]
    prepared: bool = False


def ours(bundle: Path, question: Question) -> Judge:  # noqa: ARG001 - a bundle knows it
    """Judge as the app does, but the frame as a whole, as the others do, where the app would cut it into fields."""
    from datetime import UTC, datetime

    from edge_app.bundle import open_bundle
    from edge_app.cameras import Frame
    from edge_app.classifier import Classifier

    classifier = Classifier(open_bundle(bundle))
    classifier.manifest = classifier.manifest.replace(scale=None)
    now = datetime.now(UTC)
    return lambda frame: classifier.judge(Frame(frame, 0, 0, now, "memory", 0, {})).judgement.label


def floor(bundle: Path, question: Question) -> Judge:
    """Call the runtime on an input that somebody else prepared, and take the largest logit."""
    from benchmarks.bare import bare_call
    from edge_app.bundle import open_bundle
    from edge_app.cores import CORES

    call = bare_call(open_bundle(bundle), CORES)
    return lambda prepared: question.classes[int(np.argmax(call(prepared)[0]))]


def ultralytics(model: Path, question: Question) -> Judge:
    """Segment, make small, and let Ultralytics predict from memory."""
    network = _yolo(model)
    return lambda frame: _named(network.predict(segment(frame, question), imgsz=question.side, verbose=False))


def paper(weights: Path, question: Question) -> Judge:
    """Take the study's own steps: segment, save the picture in its own size, load it, predict."""
    import cv2

    network = _yolo(weights)
    path = Path(tempfile.mkdtemp(dir=weights.parent), "segmented.png")

    def judge(frame: Image) -> str:
        cv2.imwrite(str(path), segment(frame, question, small=False))
        return _named(network.predict(str(path), imgsz=question.side, verbose=False))

    return judge


def by_hand(model: Path, question: Question) -> Judge:
    """Segment, make small, normalise and transpose with OpenCV and numpy; ONNX Runtime as it comes; softmax."""
    import cv2
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def judge(frame: Image) -> str:
        picture = cv2.cvtColor(segment(frame, question), cv2.COLOR_BGR2RGB).astype(np.float32) / 255
        scores = session.run(None, {name: picture.transpose(2, 0, 1)[np.newaxis]})[0][0]
        return question.classes[int(scores.argmax())]

    return judge


def opencv_dnn(model: Path, question: Question) -> Judge:
    """Segment, make small, and let OpenCV's own network module infer."""
    import cv2

    network = cv2.dnn.readNetFromONNX(str(model))

    def judge(frame: Image) -> str:
        network.setInput(cv2.dnn.blobFromImage(segment(frame, question), 1 / 255, swapRB=True))
        return question.classes[int(network.forward()[0].argmax())]

    return judge


PEERS: dict[str, Peer] = {
    "leukoscope": Peer("Leukoscope", ours, "bundle"),
    "floor": Peer("the bare runtime call", floor, "bundle", prepared=True),
    "ultralytics-onnx": Peer("Ultralytics predict, its ONNX", ultralytics, "onnx"),
    "ultralytics-openvino": Peer("Ultralytics predict, its OpenVINO", ultralytics, "openvino"),
    "ultralytics-litert": Peer("Ultralytics predict, its LiteRT", ultralytics, "litert"),
    "ultralytics-pytorch": Peer("Ultralytics predict, PyTorch", ultralytics, "weights"),
    "by-hand": Peer("OpenCV and ONNX Runtime by hand", by_hand, "onnx"),
    "opencv-dnn": Peer("OpenCV's network module", opencv_dnn, "onnx"),
    "paper": Peer("the study's steps, through a file", paper, "weights"),
}


def segment(frame: Image, question: Question, *, small: bool = True) -> Image:
    """Return a frame (uint8 [h, w, 3], BGR) with all but the stain black, by the study's four OpenCV calls.

    small: resized to the model's input size, [side, side, 3].
    """
    import cv2

    kernel = np.ones((question.opening, question.opening), np.uint8)
    mask = cv2.inRange(cv2.cvtColor(frame, cv2.COLOR_BGR2HSV), (*question.hsv_low,), (*question.hsv_high,))
    picture = cv2.bitwise_and(frame, frame, mask=cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel))
    if small:
        picture = cv2.resize(picture, (question.side, question.side), interpolation=cv2.INTER_AREA)
    return np.asarray(picture, np.uint8)


def export_with_ultralytics(weights: Path, model_format: str, side: int) -> Path:
    """Return the path of Ultralytics' own float export, beside the weights; raises what Ultralytics raises."""
    return Path(_yolo(weights).export(format=model_format, imgsz=side, verbose=False))


def _yolo(model: Path) -> Any:
    from benchmarks.torch_pair import import_torchvision

    import_torchvision()
    from ultralytics import YOLO

    return YOLO(str(model), task="classify")


def _named(results: Any) -> str:
    return str(results[0].names[results[0].probs.top1])
