"""Reads devices: in order, each frame once; or live, the newest frame wins and a lost camera comes back by itself."""

import itertools
import logging
import math
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import closing, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TypeVar

from edge_app.cameras import Camera, Control, Frame, Setting, no_control
from edge_app.errors import CameraError, InputError
from edge_app.preprocessing import Image

LONGEST_PAUSE_S = 30
# A thread that comes back from OpenCV while Python ends aborts the process, and OpenCV may wait 10 s for a V4L2 device.
LONGEST_CLOSE_S = 12
MAX_HUNG = 3  # connections that may hang at a time before no further one is tried
_T = TypeVar("_T")
_logger = logging.getLogger(__name__)


class Device(ABC):
    """One open connection to a source of frames; only one thread at a time uses it.

    source: what `Frame.source` is for the frame that was last grabbed.
    settings: what `Frame.settings` is made of: numbers that are not finite are left out of it.
    interval_s: seconds between frames where the reader sets the pace; 0 where the device does.
    """

    source: str
    settings: Mapping[str, Setting]
    interval_s: float = 0.0

    @abstractmethod
    def grab(self) -> bool | None:
        """Wait for the next frame; False when the source has ended, None when to ask again as no frame has come yet.

        Raises CameraError when the device is lost.
        """

    @abstractmethod
    def retrieve(self) -> Image:
        """Return the grabbed frame, uint8 [h, w, 3], BGR; raises InputError when this one is damaged."""

    @abstractmethod
    def close(self) -> None:
        """Let the device go."""

    def controls(self) -> tuple[Control, ...]:
        """Return what can be set, with the values in force; raises CameraError when the device is lost."""
        return ()

    def set_control(self, control: Control, value: Setting) -> None:  # noqa: ARG002
        """Set one of `controls()` to a value that it has accepted; raises CameraError when the device refuses it."""
        raise no_control(control.name, ())


class OrderedCamera(Camera):
    """Gives each frame of a device once, in order, as fast as they are taken; for files."""

    ordered = True

    def __init__(self, device: Device, on_event: Callable[[str], None]) -> None:
        self._device = device
        self._in_use = threading.Lock()
        self._on_event = on_event
        self._sequence = itertools.count()
        self._closed = False

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames; a damaged one is reported and left out."""
        while not self._closed:
            try:
                with self._in_use:
                    grabbed = self._device.grab()
                    frame = _frame(self._device, next(self._sequence)) if grabbed else None
            except InputError as error:
                self._on_event(f"left out: {error}")
                continue
            if frame:
                yield frame
            elif grabbed is False:
                return

    def close(self) -> None:
        """End the iteration after the frame at hand."""
        self._closed = True

    def controls(self) -> tuple[Control, ...]:
        """Return what can be set; a file is read in between at most."""
        with self._in_use:
            return self._device.controls()

    def set_control(self, name: str, value: Setting) -> Control:
        """Set a control for the frames after the one at hand."""
        with self._in_use:
            return _set(self._device, name, value)[1][name]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close, and let the device go: here, not in `close`, as another thread may be reading."""
        self.close()
        self._device.close()


