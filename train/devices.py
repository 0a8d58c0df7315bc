"""The device that a run trains on: the CPU, a GPU or several, by the libraries' own means."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from benchmarks.keras_backend import import_keras
from edge_app.errors import TrainingError


def gpus(device: str, backend: str) -> list[int]:
    """Return the numbers of the GPUs that "cpu", "0" or "0,1" names; raises TrainingError where one isn't there."""
    if device == "cpu":
        return []
    numbers = [int(number) for number in device.split(",")] if re.fullmatch(r"\d+(,\d+)*", device) else []
    if not numbers or len(set(numbers)) < len(numbers):
        raise TrainingError(f"--device {device}: write cpu, the number of a GPU, or several as in 0,1")
    present = _count(backend)
    if max(numbers) >= present:
        raise TrainingError(f"--device {device}: {backend} finds {present} GPUs here; choose others, or cpu")
    return numbers


def keras_scope(device: str) -> Callable[[], AbstractContextManager[Any]]:
    """Return a function that gives the context in which a Keras network is built and trained on the device.

    Several GPUs share each batch by tensorflow's MirroredStrategy, as Keras documents; raises TrainingError for several
    with torch, for which Keras has no such thing.
    """
    keras = import_keras()
    backend = keras.backend.backend()
    numbers = gpus(device, backend)
    if len(numbers) < 2:
        return partial(keras.device, f"gpu:{numbers[0]}" if numbers else "cpu")  # "cpu:0" stops torch's gradients
    if backend != "tensorflow":
        raise TrainingError(f"--device {device}: Keras shares batches on tensorflow only; set KERAS_BACKEND=tensorflow")
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy([f"GPU:{number}" for number in numbers])
    return lambda: strategy.scope()


def no_gradients() -> AbstractContextManager[Any]:
    """Return a context in which Keras' torch keeps no activations for gradients; tensorflow keeps none by itself."""
    if import_keras().backend.backend() == "tensorflow":
        return nullcontext()
    import torch

    return torch.no_grad()


def _count(backend: str) -> int:
    if backend == "tensorflow":
        import tensorflow as tf

        return len(tf.config.list_physical_devices("GPU"))
    import torch

    return torch.cuda.device_count()
