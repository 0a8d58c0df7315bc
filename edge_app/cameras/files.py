"""The camera `file://`: an image, the images of a folder, or a video."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

from edge_app.cameras import Camera, Setting
from edge_app.cameras.reading import Device, LiveCamera, OrderedCamera
from edge_app.cameras.uris import uri_options, uri_path
from edge_app.errors import InputError
from edge_app.images import find_images, read_image
from edge_app.opencv import SILENT, set_log_level
from edge_app.preprocessing import Image

# OpenCV reads this once, when FFmpeg is first used; without it, FFmpeg says on stderr what the errors here say.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})


def open_uri(
    uri: str,
    *,
    every_frame: bool,
    open_timeout_s: float,
    read_timeout_s: float,
    on_event: Callable[[str], None],
) -> Camera:
    """Open `file:///PATH`: a video is told by its suffix (`VIDEO_SUFFIXES`); raises CameraError or InputError.

    Images come once each, in the order of `find_images`, as fast as they are taken. A video plays at its own rate
    unless `every_frame`.
    """
    uri_options(uri, {})
    path = uri_path(uri)
    if path.suffix.lower() not in VIDEO_SUFFIXES or path.is_dir():
        return OrderedCamera(ImageFiles(find_images(path)), on_event)
    if every_frame:
        return OrderedCamera(Video(path), on_event)
    return LiveCamera(
        uri,
        lambda: Video(path),
        open_timeout_s=open_timeout_s,
        read_timeout_s=read_timeout_s,
        on_event=on_event,
    )


class ImageFiles(Device):
    """A device that gives image files in turn, once or in rounds."""

    def __init__(self, paths: list[Path], *, fps: float | None = None, rounds: int | None = 1) -> None:
        """Give `paths` so many times, or without end where `rounds` is None."""
        self._paths = paths
        self._rounds = rounds
        self._given = 0
        self.source = ""
        self.interval_s = 1 / fps if fps else 0.0
        self.settings: Mapping[str, Setting] = {"fps": fps} if fps else {}

    def grab(self) -> bool:
        """Go to the next file; False after the last."""
        round_, index = divmod(self._given, len(self._paths))
        if round_ == self._rounds:
            return False
        self.source = str(self._paths[index])
        self._given += 1
        return True

    def retrieve(self) -> Image:
        """Read the file, as `read_image` does."""
        return read_image(Path(self.source))

    def close(self) -> None:
        """Do nothing: no file is held open."""


class Video(Device):
    """A device that gives the frames of a video file; one that states no frame rate is played at 25 a second."""

    def __init__(self, path: Path) -> None:
        """Open the file; raises InputError when it can't be read as a video."""
        set_log_level(SILENT)
        try:
            with path.open("rb"):
                pass
        except FileNotFoundError:
            raise InputError(f"there is no {path}; check the name") from None
        except OSError as error:
            raise InputError(f"{path} can't be read ({error.strerror}); check its permissions") from None
        self._path = path
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise InputError(f"{path} can't be read as a video; convert it to MP4 or AVI, or name a folder of images")
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        fps = fps if 0 < fps <= 1000 else 25.0
        self.source = str(path)
        self.interval_s = 1 / fps
        self.settings: Mapping[str, Setting] = {
            "width": int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            "height": int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            "fps": fps,
        }

    def grab(self) -> bool:
        """Go to the next frame; False at the end."""
        return self._capture.grab()

    def retrieve(self) -> Image:
        """Decode the frame; raises InputError when it can't be."""
        try:
            had, image = self._capture.retrieve()
        except cv2.error:
            had = False
        if not had:
            raise InputError(f"{self._path} has a damaged frame; convert the video again")
        return np.ascontiguousarray(image, np.uint8)

    def close(self) -> None:
        """Close the file."""
        self._capture.release()
