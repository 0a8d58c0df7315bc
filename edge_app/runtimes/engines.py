"""Where TensorRT keeps the engines that it builds, which takes minutes on a Jetson."""

import ctypes
import ctypes.util
import os
from pathlib import Path

from edge_app.runtimes import Engines


def kept_engines(engines: Engines) -> Path | None:
    """Return the folder for a bundle's engines, made if need be: beside the bundle, else in the user's cache.

    An engine is of no use to another version of TensorRT, so its version is in the name. None where TensorRT is not
    installed, or neither folder can be written to: engines are then built anew at each start.
    """
    version = tensorrt_version()
    if version is None:
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for parent in (engines.bundle.absolute().parent / ".leukoscope-engines", cache / "leukoscope" / "engines"):
        folder = parent / f"{engines.sha256[:16]}-tensorrt-{version}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return None


def tensorrt_version() -> str | None:
    """Return the version of the TensorRT library, such as 10.3.0; None where none is installed."""
    name = ctypes.util.find_library("nvinfer")
    if name is None:
        return None
    number = ctypes.CDLL(name).getInferLibVersion()
    # NvInferVersion.h: since TensorRT 10 major × 10000 + minor × 100 + patch, before that major × 1000 + …
    major, rest = divmod(number, 10000 if number >= 100000 else 1000)
    minor, patch = divmod(rest, 100)
    return f"{major}.{minor}.{patch}"
