"""The cameras `gst:` and `csi://`: GStreamer pipelines, run by gst-launch-1.0, whose pictures come through a pipe."""

import fcntl
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from fractions import Fraction
from select import POLLIN, poll

import numpy as np

from edge_app.cameras import Camera, CameraInfo, Setting, live_only
from edge_app.cameras.reading import Device, LiveCamera
from edge_app.cameras.uris import option_forms, uri_options, without_secrets
from edge_app.errors import CameraError
from edge_app.preprocessing import Image

CSI_OPTIONS = {
    "width": "pixels, 16 to 16384",
    "height": "pixels, 16 to 16384",
    "fps": "whole frames a second, 1 to 1000",
    "exposure_us": "microseconds, 1 to 10000000; automatic where it is left out",
    "gain": "1 to 1000; automatic where it is left out",
    "wbmode": "white balance as nvarguscamerasrc numbers it, 0 (off) to 9; 1 is automatic",
}
CSI_RANGES = {
    "width": (16, 16384),
    "height": (16, 16384),
    "fps": (1, 1000),
    "exposure_us": (1, 10_000_000),
    "gain": (1, 1000),
    "wbmode": (0, 9),
}
INSTALL = "sudo apt install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
WAIT_S = 0.2
END_S = 3  # until a pipeline that was asked to end is killed
MOST_BYTES = 1 << 30  # of a frame
LONGEST_LINE = 1 << 16
_PIPE_BYTES = 1 << 20  # Linux's largest for a user; its 64 KiB cost many wake-ups a frame
_CAPS = re.compile(r"GstFdSink:leukoscope\.GstPad:sink: caps = video/x-raw,(.*)")
_NUMBER = re.compile(r"\b(width|height|framerate)=\((?:int|fraction)\)(\d+(?:/[1-9]\d*)?)")
_PROBLEM = re.compile(r"(?:WARNING: erroneous pipeline|ERROR(?:: from element \S+)?): (.*)")


def open_uri(
    uri: str,
    *,
    every_frame: bool,
    open_timeout_s: float,
    read_timeout_s: float,
    on_event: Callable[[str], None],
) -> Camera:
    """Open `gst:PIPELINE`, or `csi://0?width=1280&height=720&fps=30`, a Jetson's camera.

    PIPELINE is what gst-launch-1.0 takes, up to the element that gives raw pictures, and no URI code: `gst:v4l2src
    device=/dev/video0 ! jpegdec`. One that reads no camera plays as fast as it can, unless it has `identity sync=true`.
    It may run any element and so read and write any file of the user: take it from the command line or the settings
    only, never from a request.

    Raises CameraError when gst-launch-1.0 is missing, or for a pipeline that it refuses.
    """
    pipeline = csi_pipeline(uri) if uri.startswith("csi:") else uri.partition(":")[2]
    if every_frame:
        raise live_only(f"{uri.partition(':')[0]}:")
    try:
        elements = shlex.split(pipeline)
    except ValueError as error:
        raise CameraError(f"the pipeline has a quote or backslash that is not closed ({error}); close it") from None
    if not elements:
        raise CameraError("gst: names no pipeline; write for example gst:v4l2src device=/dev/video0")
    source = without_secrets(uri)
    return LiveCamera(
        source,
        lambda: PipelineDevice(source, elements),
        open_timeout_s=open_timeout_s,
        read_timeout_s=read_timeout_s,
        on_event=on_event,
    )


def csi_pipeline(uri: str) -> str:
    """Return the pipeline of `csi://SENSOR`, as NVIDIA's "Accelerated GStreamer" describes it; raises CameraError."""
    options = uri_options(uri, CSI_OPTIONS)
    sensor = re.fullmatch(r"csi://(\d{1,2})", uri.partition("?")[0])
    numbers = {"width": 1280, "height": 720, "fps": 30} | {
        name: int(text) if re.fullmatch(r"\d{1,9}", text) else -1 for name, text in options.items()
    }
    in_range = all(CSI_RANGES[name][0] <= number <= CSI_RANGES[name][1] for name, number in numbers.items())
    if not sensor or not in_range:
        forms = option_forms(CSI_OPTIONS)
        raise CameraError(f"{uri!r} is no camera; write csi://0 or csi://1, with whole numbers: {forms}")
    source = f"nvarguscamerasrc sensor-id={int(sensor[1])}"
    if exposure_us := numbers.get("exposure_us"):
        source += f' exposuretimerange="{exposure_us * 1000} {exposure_us * 1000}"'  # nanoseconds
    if gain := numbers.get("gain"):
        source += f' gainrange="{gain} {gain}"'
    if "wbmode" in numbers:
        source += f" wbmode={numbers['wbmode']}"
    caps = f"width={numbers['width']},height={numbers['height']},framerate={numbers['fps']}/1,format=NV12"
    return f"{source} ! video/x-raw(memory:NVMM),{caps} ! nvvidconv ! video/x-raw,format=BGRx"


