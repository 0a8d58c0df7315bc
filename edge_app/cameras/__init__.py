"""Cameras named by a URI: each gives frames, and none can hang the program that reads it."""

import importlib
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Literal, Protocol, Self, cast

from edge_app.cameras.uris import SCHEMES, source_uri
from edge_app.errors import CameraError
from edge_app.preprocessing import Image

Setting = bool | int | float | str
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frame:
    """One picture and how it was had.

    image: uint8 [h, w, 3], BGR.
    sequence: from 0; counts every frame that the source gave, those that were dropped too.
    monotonic_ns: `time.monotonic_ns()` when the frame was had, before it was decoded.
    captured_at: wall clock at that moment, UTC, aware.
    source: the camera's URI, or for images and videos the file's path.
    grab_ms: milliseconds that reading and decoding took, without the wait for the camera to have a frame.
    settings: what the device reports of itself: width, height, fps, fourcc, and by the names of its controls the values
        in force (exposure_us, gain, …); numbers are finite.
    """

    image: Image
    sequence: int
    monotonic_ns: int
    captured_at: datetime
    source: str
    grab_ms: float
    settings: Mapping[str, Setting]


@dataclass(frozen=True)
class Control:
    """Something of a camera that can be set while it runs.

    name: the same for all cameras where they have it: auto_exposure, exposure_us, gain, auto_white_balance,
        white_balance_k, red_gain, blue_gain, brightness, contrast, saturation, sharpness, …
    minimum, maximum, step: of an int or float; step 0 is any. A bool has 0, 1, 1; a menu counts its choices.
    default, value: bool, int, float, or of a menu one of `choices`. value is the one in force when it was asked.
    unit: "µs", "K", "×", or empty where the camera's numbers have none.
    governed_by: name of the automatic that sets this control now; it can be set once that one is off.
    """

    name: str
    kind: Literal["bool", "int", "float", "menu"]
    minimum: float
    maximum: float
    step: float
    default: Setting
    value: Setting
    unit: str = ""
    choices: tuple[str, ...] = ()
    governed_by: str | None = None

    def accept(self, value: Setting) -> Setting:
        """Return a value as this control's kind has it; raises CameraError when it can't be set to that."""
        if self.governed_by:
            raise CameraError(f"{self.name} is set by the camera itself; switch {self.governed_by} off first")
        if self.kind == "menu" and value in self.choices:
            return value
        if self.kind == "bool" and value in (0, 1):
            return bool(value)
        if self.kind in ("int", "float") and isinstance(value, int | float) and not isinstance(value, bool):
            whole = math.isfinite(value) and value == int(value)
            if self.minimum <= value <= self.maximum and (whole or self.kind == "float"):
                return int(value) if self.kind == "int" else float(value)
        raise CameraError(f"{self.name} can't be {value!r}; it takes {self._range()}")

    def _range(self) -> str:
        if self.kind == "menu":
            return "one of " + ", ".join(self.choices)
        if self.kind == "bool":
            return "true or false"
        kind = "whole numbers" if self.kind == "int" else "numbers"
        return f"{kind} from {self.minimum:.10g} to {self.maximum:.10g} {self.unit}".rstrip()


