"""A run's own weights in their own framework: the reference that every bundle is held against."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.keras_backend import import_keras
from benchmarks.run_folder import read_run
from benchmarks.torch_pair import import_torchvision
from edge_app.errors import TrainingError
from edge_app.preprocessing import Image

Logits = npt.NDArray[np.float32]
# images that go through a network at a time: Keras on torch keeps every layer's output until the last one, together
# 14 GB for 64 images of 299 pixels in Inception-ResNet-v2
BATCH = 16


def load_network(run: Path) -> Any:
    """Return the network of a run: torch (float32, in evaluation mode, batch norms still apart), or a Keras model.

    The file is loaded only after its sha256 was found to be the run's own, since a checkpoint of torch holds pickled
    code; a Keras file that holds code is refused. Raises TrainingError.
    """
    return _load_keras(run) if read_run(run).framework == "keras" else _load_torch(run)


def source_logits(run: Path) -> Callable[[Image], Logits]:
    """Return a function from prepared images (uint8 [N, H, W, 3], RGB) to the source model's logits, float32 [N, K]."""
    network = load_network(run)
    infer = _infer_keras(network) if read_run(run).framework == "keras" else _infer_torch(network)

    def logits(images: Image) -> Logits:
        return np.concatenate([infer(images[start : start + BATCH]) for start in range(0, len(images), BATCH)])

    return logits


def _load_torch(run: Path) -> Any:
    import_torchvision()
    import torch

    try:
        checkpoint = torch.load(run / "weights.pt", map_location="cpu", weights_only=False)
        network = checkpoint.get("ema") or checkpoint["model"]
    except (OSError, RuntimeError, KeyError, EOFError) as error:
        raise TrainingError(f"{run}/weights.pt can't be loaded ({error}); train again") from error
    return network.float().eval()


def _load_keras(run: Path) -> Any:
    keras = import_keras()
    try:
        return keras.saving.load_model(run / "model.keras", compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TrainingError(f"{run}/model.keras can't be loaded ({error}); train again") from error


def _infer_torch(network: Any) -> Callable[[Image], Logits]:
    import torch

    kept: list[Any] = []
    network.model[-1].linear.register_forward_hook(lambda *call: kept.append(call[2]))

    def infer(images: Image) -> Logits:
        with torch.inference_mode():
            network(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float() / 255)
        return np.asarray(kept.pop().numpy())

    return infer


def _infer_keras(network: Any) -> Callable[[Image], Logits]:
    network.compile(jit_compile=False)  # compiling takes longer than a data set
    return lambda images: np.asarray(network.predict_on_batch(images.astype(np.float32)))
