"""A trained network as the converters take it: a function in each of the two frameworks that they start from."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.run_folder import read_run
from benchmarks.source_model import load_network
from edge_app.errors import ExportError
from export import keras_torch, yolo_tensorflow

Tensor = Any


@dataclass(frozen=True)
class Network:
    """A network with its weights, batch norms folded or left to the converter to fold.

    in_tensorflow: float32 [1, H, W, 3] (RGB, 0 to 255) → logits [1, K]. in_torch: the same of float32 [1, 3, H, W].
    """

    in_tensorflow: Callable[[Tensor], Tensor]
    in_torch: Callable[[Tensor], Tensor]


def open_network(run: Path) -> Network:
    """Return the network of a finished run; raises TrainingError, and ExportError for a layer not known here."""
    network = load_network(run)
    if read_run(run).framework == "keras":
        return keras_network(network)
    return yolo_network(network)


def keras_network(model: Any) -> Network:
    """Return a Keras model as a network; raises ExportError where Keras does not run on TensorFlow."""
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ExportError("a Keras model is exported through TensorFlow; unset KERAS_BACKEND, or set it to tensorflow")
    return Network(partial(model, training=False), keras_torch.classifier(model))


def yolo_network(network: Any) -> Network:
    """Return Ultralytics' network, which wants pixels from 0 to 1: the first convolution takes up the difference."""
    network = network.fuse(verbose=False).requires_grad_(False)
    network.model[0].conv.weight /= 255

    def in_torch(x: Tensor) -> Tensor:
        for module in network.model[:-1]:
            x = module(x)
        head = network.model[-1]
        return head.linear(head.pool(head.conv(x)).flatten(1))

    return Network(yolo_tensorflow.classifier(network), in_torch)
