"""From a float model to the int8 ones that are worth trying, the likeliest first."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

import numpy as np

from edge_app.judging import softmax
from edge_app.manifest import Calibration, Format, Target
from edge_app.runtimes import Logits, Model, load_model
from export.calibration import CalibrationSet
from export.gate import run_all
from export.layer_noise import RANKING_IMAGES, worst_first
from export.networks import Network

MODULES: dict[Format, str] = {
    "tflite": "export.tflite_int8",
    "onnx": "export.onnx_int8",
    "openvino": "export.openvino_int8",
}
PARTS = (1, 2, 4)  # calibrated on all images, on half of them, on a quarter
NEAR = 0.002  # mean difference of a probability below which other numbers of images are not tried
FLOAT_LAYERS = (1, 2, 4, 8)  # so many are left in float in turn

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Task:
    """What is to be quantised: the network, its fp32 files in the format, the training images, their source logits."""

    format: Format
    target: Target
    network: Network
    plain: tuple[bytes, ...]
    calibration: CalibrationSet
    source: Logits
    classes: int
    temperature: float

    @property
    def module(self) -> ModuleType:
        """The format's quantiser."""
        return import_module(MODULES[self.format])


@dataclass(frozen=True)
class Attempt:
    """A model's files, and of an int8 one how it was made."""

    contents: tuple[bytes, ...]
    record: Calibration | None


def attempts(task: Task, on_progress: Progress) -> Iterator[Attempt]:
    """Yield the model whose layers are all int8, then, as long as more are asked for, some with layers left in float.

    Layers are left in float by how much noise each adds on training images, up to `FLOAT_LAYERS`. No clock ends it: the
    same run gives the same bundle on a slow machine, too.
    """
    contents, used = _nearest(task, on_progress)
    yield Attempt(contents, _record(task, used, ()))
    ranked = worst_first(task.module.layer_errors(task.plain, contents, used.images[:RANKING_IMAGES]))
    for count in FLOAT_LAYERS:
        if count > len(ranked):
            return
        chosen = tuple(ranked[:count])
        yield Attempt(
            _quantise(task, used, chosen, f"{count} layers in float", on_progress), _record(task, used, chosen)
        )


def _nearest(task: Task, on_progress: Progress) -> tuple[tuple[bytes, ...], CalibrationSet]:
    """Return the model that is nearest to its source of those calibrated on all images and on `PARTS` of them.

    More images widen the ranges by their outliers, fewer miss values: which is better differs from network to network.
    What is compared are probabilities on all the calibration images, which are training images; the gate sees others.
    One that is `NEAR` enough ends it.
    """
    everything = task.calibration
    height, width = everything.images.shape[1:3]
    wanted = softmax(task.source, task.temperature)
    found: dict[float, tuple[tuple[bytes, ...], CalibrationSet]] = {}
    for part in PARTS:
        used = everything.first(max(1, len(everything.files) // part))
        contents = _quantise(task, used, (), f"{len(used.files)} images", on_progress)
        runtime = load_model(Model(task.format, "int8", task.classes, height, width, *contents))
        logits = run_all(
            runtime.infer, everything.images, lambda share: on_progress("holding against the source", share)
        )
        difference = float(np.abs(softmax(logits, task.temperature) - wanted).mean())
        found[difference] = contents, used
        if difference < NEAR:
            break
    return found[min(found)]


def _quantise(
    task: Task, used: CalibrationSet, float_layers: tuple[str, ...], what: str, on_progress: Progress
) -> tuple[bytes, ...]:
    contents: tuple[bytes, ...] = task.module.quantise(
        task.network,
        task.plain,
        used.images,
        target=task.target,
        float_layers=float_layers,
        on_progress=lambda share: on_progress(f"quantising, {what}", share),
    )
    return contents


def _record(task: Task, used: CalibrationSet, float_layers: tuple[str, ...]) -> Calibration:
    target = task.target if task.format == "onnx" else None
    return used.record.replace(float_layers=float_layers, target=target)
