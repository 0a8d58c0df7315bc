"""The running app: capture, inference and keeping in threads of their own, none of which waits for another.

The camera's newest frame goes to whoever wants it (`frames`): the worker that judges, and the view that is looked at.
The newest verdict goes to `judged`. Memory holds one frame and one verdict at each of these places, and a few that wait
for the disk. A worker that hangs in its runtime is left behind and replaced, a few times; then the station gives up and
says so.
"""

import itertools
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from edge_app.cameras import Camera, Control, Frame, Setting
from edge_app.cameras.white_balance import gains_for_neutral
from edge_app.classifier import Classifier
from edge_app.consensus import Voting
from edge_app.errors import CameraError, LeukoscopeError, StationError, StoreError, StoreFullError
from edge_app.newest import Newest
from edge_app.scale import RedCells, Ruler
from edge_app.status import CameraState, Event, Health, Judged, Rate, RecordingState, scale_text
from edge_app.store import Record, Session, Store
from edge_app.view import View

MOST_EVENTS = 50
FRESH_S = 2.0  # a verdict older than this is not what the microscope shows now
WATCH_EVERY_S = 0.5
FORGET_RESTARTS_S = 3600
LONGEST_PAUSE_S = 30
MOST_WAITING = 4  # fields that are to be kept: a frame of 12 megapixels takes 50 MB
_logger = logging.getLogger(__name__)


