"""The camera `v4l2://`: USB microscope cameras and webcams, through the kernel's Video4Linux."""

import errno
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge_app.cameras import Camera, CameraInfo, Control, Setting, live_only, v4l2_ioctl
from edge_app.cameras.reading import Device, LiveCamera
from edge_app.cameras.uris import option_forms, uri_options, uri_path
from edge_app.cameras.v4l2_controls import described, is_usable, name_of, native_value
from edge_app.errors import CameraError, InputError
from edge_app.images import decode_image
from edge_app.opencv import SILENT, set_log_level
from edge_app.preprocessing import Image

OPTIONS = {
    "width": "pixels, 16 to 16384, with height",
    "height": "pixels, 16 to 16384, with width",
    "fps": "frames a second, above 0 and at most 1000",
    "fourcc": "four characters, such as MJPG or YUYV",
}
JPEG = ("MJPG", "JPEG")
WAIT_S = 0.2
SETTINGS_AGE_S = 1.0  # what an automatic sets is read again after so long
VIDEO_MAJOR = 81  # the kernel's number for video devices
_NO_CAMERA = (errno.EINVAL, errno.ENODEV, errno.ENOENT, errno.ENOTTY, errno.ENXIO)


@dataclass(frozen=True)
class Wish:
    """What a URI asks of the device; None leaves it to the device. size: width and height in pixels."""

    size: tuple[int, int] | None = None
    fps: float | None = None
    fourcc: str | None = None


def open_uri(
    uri: str,
    *,
    every_frame: bool,
    open_timeout_s: float,
    read_timeout_s: float,
    on_event: Callable[[str], None],
) -> Camera:
    """Open `v4l2:///dev/video0?width=1280&height=960&fps=30&fourcc=MJPG`, in which all options may be left out.

    Where a size is asked for without a format, MJPG is taken if the device has it: USB 2 carries raw pictures of such
    sizes at few frames a second. Where no size is asked for, OpenCV's is: 640 × 480. Raises CameraError when the URI
    is wrong, or when the device can't be opened, is in use, gives no picture, or gives another size or format than
    asked for.
    """
    path, wish = uri_path(uri), _wish(uri)
    if every_frame:
        raise live_only(uri)
    return LiveCamera(
        uri,
        lambda: V4l2Device(uri, path, wish),
        open_timeout_s=open_timeout_s,
        read_timeout_s=read_timeout_s,
        on_event=on_event,
    )


def list_devices() -> list[CameraInfo]:
    """Return the V4L2 devices that can capture pictures, in the order of their numbers."""
    cameras = []
    for path in sorted(Path("/dev").glob("video[0-9]*"), key=lambda path: (len(path.name), path.name)):
        uri = f"v4l2://{path}"
        try:
            with _opened(path) as descriptor:
                name, captures = v4l2_ioctl.card(descriptor)
                if captures:
                    offered = tuple(described(each) for each in v4l2_ioctl.controls(descriptor) if is_usable(each))
                    cameras.append(CameraInfo(uri, name, v4l2_ioctl.formats(descriptor), offered))
        except OSError as error:
            if error.errno not in _NO_CAMERA:
                cameras.append(CameraInfo(uri, path.name, problem=_reason(path, error)))
    return cameras