class LiveCamera(Camera):
    """Gives the newest frame of a device that a thread reads, and opens the device again when it is lost.

    Limits in time are kept by the thread that takes the frames, so a device that hangs can't hang it. Memory holds one
    frame besides the one being read.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Device],
        *,
        open_timeout_s: float,
        read_timeout_s: float,
        on_event: Callable[[str], None],
    ) -> None:
        """Open the device with `connect`, in a thread; raises what it raises, or CameraError when it takes too long."""
        self._name = name
        self._connect = connect
        self._open_timeout_s = open_timeout_s
        self._read_timeout_s = read_timeout_s
        self._on_event = on_event
        self._news = threading.Condition()  # its lock is reentrant, as a signal handler needs
        self._closed = False
        self._controls: tuple[Control, ...] = ()
        self._wanted: dict[str, Setting] = {}  # what was set, to be set again
        self._readers: list[_Reader] = []
        self._open(first_sequence=0)
        self.controls()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the newest frame each time, waiting for one that was not given yet."""
        while not self._closed:
            try:
                frame = self._take()
            except CameraError as error:
                self._recover(error)
            else:
                if frame is None:
                    return
                yield frame

    def close(self) -> None:
        """End the iteration and tell the threads to end."""
        self._closed = True
        with self._news:
            for reader in self._readers:
                reader.stopped = True
            self._news.notify_all()

    def controls(self) -> tuple[Control, ...]:
        """Return what can be set, asked from the device between two frames."""
        with suppress(CameraError):  # lost, as the iteration reports: what it last was
            self._controls = self._ask(lambda device: device.controls())
        return self._controls

    def set_control(self, name: str, value: Setting) -> Control:
        """Set a control between two frames, and remember it for a device that is lost and comes back."""
        before, after = self._ask(lambda device: _set(device, name, value))
        with self._news:
            self._controls = tuple(after.values())
            self._wanted[name] = value
            for control in after.values():
                if control.governed_by:
                    self._wanted.pop(control.name, None)
                elif control.name in before and before[control.name].governed_by == name:
                    # what the automatic had found is locked with it
                    self._wanted[control.name] = control.value
        return after[name]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close, and wait for the threads; one that hangs in its device is left behind after `LONGEST_CLOSE_S`."""
        self.close()
        deadline_s = time.monotonic() + LONGEST_CLOSE_S
        for reader in self._readers:
            reader.join(max(deadline_s - time.monotonic(), 0))

    def _open(self, first_sequence: int) -> None:
        """Start a reader and wait until it has a frame; raises CameraError when it has not in time."""
        self._readers = [reader for reader in self._readers if reader.is_alive()]
        if len(self._readers) >= MAX_HUNG:
            raise CameraError("the device hangs; unplug it and plug it in again")
        reader = _Reader(
            self._connect, self._news, first_sequence, self._wanted, self._open_timeout_s, self._read_timeout_s
        )
        self._readers.append(reader)
        reader.start()
        with self._news:
            try:
                while not (reader.opened or reader.ended or self._closed):
                    self._wait_for(
                        reader, f"the camera does not answer in {self._open_timeout_s:g} s; check its cable and power"
                    )
            finally:
                reader.stopped = self._closed or not (reader.opened or reader.ended)

    def _take(self) -> Frame | None:
        """Return the newest frame when there is one; None when the source has ended or the camera was closed."""
        reader = self._readers[-1]
        frame = None
        with self._news:
            while not self._closed:
                # What lay here while the device went silent is old, so the silence is looked at first.
                if reader.ended or (reader.newest and not reader.problem and reader.remaining_s() > 0):
                    frame, reader.newest = reader.newest, None
                    break
                self._wait_for(reader, f"no frame came for {self._read_timeout_s:g} s")
            damaged, reader.damaged = reader.damaged, None
        if damaged:
            self._on_event(f"camera {self._name}: frame left out: {damaged}")
        return frame

    def _wait_for(self, reader: "_Reader", late: str) -> None:
        """Wait, holding the lock, for the reader's next news; raises its error, or CameraError when it is late."""
        if reader.problem:
            raise reader.problem
        if reader.remaining_s() <= 0:
            raise CameraError(late)
        self._news.wait(reader.remaining_s())

    def _ask(self, work: Callable[[Device], _T]) -> _T:
        """Have the reader work with its device between two frames; raises what that does, or CameraError when late."""
        lost = CameraError(f"the camera {self._name} does not answer now; try again once it gives pictures")
        answer: Future[_T] = Future()
        with self._news:
            reader = self._readers[-1]
            if reader.stopped or reader.ended or reader.problem:
                raise lost
            reader.requests.append((answer, work))
            self._news.notify_all()
        try:
            return answer.result(self._read_timeout_s)
        except (CancelledError, TimeoutError):
            answer.cancel()
            raise lost from None

    def _recover(self, error: CameraError) -> None:
        """Open the device again and again, with growing pauses, until it is back or the camera is closed."""
        lost_s = time.monotonic()
        for attempt in itertools.count():
            reader = self._readers[-1]
            reader.stopped = True
            pause_s = min(2**attempt, LONGEST_PAUSE_S)
            word = "still lost" if attempt else "lost"
            self._on_event(f"camera {self._name} {word}: {error}; trying again in {pause_s} s")
            with self._news:
                self._news.wait_for(lambda: self._closed, pause_s)
            if self._closed:
                return
            try:
                self._open(first_sequence=reader.sequence)
            except CameraError as again:
                error = again
            else:
                if self._closed:
                    return
                self._on_event(f"camera {self._name} is back after {time.monotonic() - lost_s:.0f} s")
                for problem in self._readers[-1].not_set:
                    self._on_event(f"camera {self._name}: not set again: {problem}")
                return