class Station:
    """A camera, a classifier and a record store at work; a context manager."""

    def __init__(
        self,
        open_source: Callable[[Callable[[str], None]], Camera],
        load: Callable[[Path], Classifier],
        bundle: Path,
        *,
        source: str = "",
        store: Store | None = None,
        um_per_pixel: float | None = None,
        consensus_frames: int = 15,
        consensus_needed: int = 10,
        auto_capture: bool = False,
        keep_trying: bool = True,
        read_timeout_s: float = 5,
        infer_timeout_s: float = 30,
        most_restarts: int = 3,
        on_judged: Callable[[Judged], None] = lambda _: None,
        on_event: Callable[[str], None] = _logger.warning,
    ) -> None:
        """Prepare a station; nothing is opened before it is entered.

        open_source: opens the camera, given what gets its events. load: loads the classifier of a bundle. keep_trying:
        go on when the camera can't be opened at first. infer_timeout_s: seconds a frame may take to be judged.
        um_per_pixel: what a pixel shows; without it the red cells are measured. most_restarts: how often within an hour
        a hung worker is replaced. on_judged: gets each verdict, in the thread that judges, so it must be quick.
        """
        self.source = source
        self.store = store
        self.um_per_pixel = um_per_pixel
        self.ruler = Ruler(um_per_pixel)
        self._told: RedCells | None = None
        self.session = Session()
        self.auto_capture = auto_capture
        self.events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self.frames: Newest[Frame] = Newest()
        self.judged: Newest[Judged] = Newest()
        self.bundle = bundle
        self._open_source = open_source
        self._load = load
        self.consensus = (consensus_frames, consensus_needed)
        self._voting = Voting(*self.consensus)
        self._keep_trying = keep_trying
        self._read_timeout_s = read_timeout_s
        self._infer_timeout_s = infer_timeout_s
        self._most_restarts = most_restarts
        self._on_judged = on_judged
        self._on_event = on_event
        self._camera: Camera | None = None
        self._camera_ended = False
        self._restarts: list[float] = []
        self._failure: LeukoscopeError | None = None
        self._recording_problem: str | None = None
        self._captured, self._judgements = Rate(), Rate()
        self._to_keep: queue.Queue[Judged] = queue.Queue(MOST_WAITING)
        self._kept: tuple[Voting, int] | None = None  # each voting counts the fields from 0
        self._stopping = threading.Event()
        self._over: queue.SimpleQueue[None] = queue.SimpleQueue()  # a signal handler may put while `wait` gets
        self._changing = threading.Lock()

    def __enter__(self) -> Self:
        """Load the model and start; raises what loading raises."""
        self.classifier = self._load(self.bundle)
        self.view = View(self.frames)
        self._worker = _Worker(self)
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for name, target in (("capture", self._capture), ("watchdog", self._watch), ("keeper", self._keep_fields))
        ]
        for thread in (self._worker, *self._threads):
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop; a worker or a camera that hangs is left behind."""
        self.stop()
        self.view.close()
        for thread in (*self._threads, self._worker):
            thread.join(self._read_timeout_s + 1)

    def stop(self) -> None:
        """End the station; may be called from a signal handler or another thread."""
        self._stopping.set()
        self._over.put(None)
        camera = self._camera
        if camera is not None:
            camera.close()
        self.frames.close()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the source has ended or the station was stopped; raises the error it gave up with."""
        try:
            self._over.put(self._over.get(timeout=timeout_s))  # whoever waits next is told, too
            ended = True
        except queue.Empty:
            ended = False
        if self._failure is not None:
            raise self._failure
        return ended

    def health(self) -> Health:
        """Return how the station is now."""
        frame = self.frames.value
        age_s = (time.monotonic_ns() - frame.monotonic_ns) / 1e9 if frame else None
        if self._camera_ended:
            camera: CameraState = "ended"
        elif self._camera is None or age_s is None:
            camera = "opening"
        else:
            camera = "live" if self._camera.ordered or age_s < self._read_timeout_s else "lost"
        recording: RecordingState = "off" if self.store is None else "ready"
        if self._recording_problem is not None:
            recording = "stopped"
        return Health(
            camera=camera,
            source=self.source,
            frame_age_s=age_s,
            captured_fps=self._captured.per_second(),
            judged_fps=self._judgements.per_second(),
            inferring=(self._worker.is_alive() or self._camera_ended) and self._worker.busy_s() < self._infer_timeout_s,
            restarts=len(self._restarts),
            recording=recording,
            recording_problem=self._recording_problem,
            failure=str(self._failure) if self._failure else None,
        )

    def report(self, text: str) -> None:
        """Keep an event for the page and pass it on."""
        self.events.append(Event(datetime.now(UTC), text))
        self._on_event(text)

    def use_bundle(self, bundle: Path) -> None:
        """Judge with another bundle from the next frame on; raises what loading raises, and all stays as it is."""
        classifier = self._load(bundle)
        with self._changing:
            self.classifier, self.bundle = classifier, bundle
            self._voting = Voting(*self.consensus)
        self.report(f"the model is now {self.classifier.manifest.name}")

    def use_threshold(self, threshold: float | None) -> None:
        """Judge with another decision threshold, above 0 and below 1; None for the bundle's own."""
        with self._changing:
            classifier = self.classifier
            decision = classifier.manifest.decision
            if threshold is not None:
                if decision.positive is None:
                    raise StationError(f"{classifier.manifest.name} names the likeliest class: it has no threshold")
                if not 0 < threshold < 1:
                    raise StationError(f"a threshold lies above 0 and below 1, not at {threshold:g}")
                decision = decision.replace(threshold=threshold)
            classifier.decision = decision
            self._voting = Voting(*self.consensus)

    def start_recording(self, store: Store) -> None:
        """Keep records in this store from now on."""
        self.store = store
        self._recording_problem = None

    def stop_recording(self, problem: str) -> None:
        """Keep no records until there is a store, or room again; report why, once."""
        if self._recording_problem is None:
            self.report(f"recording stopped: {problem}")
        self._recording_problem = problem

    def controls(self) -> tuple[Control, ...]:
        """Return the camera's controls; none while it is not open."""
        return self._camera.controls() if self._camera else ()

    def set_control(self, name: str, value: Setting) -> Control:
        """Set a control of the camera; raises CameraError."""
        if self._camera is None:
            raise CameraError("the camera is not open yet; try again when it shows a picture")
        return self._camera.set_control(name, value)

    def balance_white(self) -> tuple[Control, ...]:
        """Make the background of the frame at hand, an empty field, neutral, and lock it so; returns the controls.

        Raises CameraError when the camera has no colour gains, InputError when the field is not empty.
        """
        frame = self.frames.value
        controls = {control.name: control for control in self.controls()}
        if frame is None or not {"red_gain", "blue_gain"} <= set(controls):
            raise CameraError("this camera has no colour gains; set its white balance by hand and lock it")
        red, blue = gains_for_neutral(frame.image)
        if "auto_white_balance" in controls:
            self.set_control("auto_white_balance", False)
        for name, factor in (("red_gain", red), ("blue_gain", blue)):
            control = controls[name]
            gain = min(max(float(control.value) * factor, control.minimum), control.maximum)
            self.set_control(name, round(gain) if control.kind == "int" else gain)
        return self.controls()

    def capture(self) -> Record:
        """Keep the newest verdict and its frame; returns when it is safe on disk.

        Raises StationError without a fresh verdict or a store, StoreError and StoreFullError when it can't be kept.
        """
        judged = self.judged.value
        if judged is None or time.monotonic_ns() - judged.frame.monotonic_ns > (FRESH_S + self._slowness_s()) * 1e9:
            raise StationError("there is no fresh verdict to keep; wait until the picture is live")
        return self._keep(judged, "button")

    def _slowness_s(self) -> float:
        """Return the seconds that the last verdict took."""
        judged = self.judged.value
        return judged.verdict.times_ms["total"] / 1000 if judged else 0.0

    def _keep(self, judged: Judged, trigger: Literal["button", "auto"]) -> Record:
        if self.store is None:
            raise StationError(
                self._recording_problem or "no records are kept; start the app with its page or with --auto-capture"
            )
        try:
            record = self.store.keep(
                judged.verdict,
                judged.frame.image,
                session=self.session,
                trigger=trigger,
                monotonic_ns=judged.frame.monotonic_ns,
                um_per_pixel=self.um_per_pixel,
            )
        except StoreFullError as error:
            self.stop_recording(str(error))
            raise
        if self._recording_problem is not None:
            self.report("recording goes on")
        self._recording_problem = None
        return record

    def _capture(self) -> None:
        """Read the camera: the body of the capture thread."""
        try:
            camera = self._opened()
            if camera is not None:
                with camera:
                    self._camera = camera
                    if self._stopping.is_set():  # it may have come between opening and here
                        camera.close()
                    for frame in camera:
                        self._captured.count()
                        self.frames.put(frame)
                        if camera.ordered:
                            self.frames.wait_until_taken()
                    self._camera_ended = True
        except LeukoscopeError as error:
            self._failure = error
        except Exception as error:
            # a fault of ours: a thread that ended unseen would leave the page showing an old picture as live
            _logger.exception("capture failed")
            self._failure = StationError(f"capture failed ({type(error).__name__}: {error}); report this")
        self._worker.finish()
        self._over.put(None)

    def _opened(self) -> Camera | None:
        for attempt in itertools.count():
            try:
                return self._open_source(self.report)
            except CameraError as error:
                if not self._keep_trying:
                    raise
                pause_s = min(2**attempt, LONGEST_PAUSE_S)
                self.report(f"{error}; trying again in {pause_s} s")
                if self._stopping.wait(pause_s):
                    return None
        return None

    def _judge(self, classifier: Classifier, frame: Frame, worker: "_Worker") -> None:
        """Judge a frame: the work of the worker, which may have been left behind meanwhile."""
        voting = self._voting
        verdict = classifier.judge(frame, self.ruler)
        if worker is not self._worker:
            return
        if verdict.red_cells and self.ruler.steady and verdict.red_cells != self._told:
            self._told = verdict.red_cells
            self.report(scale_text(verdict.red_cells, self.ruler.given, verdict.fields))
        judged = Judged(frame, verdict, voting.update(verdict.judgement.label, verdict.thumbnail))
        self._judgements.count()
        self.judged.put(judged)
        self._on_judged(judged)
        consensus = judged.consensus
        if self.auto_capture and consensus.steady and consensus.agreed and self._kept != (voting, consensus.field):
            self._kept = voting, consensus.field
            if self._to_keep.full():
                self.report("a field was not kept: the disk is too slow; stay longer at each, or use a faster one")
            else:
                self._to_keep.put(judged)

    def _keep_fields(self) -> None:
        """Keep what is captured automatically, all of it before the end: the body of the keeper thread."""
        while not (self._stopping.is_set() and self._to_keep.empty()):
            try:
                self._keep(self._to_keep.get(timeout=WATCH_EVERY_S), "auto")
            except queue.Empty:
                continue
            except (StationError, StoreError) as error:
                self.report(f"a field was not kept: {error}")

    def _watch(self) -> None:
        """Replace a worker that hangs: the body of the watchdog thread."""
        while not self._stopping.wait(WATCH_EVERY_S):
            worker = self._worker
            if worker.problem is None and worker.busy_s() < self._infer_timeout_s:
                continue
            now = time.monotonic()
            self._restarts = [each for each in self._restarts if now - each < FORGET_RESTARTS_S] + [now]
            said = worker.problem or f"the runtime did not answer in {self._infer_timeout_s:g} s"
            if len(self._restarts) > self._most_restarts:
                self._give_up(f"{said}, after {self._most_restarts} restarts; choose another bundle or runtime")
                return
            self.report(f"{said}; starting it again ({len(self._restarts)} of {self._most_restarts})")
            bundle = self.bundle
            try:
                classifier = self._load(bundle)
            except LeukoscopeError as error:
                self._give_up(str(error))
                return
            with self._changing:
                if bundle == self.bundle:  # else it was switched meanwhile
                    classifier.decision = self.classifier.decision
                    self.classifier = classifier
            self._worker = _Worker(self)
            self._worker.start()

    def _give_up(self, text: str) -> None:
        self._failure = StationError(text)
        self.report(text)
        self._over.put(None)