class V4l2Device(Device):
    """An open V4L2 device."""

    interval_s = 0.0  # the camera sets the pace

    def __init__(self, uri: str, path: Path, wish: Wish) -> None:
        """Open it; raises the CameraError that says why it can't be had."""
        set_log_level(SILENT)  # the errors here say it better
        self._capture = cv2.VideoCapture()
        self.source = uri
        self._path = path
        self.settings: Mapping[str, Setting] = {}
        try:
            with _opened(path) as descriptor:
                name, captures = v4l2_ioctl.card(descriptor)
                if not captures:
                    raise CameraError(f"{path} gives no pictures by itself; `leukoscope cameras` lists those that do")
                fourcc = wish.fourcc or _compressed(descriptor, wish)
                if not self._capture.open(str(path), cv2.CAP_V4L2):
                    raise OSError(errno.EBUSY, "") if v4l2_ioctl.is_busy(descriptor) else self._lost()
                _ask_for(self._capture, wish, fourcc)
                self.settings = {"camera": name} | _given(self._capture)
                self._read_controls(descriptor)
        except OSError as error:
            self._capture.release()
            raise CameraError(_reason(path, error)) from None
        self._is_jpeg = self.settings["fourcc"] in JPEG
        given = self.settings["width"], self.settings["height"]
        if (wish.size and given != wish.size) or (fourcc and self.settings["fourcc"] != fourcc):
            self._capture.release()
            raise CameraError(
                f"{path} gives {given[0]} × {given[1]} {self.settings['fourcc']}, not what was asked for; "
                "`leukoscope cameras` lists its sizes and formats"
            )

    def grab(self) -> bool | None:
        """Wait for the next picture, None when it has not come within `WAIT_S`; raises CameraError when lost.

        The wait is short so that closing is prompt; `VideoCapture.grab` alone may take 10 s.
        """
        started_s = time.monotonic()
        try:
            ready = cv2.VideoCapture.waitAny([self._capture], int(WAIT_S * 1e9))[1]
        except cv2.error:
            ready = []
        if len(ready):
            if self._capture.grab():
                if self._is_automatic and time.monotonic() > self._read_s + SETTINGS_AGE_S:
                    self.controls()
                return True
        elif time.monotonic() - started_s >= WAIT_S / 2:
            return None
        raise self._lost()

    def retrieve(self) -> Image:
        """Return the picture; raises InputError when it is damaged."""
        try:
            had, pixels = self._capture.retrieve()
            if had and self._is_jpeg:  # OpenCV's capture would hand out damaged pictures
                return decode_image(pixels.tobytes(), self.source)
        except (cv2.error, InputError):
            had = False
        if not had:
            raise InputError("its picture was damaged on the way; check the cable")
        return np.ascontiguousarray(pixels, np.uint8)

    def close(self) -> None:
        """Let the device go."""
        self._capture.release()

    def controls(self) -> tuple[Control, ...]:
        """Return what can be set, and bring `settings` up to date."""
        try:
            with _opened(self._path) as descriptor:
                return self._read_controls(descriptor)
        except OSError as error:
            raise CameraError(_reason(self._path, error)) from None

    def set_control(self, control: Control, value: Setting) -> None:
        """Set a control; raises CameraError when the camera refuses."""
        native = self._natives[control.name]
        try:
            with _opened(self._path) as descriptor:
                v4l2_ioctl.set_control(descriptor, native.id, native_value(native, value))
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.ENOENT, errno.ENXIO):
                raise CameraError(_reason(self._path, error)) from None
            raise CameraError(f"the camera refuses {control.name} = {value} ({error.strerror}); set another") from None

    def _read_controls(self, descriptor: int) -> tuple[Control, ...]:
        natives = v4l2_ioctl.controls(descriptor)
        every = {name_of(native): described(native) for native in natives}
        self._natives = {name_of(native): native for native in natives if is_usable(native)}
        self._is_automatic = any(control.governed_by for control in every.values())
        self._read_s = time.monotonic()
        self.settings = {**self.settings, **{name: control.value for name, control in every.items()}}
        return tuple(every[name] for name in self._natives)

    def _lost(self) -> CameraError:
        """Return why the device gives no pictures, as far as it can be told."""
        try:
            with _opened(self._path) as descriptor:
                v4l2_ioctl.card(descriptor)
        except OSError as error:
            return CameraError(_reason(self._path, error))
        return CameraError(
            f"{self._path} gives no pictures; plug it into another USB port, or ask for a smaller size or another "
            "format (`leukoscope cameras` lists them)"
        )


def _wish(uri: str) -> Wish:
    """Return what a URI's options ask for; raises CameraError for a value out of range."""
    options = uri_options(uri, OPTIONS)
    try:
        width, height = int(options.get("width", "16")), int(options.get("height", "16"))
        fps = float(options.get("fps", "1"))
    except ValueError:
        width = height = 0
        fps = 0.0
    fourcc = options.get("fourcc")
    sizes_fit = 16 <= width <= 16384 and 16 <= height <= 16384 and ("width" in options) == ("height" in options)
    if not sizes_fit or not 0 < fps <= 1000 or not re.fullmatch(r"[!-~]{3,4}", fourcc or "MJPG"):
        raise CameraError(f"{uri!r} has options out of range: {option_forms(OPTIONS)}")
    return Wish(
        (width, height) if "width" in options else None,
        fps if "fps" in options else None,
        fourcc,
    )


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a video device and yield its descriptor; raises OSError."""
    status = path.stat()
    if not stat.S_ISCHR(status.st_mode) or os.major(status.st_rdev) != VIDEO_MAJOR:
        raise OSError(errno.ENOTTY, "")
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _compressed(descriptor: int, wish: Wish) -> str | None:
    """Return MJPG where the device has it at the size that is asked for."""
    formats = v4l2_ioctl.formats(descriptor) if wish.size else ()
    offered = any(each.fourcc == "MJPG" and (each.width, each.height) == wish.size for each in formats)
    return "MJPG" if offered else None


def _ask_for(capture: cv2.VideoCapture, wish: Wish, fourcc: str | None) -> None:
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # no queue of old pictures in the driver
    if fourcc:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*fourcc.ljust(4)))
    if wish.size:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, wish.size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, wish.size[1])
    if wish.fps:
        capture.set(cv2.CAP_PROP_FPS, wish.fps)
    if _fourcc(capture) in JPEG:
        capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)


def _given(capture: cv2.VideoCapture) -> dict[str, Setting]:
    return {
        "width": int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        "height": int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        "fps": capture.get(cv2.CAP_PROP_FPS),
        "fourcc": _fourcc(capture),
    }


def _fourcc(capture: cv2.VideoCapture) -> str:
    return int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True).decode("latin-1").strip()


def _reason(path: Path, error: OSError) -> str:
    """Return why the system does not give a device, and what to do."""
    if error.errno == errno.ENOENT:
        return f"there is no {path}; plug the camera in (`leukoscope cameras` lists those that are there)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{path} may not be used by you; run `sudo usermod -aG video $USER`, then log out and in again"
    if error.errno == errno.EBUSY:
        return f"{path} is used by another program; close that one"
    if error.errno in (errno.ENODEV, errno.ENXIO):
        return f"{path} is not connected any more; check its cable"
    if error.errno in (errno.EINVAL, errno.ENOTTY):
        return f"{path} is not a camera; `leukoscope cameras` lists those that are there"
    return f"{path} can't be opened ({error.strerror}); plug the camera out and in again"
