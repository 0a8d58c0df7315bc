"""Weights to start from: fetched by the library that made them, or from a file."""

import zipfile
from pathlib import Path
from typing import Any
from urllib.error import URLError

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
    errors = []
    for part in (network, trunk_of(network)):
        try:
            part.load_weights(path)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            errors.append(str(error).strip().splitlines()[0])
        else:
            return
    raise TrainingError(f"{path} does not fit {network.name} ({errors[-1]}); give weights of that network")


def _unfetched(name: str, reason: str, trust: str) -> TrainingError:
    return TrainingError(
        f"the pretrained weights {name} can't be fetched{reason}; "
        f"give them with --weights FILE{trust}, or train with --from-scratch"
    )