class _Worker(threading.Thread):
    """Judges the newest frame, again and again; `problem` says why it ended when it should not have."""

    def __init__(self, station: Station) -> None:
        super().__init__(name="worker", daemon=True)
        self._station = station
        self._since: float | None = None
        self._finishing = False
        self.problem: str | None = None

    def busy_s(self) -> float:
        """Return for how many seconds it has been at one frame; 0 when it waits for one."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def finish(self) -> None:
        """Wait until the last frame was judged, as long as the watchdog would."""
        self._finishing = True
        if self.is_alive():
            self.join(self._station._infer_timeout_s)

    def run(self) -> None:
        """Take frames until the station stops, this worker was replaced, or judging fails."""
        station = self._station
        while station._worker is self and not station._stopping.is_set():
            frame = station.frames.take(0.05 if self._finishing else WATCH_EVERY_S)
            if frame is None:
                if self._finishing:
                    return
                continue
            self._since = time.monotonic()
            try:
                station._judge(station.classifier, frame, self)
            except LeukoscopeError as error:
                self.problem = str(error)
                return
            except Exception as error:
                # a fault of ours: a worker that ended unseen would leave the page showing an old verdict as alive
                _logger.exception("judging failed")
                self.problem = f"judging failed ({type(error).__name__}: {error})"
                return
            finally:
                self._since = None
