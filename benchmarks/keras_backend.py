"""Imports Keras with a backend that is here."""

import os
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from edge_app.errors import TrainingError

BACKENDS = ("tensorflow", "torch")


def import_keras() -> Any:
    """Return the keras module, on the backend that KERAS_BACKEND names; unset: tensorflow where installed, else torch.

    The choice lasts as long as the process. Raises TrainingError when Keras or the backend is not installed, or is one
    that these networks were never trained on.
    """
    installed = [name for name in BACKENDS if find_spec(name)]
    if not find_spec("keras") or not installed:
        raise TrainingError("this model needs Keras and a backend: pip install 'leukoscope[train]'")
    backend = os.environ.setdefault("KERAS_BACKEND", installed[0])
    if backend not in installed:
        raise TrainingError(f"KERAS_BACKEND is {backend}; set it to {' or '.join(installed)}, or leave it unset")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # else tensorflow greets on every import
    return import_module("keras")
