"""The camera `picamera2://`: the Raspberry Pi's camera connector, through libcamera and its Python library."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from edge_app.cameras import Camera, CameraInfo, Control, Setting, live_only
from edge_app.cameras.picamera2_controls import changes, described, governed, settings_of
from edge_app.cameras.reading import Device, LiveCamera
from edge_app.cameras.uris import option_forms, uri_options
from edge_app.errors import CameraError
from edge_app.preprocessing import Image

OPTIONS = {
    "width": "even pixels, 64 to 16384, with height; 1280 if left out",
    "height": "even pixels, 64 to 16384, with width; 960 if left out",
    "fps": "frames a second, 0.01 to 1000, which then limit the exposure; up to 30 if left out",
    "lores_width": "even pixels, 64 to width, with lores_height: pictures come from the smaller, second output",
    "lores_height": "even pixels, 64 to height",
    "buffers": "pictures in turn, 1 to 32; 4 if left out",
}
INSTALL = (
    "run `sudo apt install python3-picamera2`, and make the virtual environment with "
    "`python3 -m venv --system-site-packages .venv`, as libcamera comes from the system only"
)
WAIT_S = 0.2
LONGEST_FRAME_US = 1_000_000  # where no rate is asked for, an exposure may take so long


@dataclass(frozen=True)
class Wish:
    """What a URI asks of the camera. size, lores: width and height in pixels; fps None leaves it to the exposure."""

    size: tuple[int, int]
    lores: tuple[int, int] | None
    fps: float | None
    buffers: int


def open_uri(
    uri: str,
    *,
    every_frame: bool,
    open_timeout_s: float,
    read_timeout_s: float,
    on_event: Callable[[str], None],
) -> Camera:
    """Open `picamera2://0?width=1280&height=960&fps=30`; the number is that of `rpicam-hello --list-cameras`.

    With lores_width and lores_height, the pictures are those of the image processor's second, smaller output: the
    sensor works as for width and height, with their field of view. Raises CameraError when the URI is wrong, picamera2
    is not installed, or the camera can't be opened, is in use, or gives another size than asked for.
    """
    number, wish = _wish(uri)
    if every_frame:
        raise live_only(uri)
    return LiveCamera(
        uri,
        lambda: Picamera2Device(uri, number, wish),
        open_timeout_s=open_timeout_s,
        read_timeout_s=read_timeout_s,
        on_event=on_event,
    )


def list_picamera2() -> list[CameraInfo]:
    """Return the cameras that libcamera knows, USB cameras left out, as v4l2:// has them; none without picamera2."""
    try:
        library = load_library()
    except CameraError:
        return []
    return [
        CameraInfo(f"picamera2://{number}", str(info.get("Model", info["Id"])))
        for number, info in enumerate(library.global_camera_info())
        if "/usb" not in info["Id"]
    ]


def load_library() -> Any:
    """Return picamera2's class; raises CameraError that says how to install it."""
    try:
        from picamera2 import Picamera2
    except ModuleNotFoundError as error:
        raise CameraError(f"the Python library {error.name} is missing; {INSTALL}") from None
    except (ImportError, ValueError) as error:  # ValueError: compiled for another NumPy
        raise CameraError(
            f"picamera2 can't be loaded ({error}); update the system, or install the numpy that it was built for, "
            "`pip install 'numpy<2'`"
        ) from None
    return Picamera2


