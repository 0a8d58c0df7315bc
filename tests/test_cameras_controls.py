import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_app.cameras import Camera, Control, Setting, open_camera
from edge_app.cameras.reading import Device, LiveCamera
from edge_app.cameras.white_balance import decoded, gains_for_neutral
from edge_app.errors import CameraError
from edge_app.preprocessing import Image

GAIN = Control("gain", "float", 1, 16, 0, 1.0, 1.0, "×")
LINES = Control("frequency", "menu", 0, 1, 1, "50 Hz", "50 Hz", choices=("50 Hz", "60 Hz"))


class Sensor(Device):
    """A simulated camera that forgets what was set when it is connected again, and whose automatic finds 123 µs."""

    interval_s = 0.005

    def __init__(self) -> None:
        self.source = "sensor:"
        self.hang = threading.Event()
        self.release = threading.Event()
        self.lost = False
        self.refuses: set[str] = set()
        self.connect()

    def connect(self) -> "Sensor":
        self.lost = False
        self.values: dict[str, Setting] = {"auto_exposure": True, "exposure_us": 123, "gain": 1.0}
        self.settings = dict(self.values)
        return self

    def grab(self) -> bool:
        if self.hang.is_set():
            self.release.wait(10)
        if self.lost:
            raise CameraError("the plug was pulled")
        return True

    def retrieve(self) -> Image:
        return np.zeros((4, 4, 3), np.uint8)

    def close(self) -> None:
        pass

    def controls(self) -> tuple[Control, ...]:
        governor = "auto_exposure" if self.values["auto_exposure"] else None
        exposure = Control("exposure_us", "int", 1, 1000, 1, 500, 500, "µs", governed_by=governor)
        automatic = Control("auto_exposure", "bool", 0, 1, 1, default=True, value=True)
        return tuple(replace(each, value=self.values[each.name]) for each in (exposure, automatic, GAIN))

    def set_control(self, control: Control, value: Setting) -> None:
        if control.name in self.refuses:
            raise CameraError(f"the sensor refuses {control.name}")
        self.values[control.name] = value
        self.settings = dict(self.values)


@pytest.fixture
def sensor() -> Iterator[Sensor]:
    device = Sensor()
    yield device
    device.release.set()


def live(device: Sensor, events: list[str] | None = None) -> LiveCamera:
    on_event = print if events is None else events.append
    return LiveCamera("sensor:", device.connect, open_timeout_s=1, read_timeout_s=0.4, on_event=on_event)


def value(camera: Camera, name: str) -> Setting:
    return next(control.value for control in camera.controls() if control.name == name)


def mean_light(camera: Camera) -> list[float]:
    """Return the mean light of each channel (BGR) of the demo's first scene, the next time it comes."""
    frame = next(each for each in camera if each.source.endswith("healthy-1.jpg"))
    return [float(mean) for mean in decoded(frame.image[::4, ::4]).mean(axis=(0, 1))]


# What a control takes


@pytest.mark.parametrize(
    ("control", "given_value", "accepted"),
    [
        (GAIN, 2, 2.0),
        (replace(GAIN, kind="int"), 3.0, 3),
        (LINES, "60 Hz", "60 Hz"),
        (replace(GAIN, kind="bool"), 1, True),
    ],
)
def test_a_value_is_taken_as_the_controls_kind_has_it(
    control: Control, given_value: Setting, accepted: Setting
) -> None:
    assert control.accept(given_value) == accepted
    assert type(control.accept(given_value)) is type(accepted)


