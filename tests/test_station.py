"""The running app without its page: what happens when a camera, a runtime or a disk fails."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_app.bundle import default_bundle_path, open_bundle, write_bundle
from edge_app.cameras import Camera, Control, Frame, Setting, open_camera
from edge_app.classifier import Classifier
from edge_app.errors import BundleNotFoundError, CameraError, InferenceError, StationError, StoreFullError
from edge_app.preprocessing import Image
from edge_app.runtimes import Executed, Logits
from edge_app.smears import draw_smear
from edge_app.station import FRESH_S, Station
from edge_app.status import Judged
from edge_app.store import Filter, Record, Session, open_store
from tests.waiting import until

FIELD = draw_smear(3, kind="leukaemic", height=480, width=640).image
OTHER = draw_smear(4, kind="healthy", height=480, width=640).image


class Shown(Camera):
    """A live camera that shows whatever `image` is, 100 times a second."""

    ordered = False

    def __init__(self, image: Image = FIELD) -> None:
        self.image = image
        self.closed = threading.Event()
        self.silent = False

    def __iter__(self) -> Iterator[Frame]:
        sequence = 0
        while not self.closed.wait(0.01):
            if self.silent:
                continue
            yield Frame(self.image, sequence, time.monotonic_ns(), datetime.now(UTC), "shown", 0.0, {})
            sequence += 1

    def close(self) -> None:
        self.closed.set()

    def controls(self) -> tuple[Control, ...]:
        return ()

    def set_control(self, name: str, value: Setting) -> Control:
        raise CameraError(f"{name} {value}")


class Played(Shown):
    """A camera that shows each of its pictures once, as fast as they are judged."""

    ordered = True

    def __init__(self, images: Sequence[Image]) -> None:
        super().__init__()
        self.images = images

    def __iter__(self) -> Iterator[Frame]:
        for sequence, image in enumerate(self.images):
            yield Frame(image, sequence, time.monotonic_ns(), datetime.now(UTC), "played", 0.0, {})


class Gained(Shown):
    """A camera with colour gains in whole numbers, as V4L2 has them."""

    def __init__(self, image: Image) -> None:
        super().__init__(image)
        self.gains = {name: Control(name, "int", 0, 255, 1, 100, 100) for name in ("red_gain", "blue_gain")}

    def controls(self) -> tuple[Control, ...]:
        return tuple(self.gains.values())

    def set_control(self, name: str, value: Setting) -> Control:
        self.gains[name] = replace(self.gains[name], value=self.gains[name].accept(value))
        return self.gains[name]


class Stubborn:
    """A runtime that hangs, or fails, from its third picture on."""

    def __init__(self, then: Callable[[], object]) -> None:
        self.then = then
        self.calls = 0

    def infer(self, batch: Image) -> Logits:
        self.calls += 1
        if self.calls >= 3:
            self.then()
        return np.tile(np.array([2.0, -2.0], np.float32), (len(batch), 1))

    def describe(self) -> Executed:
        return Executed("stubborn", "1", "fp32", 1, "CPU")


class Slow:
    """A runtime that takes six times as long as a frame of a camera with 30 a second."""

    def infer(self, batch: Image) -> Logits:
        time.sleep(0.2)
        return np.tile(np.array([2.0, -2.0], np.float32), (len(batch), 1))

    def describe(self) -> Executed:
        return Executed("slow", "1", "fp32", 1, "CPU")


def load(path: Path) -> Classifier:
    return Classifier(open_bundle(path), threads=1)


def loader(then: Callable[[], object], healthy_after: int) -> Callable[[Path], Classifier]:
    """Return a loader whose first classifiers run a stubborn runtime, and the later ones a real one."""
    loaded: list[Classifier] = []

    def loads(path: Path) -> Classifier:
        classifier = load(path)
        if len(loaded) < healthy_after:
            classifier.runtime = Stubborn(then)
        loaded.append(classifier)
        return classifier

    return loads


def station(camera: Camera, loads: Callable[[Path], Classifier] = load, **options: object) -> Station:
    arguments = {"on_event": lambda _: None} | options
    return Station(lambda _: camera, loads, default_bundle_path(), **arguments)  # type: ignore[arg-type]


def test_every_image_of_a_folder_is_judged_in_order_and_then_the_station_ends() -> None:
    seen: list[Judged] = []
    with Station(
        lambda on_event: open_camera("demo:?loops=1", every_frame=True, on_event=on_event),
        load,
        default_bundle_path(),
        on_judged=seen.append,
    ) as running:
        assert running.wait(60)
        assert running.health().camera == "ended"
    assert [each.frame.sequence for each in seen] == list(range(8))
    assert sum(each.verdict.judgement.label == "Cancer" for each in seen) == 4


def test_a_verdict_of_a_slow_model_is_never_older_than_two_inferences() -> None:
    """The newest frame is taken, so that what waits is no older than a frame when its turn comes."""
    seen: list[tuple[Judged, float]] = []

    def on_judged(judged: Judged) -> None:
        seen.append((judged, (time.monotonic_ns() - judged.frame.monotonic_ns) / 1e6))

    def loads(path: Path) -> Classifier:
        classifier = load(path)
        classifier.runtime = Slow()
        return classifier

    with station(Shown(), loads, on_judged=on_judged):
        until(lambda: len(seen) >= 8)
    for judged, age_ms in seen:
        assert age_ms <= 2 * judged.verdict.times_ms["total"]
    sequence = [judged.frame.sequence for judged, _ in seen]
    assert all(later - earlier > 1 for earlier, later in pairwise(sequence))


def test_a_runtime_that_hangs_is_replaced_and_judging_goes_on() -> None:
    release = threading.Event()
    events: list[str] = []
    with station(Shown(), loader(lambda: release.wait(30), 1), infer_timeout_s=0.4, on_event=events.append) as running:
        until(lambda: running.health().restarts == 1)
        frame = running.judged.value
        assert frame is not None
        until(lambda: running.judged.value is not frame)
        assert running.health().ready
        release.set()
    assert any("did not answer in 0.4 s; starting it again (1 of 3)" in text for text in events)


def test_a_runtime_that_fails_on_a_picture_is_replaced_too() -> None:
    def fail() -> None:
        raise InferenceError("the model broke")

    with station(Shown(), loader(fail, 2)) as running:
        until(lambda: running.health().restarts == 2)
        until(lambda: running.health().judged_fps > 0)
        assert any("the model broke" in event.text for event in running.events)


def test_a_fault_of_ours_while_judging_is_told_and_the_worker_replaced() -> None:
    def fail() -> None:
        raise ZeroDivisionError("not foreseen")

    with station(Shown(), loader(fail, 1)) as running:
        until(lambda: running.health().restarts == 1)
        until(lambda: running.health().judged_fps > 0)
        assert any("judging failed (ZeroDivisionError: not foreseen)" in event.text for event in running.events)


def test_a_picture_of_full_purple_is_judged() -> None:
    """A mean over many pixels of 255 may come out a little above 255."""
    purple = np.full((360, 640, 3), (255, 0, 150), np.uint8)
    with station(Shown(purple)) as running:
        until(lambda: running.judged.value)
        assert running.health().restarts == 0


def test_after_too_many_restarts_the_station_gives_up_and_says_why() -> None:
    def fail() -> None:
        raise InferenceError("the model broke")

    with (
        station(Shown(), loader(fail, 99), most_restarts=1) as running,
        pytest.raises(StationError, match="the model broke, after 1 restarts; choose another"),
    ):
        running.wait(30)


def test_a_camera_that_can_not_be_opened_is_tried_again_when_that_is_wanted() -> None:
    tries = []

    def opens(_: Callable[[str], None]) -> Camera:
        tries.append(1)
        if len(tries) == 1:
            raise CameraError("not there yet")
        return Shown()

    with Station(opens, load, default_bundle_path(), on_event=lambda _: None) as running:
        assert running.health().camera == "opening"
        until(lambda: running.health().ready)
    with (
        Station(lambda _: _refuse(), load, default_bundle_path(), keep_trying=False) as running,
        pytest.raises(CameraError, match="not there"),
    ):
        running.wait(30)


def _refuse() -> Camera:
    raise CameraError("not there")


def test_a_camera_that_stops_giving_frames_is_lost_though_the_last_picture_is_still_held() -> None:
    camera = Shown()
    with station(camera, read_timeout_s=0.3) as running:
        until(lambda: running.health().ready)
        camera.silent = True
        until(lambda: running.health().camera == "lost")
        assert not running.health().ready
        time.sleep(FRESH_S)
        with pytest.raises(StationError, match="no fresh verdict"):
            running.capture()
        camera.silent = False
        until(lambda: running.health().ready)


def test_a_bundle_that_can_not_be_used_leaves_the_old_one_at_work(tmp_path: Path) -> None:
    with station(Shown()) as running:
        until(lambda: running.health().ready)
        before = running.classifier
        with pytest.raises(BundleNotFoundError):
            running.use_bundle(tmp_path / "none.leuko")
        assert running.classifier is before
        assert running.bundle == default_bundle_path()


def test_a_threshold_is_in_force_from_the_next_frame_on_and_stands_in_the_verdict() -> None:
    with station(Shown()) as running:
        until(lambda: running.judged.value)
        running.use_threshold(0.999999)
        until(lambda: (shown := running.judged.value) and shown.verdict.threshold == 0.999999)
        running.use_threshold(None)
        until(lambda: (shown := running.judged.value) and shown.verdict.threshold == 0.5)
        with pytest.raises(StationError, match="above 0 and below 1"):
            running.use_threshold(1.0)


def test_a_threshold_stays_in_force_when_the_worker_is_replaced() -> None:
    failing = threading.Event()

    def fail() -> None:
        if failing.is_set():
            raise InferenceError("the model broke")

    with station(Shown(), loader(fail, 1)) as running:
        running.use_threshold(0.9)
        failing.set()
        until(lambda: running.health().restarts == 1)
        before = running.judged.value
        until(lambda: running.judged.value is not before)
        assert running.judged.value
        assert running.judged.value.verdict.threshold == 0.9


def test_a_bundle_that_was_chosen_while_the_worker_is_replaced_is_the_one_in_use(tmp_path: Path) -> None:
    chosen = tmp_path / "chosen.leuko"
    write_bundle(chosen, open_bundle(default_bundle_path()))
    loading, chosen_is_loaded = threading.Event(), threading.Event()
    loaded: list[Classifier] = []

    def loads(path: Path) -> Classifier:
        classifier = load(path)
        if not loaded:
            classifier.runtime = Stubborn(_break)
        elif path != chosen:
            loading.set()
            assert chosen_is_loaded.wait(30)
        loaded.append(classifier)
        return classifier

    with station(Shown(), loads) as running:
        assert loading.wait(30)
        running.use_bundle(chosen)
        wanted = running.classifier
        chosen_is_loaded.set()
        until(lambda: len(loaded) == 3 and running.health().ready)
        assert running.classifier is wanted


def _break() -> None:
    raise InferenceError("the model broke")


def test_a_camera_that_fails_as_nobody_foresaw_ends_the_station_and_is_told() -> None:
    class Faulty(Shown):
        def __iter__(self) -> Iterator[Frame]:
            raise ZeroDivisionError("not foreseen")

    with (
        station(Faulty()) as running,
        pytest.raises(StationError, match=r"capture failed \(ZeroDivisionError: not foreseen\)"),
    ):
        running.wait(10)


def test_a_capture_binds_the_verdict_to_its_own_frame(tmp_path: Path) -> None:
    with open_store(tmp_path, device="bench", min_free_bytes=0) as store:
        with station(Shown(), store=store, um_per_pixel=0.1) as running:
            running.session = Session(slide="S-7", operator="ab")
            until(lambda: running.judged.value)
            record = running.capture()
        assert (record.slide, record.trigger, record.um_per_pixel) == ("S-7", "button", 0.1)
        kept = Filter(slide="S-7")
        assert store.count(kept) == 1


def test_each_steady_field_is_kept_once_by_itself(tmp_path: Path) -> None:
    camera = Shown()
    with (
        open_store(tmp_path, device="bench", min_free_bytes=0) as store,
        station(camera, store=store, auto_capture=True, consensus_frames=5, consensus_needed=3) as running,
    ):
        until(lambda: store.count(Filter()) == 1)
        camera.image = OTHER
        until(lambda: store.count(Filter()) == 2)
        time.sleep(0.5)
        assert store.count(Filter()) == 2
        assert all(record.trigger == "auto" for record in store.find(Filter()))
        assert running.health().recording == "ready"


def test_a_field_is_kept_though_the_threshold_was_changed_while_it_was_new(tmp_path: Path) -> None:
    camera = Shown()
    with (
        open_store(tmp_path, device="bench", min_free_bytes=0) as store,
        station(camera, store=store, auto_capture=True, consensus_frames=15, consensus_needed=10) as running,
    ):
        until(lambda: store.count(Filter()) == 1)
        camera.image = OTHER
        until(lambda: running.judged.value and running.judged.value.consensus.field == 1)
        running.use_threshold(0.6)
        until(lambda: store.count(Filter()) == 2)


def test_every_field_of_a_source_that_ends_is_kept_however_slow_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = [draw_smear(seed, kind="leukaemic", height=240, width=320).image for seed in range(4)]
    with open_store(tmp_path, device="bench", min_free_bytes=0) as store:
        keep = store.keep

        def keep_slowly(*arguments: Any, **options: Any) -> Record:
            time.sleep(1)
            return keep(*arguments, **options)

        monkeypatch.setattr(store, "keep", keep_slowly)
        with station(
            Played([field for field in fields for _ in range(8)]),
            store=store,
            auto_capture=True,
            consensus_frames=5,
            consensus_needed=3,
        ) as running:
            assert running.wait(30)
        assert store.count(Filter()) == len(fields)


def test_white_balance_is_measured_on_a_camera_whose_gains_are_whole_numbers() -> None:
    camera = Gained(np.full((480, 640, 3), (200, 180, 150), np.uint8))
    with station(camera) as running:
        until(lambda: running.frames.value)
        red, blue = running.balance_white()
    assert (red.value, blue.value) == (150, 79)


def test_fields_are_kept_by_themselves_once_there_is_a_store(tmp_path: Path) -> None:
    camera = Shown()
    with (
        open_store(tmp_path, device="bench", min_free_bytes=0) as store,
        station(camera, auto_capture=True, consensus_frames=5, consensus_needed=3) as running,
    ):
        running.stop_recording("the disk was full at the start; make room")
        until(lambda: any("a field was not kept" in event.text for event in running.events))
        running.start_recording(store)
        camera.image = OTHER
        until(lambda: store.count(Filter()) == 1)


def test_a_full_disk_stops_recording_only_and_says_so_once(tmp_path: Path) -> None:
    with (
        open_store(tmp_path, device="bench", min_free_bytes=0) as store,
        station(Shown(), store=store) as running,
    ):
        until(lambda: running.judged.value)
        store.min_free_bytes = 10**18
        for _ in range(2):
            with pytest.raises(StoreFullError):
                running.capture()
        assert running.health().recording == "stopped"
        assert sum(event.text.count("recording stopped") for event in running.events) == 1
        until(lambda: running.health().ready)
        store.min_free_bytes = 0
        running.capture()
        assert running.health().recording == "ready"


def test_nobody_looking_costs_no_picture_and_many_share_one() -> None:
    with station(Shown()) as running:
        until(lambda: running.health().ready)
        assert running.view.pictures.value is None
        woken = [0, 0]

        def wake(index: int) -> None:
            woken[index] += 1

        with running.view.watched(lambda: wake(0)), running.view.watched(lambda: wake(1)) as pictures:
            until(lambda: min(woken) >= 3)
            picture = pictures.value
        assert picture is not None
        assert picture.jpeg.startswith(b"\xff\xd8")
        assert (picture.width, picture.height) == (640, 480)
        assert abs(woken[0] - woken[1]) <= 1
        time.sleep(0.2)
        last = running.view.pictures.value
        time.sleep(0.3)
        assert running.view.pictures.value is last


def test_it_stops_quickly_while_all_is_at_work() -> None:
    with station(Shown()) as running:
        until(lambda: running.health().ready)
        began = time.monotonic()
        running.stop()
        assert running.wait(1)
    assert time.monotonic() - began < 3


def test_a_signal_stops_it_at_whatever_moment_it_comes() -> None:
    code = """
import random, signal
from pathlib import Path
from edge_app.station import Station
for _ in range(2000):
    station = Station(lambda _: None, lambda _: None, Path("none"))
    signal.signal(signal.SIGALRM, lambda *_: station.stop())
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 5e-4))
    while not station.wait(1e-6):
        pass
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