class _Reader(threading.Thread):
    """Opens a device and reads it until it ends, is lost, or `stopped`; its fields are guarded by `news`."""

    def __init__(
        self,
        connect: Callable[[], Device],
        news: threading.Condition,
        first_sequence: int,
        wanted: Mapping[str, Setting],
        open_timeout_s: float,
        read_timeout_s: float,
    ) -> None:
        super().__init__(name="camera", daemon=True)
        self._connect = connect
        self._news = news
        self._wanted = dict(wanted)
        self._read_timeout_s = read_timeout_s
        self._deadline_s = time.monotonic() + open_timeout_s
        self.stopped = False
        self.sequence = first_sequence
        self.opened = False
        self.ended = False
        self.newest: Frame | None = None
        self.damaged: InputError | None = None
        self.problem: CameraError | InputError | None = None
        self.requests: deque[tuple[Future[Any], Callable[[Device], Any]]] = deque()
        self.not_set: list[CameraError] = []

    def remaining_s(self) -> float:
        """Return the seconds that the device has left to answer; below 0, it is late."""
        return self._deadline_s - time.monotonic()

    def run(self) -> None:
        """Read the device; whatever it raises is kept for the thread that takes the frames."""
        try:
            with closing(self._connect()) as device:
                if self._wanted:
                    self.not_set = _set_again(device, self._wanted)
                self._read(device)
        except (CameraError, InputError) as error:
            with self._news:
                self.problem = error
        except Exception as error:
            # a fault of ours, or of a library: without a problem the source would seem to have come to its end
            _logger.exception("reading a camera failed")
            with self._news:
                self.problem = CameraError(f"it can't be read ({type(error).__name__}: {error}); report this")
        finally:
            with self._news:
                self.ended = self.problem is None
                self._news.notify_all()
                for answer, _ in self.requests:
                    answer.cancel()

    def _read(self, device: Device) -> None:
        due_s = time.monotonic()
        while not self._stopped_before(due_s, device):
            grabbed = device.grab()
            if grabbed is None:
                continue
            if not grabbed:
                return
            frame = damaged = None
            try:
                frame = _frame(device, self.sequence)
            except InputError as error:
                damaged = error
            due_s = max(due_s + device.interval_s, time.monotonic() - device.interval_s)  # late: no burst to catch up
            with self._news:
                self.opened = True
                self.sequence += 1
                if frame:
                    self.newest = frame
                    self._deadline_s = time.monotonic() + device.interval_s + self._read_timeout_s
                else:
                    self.damaged = damaged
                self._news.notify_all()

    def _stopped_before(self, due_s: float, device: Device) -> bool:
        """Answer requests until the next frame is due; True when told to stop."""
        while not self.stopped:
            with self._news:
                self._news.wait_for(lambda: self.stopped or self.requests, max(due_s - time.monotonic(), 0))
                request = self.requests.popleft() if self.requests else None
            if request is None:
                break
            _answer(*request, device)
        return self.stopped


def _answer(answer: Future[_T], work: Callable[[Device], _T], device: Device) -> None:
    """Work, unless nobody waits for it any more; what it raises is raised where the answer is awaited."""
    if answer.set_running_or_notify_cancel():
        try:
            answer.set_result(work(device))
        except Exception as error:
            answer.set_exception(error)


def _set(device: Device, name: str, value: Setting) -> tuple[dict[str, Control], dict[str, Control]]:
    """Set a control and return all of them by name, before and after; raises CameraError when it can't be set."""
    before = {control.name: control for control in device.controls()}
    if name not in before:
        raise no_control(name, tuple(before.values()))
    device.set_control(before[name], before[name].accept(value))
    return before, {control.name: control for control in device.controls()}


def _set_again(device: Device, wanted: Mapping[str, Setting]) -> list[CameraError]:
    """Set what was set before the device was lost, and return what can't be."""
    problems = []
    automatics = {control.name for control in device.controls() if control.kind == "bool"}
    for name in sorted(wanted, key=lambda name: name not in automatics):  # they decide what else may be set
        try:
            _set(device, name, wanted[name])
        except CameraError as error:
            problems.append(error)
    return problems


def _frame(device: Device, sequence: int) -> Frame:
    """Return the frame that the device has grabbed; raises InputError when it is damaged."""
    monotonic_ns, captured_at = time.monotonic_ns(), datetime.now(UTC)
    image = device.retrieve()
    grab_ms = (time.monotonic_ns() - monotonic_ns) / 1e6
    # drivers report infinities, such as a frame rate of 1/0, and no JSON has these
    settings = {n: value for n, value in device.settings.items() if isinstance(value, str) or math.isfinite(value)}
    return Frame(image, sequence, monotonic_ns, captured_at, device.source, grab_ms, settings)
