"""What a run of either family is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from benchmarks.dataset import DatasetManifest


@dataclass(frozen=True)
class Job:
    """One training run, but for its recipe.

    output: the run folder; when it has a history, the run goes on with it. weights: a file to start from that may be
    loaded, or None for what the recipe says. device: "cpu", or the numbers of GPUs as in "0" or "0,1".
    """

    dataset: Path
    manifest: DatasetManifest
    output: Path
    weights: Path | None
    device: str


class Fit(Protocol):
    """A job that is ready to run: whatever could refuse it has been loaded, and nothing was written."""

    started_from: str
    backend: Literal["torch", "tensorflow"]

    def run(self) -> int:
        """Train, write the run's history and its weights file, and return the best epoch."""