def list_csi() -> list[CameraInfo]:
    """Return `csi://0` where GStreamer has NVIDIA's source; which connectors have a camera it does not tell."""
    try:
        command = ["gst-inspect-1.0", "--exists", "nvarguscamerasrc"]
        known = subprocess.run(command, capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [CameraInfo("csi://0", "camera connector of the Jetson")] if known.returncode == 0 else []


class PipelineDevice(Device):
    """A running gst-launch-1.0, which writes BGR pictures into one pipe, and what it says of them into another."""

    def __init__(self, source: str, elements: list[str]) -> None:
        """Start it; raises CameraError when it is not installed. What the pipeline lacks shows at the first `grab`."""
        self.source = source
        self.settings: Mapping[str, Setting] = {}
        self._width = self._stride = 0  # pixels, bytes; not known yet
        self._buffer = bytearray()
        self._filled = 0
        self._line = b""
        self._problem = ""
        self._is_silent = False
        self._messages, says = os.pipe()
        self._pictures, shows = os.pipe()
        tail = ["!", "videoconvert", "!", "video/x-raw,format=BGR", "!", "fdsink", "name=leukoscope", f"fd={shows}"]
        command = ["gst-launch-1.0", "--verbose", "--", *elements, *tail]
        try:
            fcntl.fcntl(self._pictures, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=says,
                stderr=says,
                pass_fds=[shows],
                start_new_session=True,  # Ctrl-C is for us; and the whole group can be ended
            )
        except OSError as error:
            os.close(self._messages)
            os.close(self._pictures)
            if isinstance(error, FileNotFoundError):
                raise CameraError(f"gst-launch-1.0 is missing; run `{INSTALL}`") from None
            raise CameraError(f"gst-launch-1.0 can't be started ({error.strerror}); close other programs") from None
        finally:
            os.close(says)
            os.close(shows)
        os.set_blocking(self._messages, False)
        os.set_blocking(self._pictures, False)

    def grab(self) -> bool | None:
        """Read on in the picture that is coming; False when the pipeline has come to its end."""
        deadline_s = time.monotonic() + WAIT_S
        if self._filled == len(self._buffer):
            self._filled = 0
        while (left_s := deadline_s - time.monotonic()) > 0:
            # pictures wait in their pipe until it is known how large they are
            if self._is_silent and not self._width:
                return self._end()
            ready = poll()
            if not self._is_silent:
                ready.register(self._messages, POLLIN)
            if self._width:
                ready.register(self._pictures, POLLIN)
            descriptors = [descriptor for descriptor, _ in ready.poll(1000 * left_s)]
            if self._messages in descriptors:
                self._listen()
            if self._pictures in descriptors:
                count = os.readv(self._pictures, [memoryview(self._buffer)[self._filled :]])
                self._filled += count
                if not count:
                    return self._end()
                if self._filled == len(self._buffer):
                    return True
        return None

    def retrieve(self) -> Image:
        """Return the picture."""
        rows = np.frombuffer(self._buffer, np.uint8).reshape(-1, self._stride)
        return np.array(rows[:, : 3 * self._width].reshape(len(rows), self._width, 3))

    def close(self) -> None:
        """End the pipeline and all that it started; the pipes stay open until then, so that it can end in order."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                self._signal(number)
                try:
                    self._process.wait(END_S)
                except subprocess.TimeoutExpired:
                    continue
            break
        self._signal(signal.SIGKILL)  # what it may have left in its group
        self._process.wait()
        os.close(self._messages)
        os.close(self._pictures)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _listen(self) -> None:
        """Read what gst-launch-1.0 says; raises CameraError when the size of the pictures changes."""
        text = os.read(self._messages, 1 << 16)
        self._is_silent = not text
        *lines, self._line = (self._line + text).split(b"\n")
        self._line = self._line[-LONGEST_LINE:]
        for line in (each.decode(errors="replace").strip() for each in lines):
            if caps := _CAPS.search(line):
                self._measure(dict(_NUMBER.findall(caps[1])))
            if problem := _PROBLEM.match(line):
                self._problem = self._problem or problem[1]  # the first one is the cause of the others

    def _measure(self, caps: Mapping[str, str]) -> None:
        """Take the size of the pictures from the caps that GStreamer has agreed on."""
        height, width = int(caps["height"]), int(caps["width"])
        stride = (3 * width + 3) // 4 * 4  # GStreamer's rows begin at multiples of 4 bytes
        if self._width and (width, height * stride) != (self._width, len(self._buffer)):
            raise CameraError(f"its pictures are {width} × {height} pixels of a sudden; fix their size in the pipeline")
        if not 0 < height * stride <= MOST_BYTES:
            raise CameraError(f"its pictures of {width} × {height} pixels are too large; scale them in the pipeline")
        if not self._width:
            self._width, self._stride, self._buffer = width, stride, bytearray(height * stride)
        rate = Fraction(caps.get("framerate", "0"))
        self.settings = {"width": width, "height": height} | ({"fps": float(rate)} if rate else {})

    def _end(self) -> bool:
        """Return False at the end of the stream; raises CameraError with the reason otherwise."""
        try:
            code = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            raise CameraError(
                "the pipeline gives no more pictures but does not end; look at its last element"
            ) from None
        while not self._is_silent:
            try:
                self._listen()
            except BlockingIOError:
                break
        if code == 0:
            return False
        reason = without_secrets(self._problem or f"exit code {code}")
        raise CameraError(f"the pipeline ended: {reason}; try it with gst-launch-1.0 first")