class Camera(ABC):
    """An open source of frames: a context manager, and an iterable in which each frame comes once.

    ordered: each frame is given, and waits until it is taken; whoever reads ahead must not drop any. Otherwise the
        newest frame wins.
    """

    ordered: bool = False

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Yield frames until the source ends or the camera is closed."""

    @abstractmethod
    def close(self) -> None:
        """End the iteration; may be called from another thread or a signal handler, and more than once."""

    def controls(self) -> tuple[Control, ...]:
        """Return what can be set, with the values in force; empty where nothing can.

        May be called from another thread than the one that iterates, and answers within the read timeout: of a camera
        that is lost, with what it last was.
        """
        return ()

    def set_control(self, name: str, value: Setting) -> Control:  # noqa: ARG002
        """Set a control, and return it as it is then; from any thread, as `controls`.

        To lock exposure or white balance, switch auto_exposure or auto_white_balance off: the camera keeps the values
        it had. What was set is set again when a lost camera comes back. Raises CameraError when the camera has no such
        control, the value is out of range or refused, or the camera is lost.
        """
        raise no_control(name, self.controls())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Format:
    """A picture format of a camera; size in pixels, fps the highest frame rate, or None where it is not told."""

    fourcc: str
    width: int
    height: int
    fps: float | None


@dataclass(frozen=True)
class CameraInfo:
    """A camera of this device; `problem` says what to do where it can't be asked for formats and controls."""

    uri: str
    name: str
    formats: tuple[Format, ...] = ()
    controls: tuple[Control, ...] = ()
    problem: str | None = None


class Opener(Protocol):
    """What the module of a scheme gives as `open_uri`."""

    def __call__(
        self,
        uri: str,
        *,
        every_frame: bool,
        open_timeout_s: float,
        read_timeout_s: float,
        on_event: Callable[[str], None],
    ) -> Camera:
        """Open the camera; raises CameraError or InputError."""


def open_camera(
    source: str,
    *,
    every_frame: bool = False,
    open_timeout_s: float = 10,
    read_timeout_s: float = 5,
    on_event: Callable[[str], None] = _logger.warning,
) -> Camera:
    """Open a camera; use the result in a `with`.

    source: a URI (`v4l2:///dev/video0?width=1280&height=960`, `file:///PATH`, `demo:`), a path of an image, a folder, a
        video or a device, or a number (`0` is /dev/video0).
    every_frame: give each frame of a video or of `demo:` as fast as it is taken; otherwise these play at their own rate
        and the newest frame wins, as it always does on a live camera. Images are never dropped.
    open_timeout_s, read_timeout_s: seconds until a camera that does not answer counts as lost.
    on_event: gets one line whenever a camera is lost or back, or a picture is left out.

    Raises CameraError when the source has an unknown form or the camera can't be opened, and InputError when a file
    can't be used. A live camera that is lost later is not an error: it is reported and comes back by itself.
    """
    if not 0 < open_timeout_s <= 3600 or not 0 < read_timeout_s <= 3600:
        raise CameraError("a camera's time limits must be above 0 and at most 3600 seconds")
    uri = source_uri(source)
    module = importlib.import_module(SCHEMES[uri.partition(":")[0]])
    opener = cast(Opener, module.open_uri)
    return opener(
        uri,
        every_frame=every_frame,
        open_timeout_s=open_timeout_s,
        read_timeout_s=read_timeout_s,
        on_event=on_event,
    )


def list_cameras() -> list[CameraInfo]:
    """Return the cameras of this device that can give pictures; a library that fails hides none of the others'."""
    from edge_app.cameras.gstreamer import list_csi
    from edge_app.cameras.picamera2 import list_picamera2
    from edge_app.cameras.v4l2 import list_devices

    found: list[CameraInfo] = []
    for name, listed in {"picamera2:": list_picamera2, "csi:": list_csi, "v4l2:": list_devices}.items():
        try:
            found += listed()
        except (CameraError, OSError, RuntimeError) as error:
            found.append(CameraInfo(name, name, problem=f"its cameras can't be listed ({error}); check it by itself"))
    return found


def live_only(source: str) -> CameraError:
    """Return the error for a live camera of which every frame is asked for."""
    return CameraError(f"{source} is live, so its newest frame wins; every frame can be had from a video or demo:")


def no_control(name: str, controls: tuple[Control, ...]) -> CameraError:
    """Return the error for a control that a camera has not."""
    names = ", ".join(control.name for control in controls) or "none; set it at the camera or in its pipeline"
    return CameraError(f"this camera has no control {name!r}; it has {names}")
