"""The camera `rtsp://`: network cameras, read by the FFmpeg that OpenCV brings along."""

import os
import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import cv2
import numpy as np

from edge_app.cameras import Camera, Setting, live_only
from edge_app.cameras.reading import Device, LiveCamera
from edge_app.cameras.uris import without_secrets
from edge_app.errors import CameraError, InputError
from edge_app.opencv import SILENT, set_log_level
from edge_app.preprocessing import Image

# OpenCV reads these when it opens a stream. Over UDP, lost packets would tear pictures that nothing marks as damaged.
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def open_uri(
    uri: str,
    *,
    every_frame: bool,
    open_timeout_s: float,
    read_timeout_s: float,
    on_event: Callable[[str], None],
) -> Camera:
    """Open `rtsp://USER:PASSWORD@HOST:554/PATH`, over TCP; what follows the host is the camera's own.

    The password is in no message and not in `Frame.source`. Raises CameraError when the URI is wrong, or when the
    camera can't be reached, refuses, or gives no picture in time.
    """
    source = without_secrets(uri)
    try:
        parts = urlsplit(uri)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        has_host = False
    if not has_host or re.search(r"[\s\x00-\x1f]", uri):
        raise CameraError(f"{source!r} names no network camera; write rtsp://HOST/PATH, as the camera's manual has it")
    if every_frame:
        raise live_only(source)
    return LiveCamera(
        source,
        lambda: RtspDevice(uri, source, open_timeout_s, read_timeout_s),
        open_timeout_s=open_timeout_s,
        read_timeout_s=read_timeout_s,
        on_event=on_event,
    )


class RtspDevice(Device):
    """An open RTSP stream."""

    def __init__(self, uri: str, source: str, open_timeout_s: float, read_timeout_s: float) -> None:
        """Open it; raises CameraError, for which FFmpeg tells no reason."""
        set_log_level(SILENT)
        self.source = source
        limits = {
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: open_timeout_s,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC: read_timeout_s,
        }
        settings = [number for key, seconds in limits.items() for number in (key, max(round(1000 * seconds), 1))]
        self._capture = cv2.VideoCapture(uri, cv2.CAP_FFMPEG, settings)
        if not self._capture.isOpened():
            raise CameraError(
                f"{source} gives no stream; check its address, user, password and path (a browser or VLC shows them)"
            )
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.settings: Mapping[str, Setting] = {
            "width": int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            "height": int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        } | ({"fps": fps} if 0 < fps <= 1000 else {})

    def grab(self) -> bool:
        """Wait for the next picture; raises CameraError when the stream has ended or is silent."""
        if not self._capture.grab():
            raise CameraError(f"{self.source} gives no more pictures; check its network and power")
        return True

    def retrieve(self) -> Image:
        """Return the picture; raises InputError when it can't be decoded."""
        try:
            had, pixels = self._capture.retrieve()
        except cv2.error:
            had = False
        if not had:
            raise InputError("its picture was damaged on the way; check the network")
        return np.ascontiguousarray(pixels, np.uint8)

    def close(self) -> None:
        """Leave the stream."""
        self._capture.release()
