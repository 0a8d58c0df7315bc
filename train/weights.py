"""Weights to start from: fetched by the library that made them, or from a file."""

import warnings
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import URLError

import numpy as np

from benchmarks.torch_pair import import_torchvision
from edge_app.errors import TrainingError
from train.keras_model import build_network, trunk_of
from train.recipe import KerasRecipe

KERAS_SUFFIXES = (".weights.h5", ".keras", ".h5")


def fetch_yolo(name: str) -> Path:
    """Return the file of Ultralytics' weights of that name, fetched into its weights folder if it is not there.

    Raises TrainingError without a network.
    """
    import_torchvision()
    from ultralytics.utils import SETTINGS
    from ultralytics.utils.downloads import attempt_download_asset

    wanted = Path(SETTINGS["weights_dir"], name)
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        file = Path(attempt_download_asset(wanted))
    except (OSError, ConnectionError, RuntimeError, ValueError) as error:
        raise _unfetched(name, f" ({error})", " --trust-weights") from error
    if not file.is_file():
        raise _unfetched(name, "", " --trust-weights")
    return file


def fetch_keras(recipe: KerasRecipe, classes: int, size: int | None) -> Any:
    """Return a recipe's network with ImageNet weights, which Keras fetches; raises TrainingError without a network."""
    try:
        return build_network(recipe, classes, size, weights="imagenet", precision=recipe.precision)
    except Exception as error:  # Keras raises nothing narrower when it can't fetch
        if not isinstance(error.__context__, URLError) and not isinstance(error, OSError):
            raise
        raise _unfetched(f"of {recipe.model}", f" ({error})", "") from error


def load_keras_weights(network: Any, path: Path) -> None:
    """Load a file's arrays into a network, or, where they don't fit its last layer, into all before that.

    Only arrays are read: neither a layer nor any code that the file may describe is made. Raises TrainingError.
    """
    if not path.name.endswith(KERAS_SUFFIXES):
        raise TrainingError(f"{path} is no Keras weights file; its name must end in one of {', '.join(KERAS_SUFFIXES)}")
    trunk = trunk_of(network)
    for weight in trunk.weights:
        weight.assign(np.full(weight.shape, np.nan))  # Keras only warns of layers that it finds nothing for
    with TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        try:
            _load_arrays(network, trunk, path, Path(folder))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            reason = (str(error).strip().splitlines() or ["it is empty"])[0]
            raise _unfit(path, network, reason) from error
    if any(np.isnan(weight).any() for weight in trunk.get_weights()):
        raise _unfit(path, network, "it holds too few layers")


def _load_arrays(network: Any, trunk: Any, path: Path, folder: Path) -> None:
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            path = Path(archive.extract("model.weights.h5", folder))
    try:
        network.load_weights(path)
    except ValueError:
        if path.name.endswith(".weights.h5"):
            network.load_weights(path, objects_to_skip=[network.get_layer("logits")])
        else:  # the older form, in which Keras publishes its applications' weights without their top
            trunk.load_weights(path)


def _unfit(path: Path, network: Any, reason: str) -> TrainingError:
    return TrainingError(f"{path.name} does not fit {network.name} ({reason}); give weights of that network")


def _unfetched(name: str, reason: str, trust: str) -> TrainingError:
    return TrainingError(
        f"the pretrained weights {name} can't be fetched{reason}; "
        f"give them with --weights FILE{trust}, or train with --from-scratch"
    )
