"""A run's history as it grows: a line an epoch, whole at any moment, and TensorBoard's events where it is installed."""

import csv
import io
from importlib.util import find_spec
from pathlib import Path

from benchmarks.run_folder import Epoch, read_history
from edge_app.disk import replace_file


class History:
    """The epochs of a run folder, read from its history.csv and written there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.epochs = read_history(folder) if (folder / "history.csv").exists() else []

    def append(self, epoch: Epoch) -> None:
        """Add an epoch; one of that number or later that is there, from before a break, is replaced."""
        self.epochs = [*(each for each in self.epochs if each.epoch < epoch.epoch), epoch]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(Epoch.model_fields), lineterminator="\n")
        writer.writeheader()
        writer.writerows(each.model_dump() for each in self.epochs)
        replace_file(self.folder / "history.csv", text.getvalue().encode())
        if find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            with SummaryWriter(self.folder / "tensorboard") as events:
                for name, value in epoch.model_dump(exclude={"epoch"}, exclude_none=True).items():
                    events.add_scalar(name, value, epoch.epoch)
