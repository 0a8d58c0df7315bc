"""Training in a process of its own: Keras can't change its backend."""

import os
import subprocess
import sys
from pathlib import Path

PLAIN = ("--set", "small_epochs=0", "--set", "augmentation.recapture=none", "--batch", "2")


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


def finish(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output
