"""A run's own weights in their own framework: the reference that every bundle is held against."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.run_folder import read_run
from benchmarks.torch_pair import import_torchvision
from edge_app.errors import TrainingError
from edge_app.preprocessing import Image

Logits = npt.NDArray[np.float32]


def load_network(run: Path) -> Any:
    """Return the network of a run (torch, float32, in evaluation mode, batch norms still apart).

    The file holds pickled code and is loaded only after its sha256 was found to be the run's own. Raises TrainingError.
    """
    read_run(run)
    import_torchvision()
    import torch

    try:
        checkpoint = torch.load(run / "weights.pt", map_location="cpu", weights_only=False)
        network = checkpoint.get("ema") or checkpoint["model"]
    except (OSError, RuntimeError, KeyError, EOFError) as error:
        raise TrainingError(f"{run}/weights.pt can't be loaded ({error}); train again") from error
    return network.float().eval()


def source_logits(run: Path) -> Callable[[Image], Logits]:
    """Return a function from prepared images (uint8 [N, H, W, 3], RGB) to the source model's logits, float32 [N, K]."""
    import torch

    network = load_network(run)
    kept: list[Any] = []
    network.model[-1].linear.register_forward_hook(lambda *call: kept.append(call[2]))

    def logits(images: Image) -> Logits:
        results = []
        with torch.inference_mode():
            for start in range(0, len(images), 64):
                batch = torch.from_numpy(np.ascontiguousarray(images[start : start + 64].transpose(0, 3, 1, 2)))
                network(batch.float() / 255)
                results.append(kept.pop().numpy())
        return np.concatenate(results)

    return logits
