"""How much OpenCV tells on stderr: versions 4 and 5 name the same function differently."""

from typing import Any

import cv2

SILENT, ERROR = 0, 2  # of OpenCV's levels


def set_log_level(level: int) -> int:
    """Let OpenCV tell what is at least so grave, in the whole process; return the level before."""
    library: Any = cv2
    if not hasattr(library, "setLogLevel"):
        return int(library.utils.logging.setLogLevel(level))
    before = int(library.getLogLevel())  # 4.x
    library.setLogLevel(level)
    return before
