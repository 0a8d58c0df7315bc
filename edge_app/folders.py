"""Where the app keeps what is its own: in the user's home, or in the folder that systemd gives the service."""

import os
from collections.abc import Mapping
from pathlib import Path


def records_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """~/.local/share/leukoscope/records; for the service /var/lib/leukoscope/records."""
    return _data_folder(environ) / "records"


def bundles_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """$LEUKOSCOPE_BUNDLE_FOLDER, or ~/.local/share/leukoscope/bundles; for the service /var/lib/leukoscope/bundles."""
    given = environ.get("LEUKOSCOPE_BUNDLE_FOLDER")
    return Path(given) if given else _data_folder(environ) / "bundles"


def _data_folder(environ: Mapping[str, str]) -> Path:
    if state := environ.get("STATE_DIRECTORY"):  # set by systemd for a unit with StateDirectory=
        return Path(state.partition(":")[0])
    home = environ.get("XDG_DATA_HOME") or Path(environ.get("HOME") or "/var/lib") / ".local/share"
    return Path(home) / "leukoscope"