@pytest.mark.parametrize(
    ("control", "given_value", "sentence"),
    [
        (GAIN, 17, "gain can't be 17; it takes numbers from 1 to 16 ×"),
        (GAIN, float("nan"), "gain can't be nan"),
        (GAIN, True, "gain can't be True"),
        (GAIN, "2", "gain can't be '2'"),
        (replace(GAIN, kind="int"), 1.5, "it takes whole numbers from 1 to 16"),
        (replace(GAIN, kind="bool"), 2, "it takes true or false"),
        (LINES, "55 Hz", "it takes one of 50 Hz, 60 Hz"),
        (replace(GAIN, governed_by="auto_exposure"), 2, "switch auto_exposure off first"),
    ],
)
def test_a_value_that_can_not_be_set_is_refused_with_what_can(
    control: Control, given_value: Setting, sentence: str
) -> None:
    with pytest.raises(CameraError, match=sentence):
        control.accept(given_value)


@given(
    kind=st.sampled_from(["bool", "int", "float", "menu"]),
    given_value=st.one_of(st.booleans(), st.integers(), st.floats(), st.text()),
)
def test_any_value_is_taken_within_the_range_or_refused(kind: str, given_value: Setting) -> None:
    control = Control("x", kind, 0, 1, 1, 0, 0, choices=("a", "b") if kind == "menu" else ())  # type: ignore[arg-type]
    try:
        accepted = control.accept(given_value)
    except CameraError:
        return
    assert accepted in control.choices if kind == "menu" else 0 <= float(accepted) <= 1


# Live cameras


def test_a_control_is_set_while_frames_are_taken_and_shows_in_their_settings(sensor: Sensor) -> None:
    with live(sensor) as camera:
        frames = iter(camera)
        assert next(frames).settings["gain"] == 1.0
        assert camera.set_control("gain", 4) == replace(GAIN, value=4.0)
        next(frames)
        assert next(frames).settings["gain"] == 4.0
        assert value(camera, "gain") == 4.0


def test_a_control_is_set_at_once_however_far_the_next_frame_is(sensor: Sensor) -> None:
    sensor.interval_s = 30
    with live(sensor) as camera:
        next(iter(camera))
        started = time.monotonic()
        camera.set_control("gain", 4)
        assert time.monotonic() - started < 0.3


def test_an_unknown_control_names_the_known_ones(sensor: Sensor) -> None:
    with live(sensor) as camera, pytest.raises(CameraError, match="no control 'zoom'; it has exposure_us, auto_exposu"):
        camera.set_control("zoom", 1)


def test_what_was_set_is_set_again_when_a_lost_camera_comes_back(sensor: Sensor) -> None:
    with live(sensor) as camera:
        frames = iter(camera)
        next(frames)
        camera.set_control("auto_exposure", False)
        camera.set_control("exposure_us", 777)
        camera.set_control("gain", 2)
        sensor.lost = True
        assert [next(frames) for _ in range(5)][-1].settings == {"auto_exposure": False, "exposure_us": 777, "gain": 2}


def test_switching_an_automatic_off_locks_what_it_had_found(sensor: Sensor) -> None:
    with live(sensor) as camera:
        frames = iter(camera)
        next(frames)
        sensor.values["exposure_us"] = 321  # found by the automatic
        camera.set_control("auto_exposure", False)
        sensor.lost = True
        assert [next(frames) for _ in range(5)][-1].settings["exposure_us"] == 321