class Picamera2Device(Device):
    """An open camera; picamera2 runs it in a thread of its own."""

    def __init__(self, uri: str, number: int, wish: Wish) -> None:
        """Open and start it; raises the CameraError that says why it can't be had."""
        self.source = uri
        self._stream = "lores" if wish.lores else "main"
        self._set: dict[str, Setting] = {}
        self._metadata: Mapping[str, Any] = {}
        self._job: Any = None
        self._request: Any = None
        library = load_library()
        try:
            cameras = library.global_camera_info()
            if number >= len(cameras):
                raise CameraError(
                    f"libcamera finds {len(cameras)} cameras, so there is no picamera2://{number}; check the ribbon "
                    "cable, then `rpicam-hello --list-cameras`"
                )
            self._camera = library(number)
        except (RuntimeError, IndexError) as error:
            raise CameraError(_reason(error)) from None
        try:
            self._start(wish)
        except BaseException:
            self._camera.close()
            raise

    def grab(self) -> bool | None:
        """Wait for the next picture, None when it has not come within `WAIT_S`; raises CameraError when lost."""
        try:
            self._job = self._job or self._camera.capture_request(wait=False)
            self._request = self._job.get_result(timeout=WAIT_S)
        except TimeoutError:
            return None  # the job goes on: another one would take a further picture
        except RuntimeError as error:
            raise CameraError(_reason(error)) from None
        self._job = None
        return True

    def retrieve(self) -> Image:
        """Return the picture, and bring `settings` to what it was taken with."""
        try:
            pixels = self._request.make_array(self._stream)
            self._metadata = self._request.get_metadata()
        finally:
            self._request.release()
            self._request = None
        self.settings = {**self._fixed, **self._set, **settings_of(self._metadata)}
        if self._stream == "lores":  # rows may be padded, those of the colour by half as much
            pixels = cv2.cvtColor(pixels, cv2.COLOR_YUV2BGR_I420)[:, : self._width]
        return np.ascontiguousarray(pixels, np.uint8)

    def close(self) -> None:
        """Let the camera go."""
        if self._request:
            self._request.release()
        with suppress(RuntimeError):  # it is lost: there is nothing more to let go
            if self._job:
                self._camera.cancel_all_and_flush()
            self._camera.close()

    def controls(self) -> tuple[Control, ...]:
        """Return what can be set, with the value that was set, or else the last picture's."""
        return described(self._offered, self._metadata, self._set, self._longest_us)

    def set_control(self, control: Control, value: Setting) -> None:
        """Set a control; the camera needs some frames to follow. Raises CameraError when it refuses."""
        now = {each.name: each.value for each in self.controls()}
        told, fixed = changes(control.name, value, now)
        try:
            self._camera.set_controls(told)
        except RuntimeError as error:
            raise CameraError(f"the camera refuses {control.name} = {value} ({error}); set another") from None
        freed = governed(control.name) if value is True else ()
        self._set = {name: was for name, was in self._set.items() if name not in freed} | fixed

    def _start(self, wish: Wish) -> None:
        from libcamera import ColorSpace

        frame_us = round(1e6 / wish.fps) if wish.fps else None
        self._longest_us = frame_us or LONGEST_FRAME_US
        # older Pis have the second output in YUV only, and OpenCV decodes that of BT.601 with its limited range
        lores = {"format": "YUV420", "size": wish.lores} if wish.lores else None
        space = ColorSpace.Smpte170m() if wish.lores else ColorSpace.Sycc()
        try:
            configuration = self._camera.create_preview_configuration(
                main={"format": "RGB888", "size": wish.size},  # which is B, G, R in memory
                lores=lores,
                buffer_count=wish.buffers,
                controls={"FrameDurationLimits": (frame_us or 33_333, self._longest_us)},
                colour_space=space,
                display=None,
                encode=None,
            )
            self._camera.configure(configuration)
            given = self._camera.camera_configuration()[self._stream]
            if given["size"] != (wish.lores or wish.size):
                raise CameraError(
                    f"{self.source} gives {given['size'][0]} × {given['size'][1]}, not what was asked for; "
                    "`rpicam-hello --list-cameras` lists the sensor's sizes"
                )
            self._width = given["size"][0]
            model = str(self._camera.camera_properties.get("Model", "camera"))
            size = {"width": given["size"][0], "height": given["size"][1]}
            self._offered = dict(self._camera.camera_controls)
            values = {control.name: control.value for control in self.controls()}
            self._fixed: Mapping[str, Setting] = {"camera": model, **size, "format": given["format"], **values}
            self.settings = self._fixed
            self._camera.start()
        except (RuntimeError, ValueError) as error:
            raise CameraError(_reason(error)) from None


def _wish(uri: str) -> tuple[int, Wish]:
    """Return the camera's number and what the options ask for; raises CameraError for a value out of range."""
    options = uri_options(uri, OPTIONS)
    number = re.fullmatch(r"picamera2://(\d{1,2})", uri.partition("?")[0])
    try:
        width, height = int(options.get("width", "1280")), int(options.get("height", "960"))
        lores = int(options.get("lores_width", "64")), int(options.get("lores_height", "64"))
        fps, buffers = float(options.get("fps", "30")), int(options.get("buffers", "4"))
    except ValueError:
        width = height = buffers = 0
        lores, fps = (0, 0), 0.0
    pairs = [("width" in options, "height" in options), ("lores_width" in options, "lores_height" in options)]
    in_range = all(64 <= side <= 16384 and side % 2 == 0 for side in (width, height, *lores))
    in_range = in_range and lores[0] <= width and lores[1] <= height and all(one == other for one, other in pairs)
    if not number or not in_range or not 0.01 <= fps <= 1000 or not 1 <= buffers <= 32:
        forms = option_forms(OPTIONS)
        raise CameraError(f"{uri!r} is no camera or has options out of range; write picamera2://0, with {forms}")
    return int(number[1]), Wish(
        (width, height), lores if "lores_width" in options else None, fps if "fps" in options else None, buffers
    )


def _reason(error: BaseException) -> str:
    """Return why libcamera does not give a camera; picamera2 chains the causes, the first one says most."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    if "busy" in str(error).lower():
        return "the camera is used by another program; close that one (`sudo fuser -v /dev/media*` shows it)"
    return f"libcamera says: {error}; check the ribbon cable and try `rpicam-hello`"
