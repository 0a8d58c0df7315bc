"""Training on a backend that these tests' own process does not have: Keras can't change it."""

import os
import subprocess
import sys
from pathlib import Path

from train.recipe import KerasRecipe, load_recipe

PLAIN = ("--set", "small_epochs=0", "--set", "augmentation.recapture=none", "--batch", "2")


def keras_recipe(name: str, **changes: object) -> KerasRecipe:
    """Return a shipped recipe, for one epoch on images of 75 pixels unless changed."""
    plain = {"epochs": 1, "small_epochs": 0, "size": 75, "batch": 2, "augmentation": {"recapture": None}}
    found = load_recipe(name, **(plain | changes))
    assert isinstance(found, KerasRecipe)
    return found


def start(backend: str, *arguments: object, cwd: Path, **environment: str) -> "subprocess.Popen[str]":
    """Start leukoscope train on a backend, in a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "edge_app", "train", *map(str, arguments)],
        env=os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(Path(__file__).parents[1])} | environment,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> None:
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