def test_a_control_may_appear_when_another_is_set(sensor: Sensor, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sensor.controls

    def controls() -> tuple[Control, ...]:
        return tuple(each for each in whole() if each.name != "exposure_us" or not sensor.values["auto_exposure"])

    monkeypatch.setattr(sensor, "controls", controls)
    with live(sensor) as camera:
        next(iter(camera))
        camera.set_control("auto_exposure", False)
        assert value(camera, "exposure_us") == 123


def test_a_value_from_before_its_automatic_was_on_is_not_set_again(sensor: Sensor) -> None:
    events: list[str] = []
    with live(sensor, events) as camera:
        frames = iter(camera)
        next(frames)
        camera.set_control("auto_exposure", False)
        camera.set_control("exposure_us", 777)
        camera.set_control("auto_exposure", True)
        sensor.lost = True
        assert [next(frames) for _ in range(5)][-1].settings["auto_exposure"] is True
    assert not any("not set again" in event for event in events)


def test_what_can_not_be_set_again_is_reported(sensor: Sensor) -> None:
    events: list[str] = []
    with live(sensor, events) as camera:
        frames = iter(camera)
        next(frames)
        camera.set_control("gain", 2)
        sensor.refuses, sensor.lost = {"gain"}, True
        list(itertools.islice(frames, 5))
    assert events[-1] == "camera sensor:: not set again: the sensor refuses gain"


def test_a_device_that_hangs_hangs_no_one_who_sets_or_asks(sensor: Sensor) -> None:
    with live(sensor) as camera:
        next(iter(camera))
        known = camera.controls()
        sensor.hang.set()
        time.sleep(0.05)
        started = time.monotonic()
        with pytest.raises(CameraError, match="try again once it gives pictures"):
            camera.set_control("gain", 2)
        assert camera.controls() == known
        assert time.monotonic() - started < 1.2
        sensor.hang.clear()
        sensor.release.set()
    assert sensor.values["gain"] == 1.0  # what nobody waits for any more is not done later


def test_a_closed_camera_refuses_and_keeps_what_it_was(sensor: Sensor) -> None:
    with live(sensor) as camera:
        next(iter(camera))
        known = camera.controls()
    with pytest.raises(CameraError, match="does not answer"):
        camera.set_control("gain", 2)
    assert camera.controls() == known


# The demo


def test_the_demos_picture_is_as_drawn_until_an_automatic_is_off_and_a_value_changed() -> None:
    with open_camera("demo:", every_frame=True) as camera:
        drawn = mean_light(camera)
        camera.set_control("auto_exposure", False)
        assert mean_light(camera) == drawn
        camera.set_control("exposure_us", 5000)
        assert mean_light(camera) == pytest.approx([mean / 2 for mean in drawn], rel=0.02)
        camera.set_control("auto_exposure", True)
        assert mean_light(camera) == drawn
        assert value(camera, "exposure_us") == 10_000


def test_the_demos_white_balance_tints_its_picture() -> None:
    with open_camera("demo:", every_frame=True) as camera:
        blue, green, red = mean_light(camera)
        camera.set_control("auto_white_balance", False)
        camera.set_control("red_gain", 1)
        assert mean_light(camera) == pytest.approx([blue, green, red / 2], rel=0.02)


def test_white_balance_is_found_on_the_demos_empty_field() -> None:
    with open_camera("demo:?field=empty&fps=200") as camera:
        camera.set_control("auto_white_balance", False)
        camera.set_control("red_gain", 1.2)
        camera.set_control("blue_gain", 1.8)
        red, blue = gains_for_neutral(next(itertools.islice(camera, 2, None)).image)
        assert (1.2 * red, 1.8 * blue) == pytest.approx((2.0, 1.6), rel=0.02)


def test_what_an_automatic_governs_can_not_be_set() -> None:
    with open_camera("demo:") as camera, pytest.raises(CameraError, match="switch auto_exposure off first"):
        camera.set_control("gain", 2)


def test_frames_that_must_not_be_dropped_are_told_and_have_controls_too() -> None:
    with open_camera("demo:?loops=1", every_frame=True) as camera:
        assert camera.ordered
        camera.set_control("auto_exposure", False)
        assert camera.set_control("gain", 2).value == 2
        assert all(frame.settings["gain"] == 2 for frame in camera)
    with open_camera("demo:") as camera:
        assert not camera.ordered


def test_asking_a_source_that_has_just_ended_does_not_wait(sensor: Sensor) -> None:
    sensor.grab = lambda: next(grabbed, False)  # type: ignore[method-assign]
    grabbed = iter([True])
    started = time.monotonic()
    with LiveCamera("sensor:", sensor.connect, open_timeout_s=20, read_timeout_s=20, on_event=print) as camera:
        list(camera)
        camera.controls()
    assert time.monotonic() - started < 10
