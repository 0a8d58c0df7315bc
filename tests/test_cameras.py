import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_app.cameras import (
    Camera,
    CameraInfo,
    Control,
    Format,
    Setting,
    demo,
    list_cameras,
    open_camera,
)
from edge_app.cameras.reading import MAX_HUNG, Device, LiveCamera
from edge_app.cameras.uris import SCHEMES, source_uri
from edge_app.commands.cameras import command
from edge_app.errors import CameraError, InputError
from edge_app.preprocessing import Image

V4L2_TAILS = [
    "?width=640",
    "?fps=nan",
    "?fourcc=MJ",
    "?zoom=2",
    "?fps=1&fps=2",
    "?width=1e3&height=2",
    "?width=9&height=9",
]


def flat(level: int) -> Image:
    return np.full((24, 32, 3), level, np.uint8)


def save(path: Path, image: Image) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images whose grey level is ten times their number."""
    for number in range(5):
        save(tmp_path / f"{number}.png", flat(10 * number))
    return tmp_path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Twenty frames at 40 a second, each brighter than the one before."""
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 40, (32, 24))
    for number in range(20):
        writer.write(flat(10 * number))
    writer.release()
    return path


class Microscope(Device):
    """A simulated device that counts its frames in their grey level, and can be told to fail or to hang."""

    def __init__(self, interval_s: float = 0.0, frames_until_lost: float = np.inf) -> None:
        self.source = "simulated"
        self.settings: Mapping[str, Setting] = {"exposure": 7}
        self.interval_s = interval_s
        self.hang = threading.Event()
        self.release = threading.Event()
        self.frames_until_lost = frames_until_lost
        self.grabbed = 0
        self.connected = 0
        self.problem: CameraError | None = None
        self.fault: Exception | None = None

    def connect(self) -> "Microscope":
        self.connected += 1
        if self.hang.is_set():
            self.release.wait(10)
        if self.problem:
            raise self.problem
        return self

    def grab(self) -> bool:
        if self.hang.is_set():
            self.release.wait(10)
        else:
            time.sleep(0.005)
        if self.grabbed >= self.frames_until_lost:
            raise CameraError("the plug was pulled")
        if self.fault:
            fault, self.fault = self.fault, None
            raise fault
        self.grabbed += 1
        return True

    def retrieve(self) -> Image:
        if self.grabbed % 7 == 0:
            raise InputError("a stripe is missing")
        return flat(self.grabbed % 256)

    def close(self) -> None:
        self.connected -= 1


@pytest.fixture
def microscope() -> Iterator[Microscope]:
    device = Microscope()
    yield device
    device.release.set()


def live(device: Microscope, on_event: Callable[[str], None] = print, limit_s: float = 0.3) -> LiveCamera:
    return LiveCamera("sim:", device.connect, open_timeout_s=limit_s, read_timeout_s=limit_s, on_event=on_event)


def camera_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "camera"]


def levels(camera: Camera) -> list[int]:
    return [round(float(frame.image.mean())) for frame in camera]


# Sources


@pytest.mark.parametrize(
    ("source", "uri"),
    [
        ("0", "v4l2:///dev/video0"),
        ("/dev/video12", "v4l2:///dev/video12"),
        ("/dev/video12?fps=5", "v4l2:///dev/video12?fps=5"),
        ("/dev/v4l/by-id/usb-Microscope", "v4l2:///dev/v4l/by-id/usb-Microscope"),
        ("/data/a b?.jpg", "file:///data/a%20b%3F.jpg"),
        ("/dev/fields/1", "file:///dev/fields/1"),
        ("V4L2:///dev/video0?width=1280&height=960", "v4l2:///dev/video0?width=1280&height=960"),
        ("demo:", "demo:"),
    ],
)
def test_a_source_becomes_a_uri(source: str, uri: str) -> None:
    assert source_uri(source) == uri


def test_an_unknown_scheme_names_the_known_ones() -> None:
    with pytest.raises(CameraError) as caught:
        open_camera("rtmp://microscope")
    assert all(f"{scheme}:" in str(caught.value) for scheme in SCHEMES)


@pytest.mark.parametrize("source", ["", "  ", "a\0b", "file://host/x.jpg", "file:x.jpg", "v4l2://dev/video0", "demo:x"])
def test_a_source_of_a_wrong_form_is_refused(source: str) -> None:
    with pytest.raises(CameraError):
        open_camera(source)


@pytest.mark.parametrize("tail", V4L2_TAILS)
def test_options_that_can_not_be_used_are_refused(tail: str) -> None:
    with pytest.raises(CameraError, match="options"):
        open_camera("v4l2:///dev/video0" + tail)


@pytest.mark.parametrize("tail", ["?fps=0", "?loops=0", "?loops=x", "?speed=2", "?fps="])
def test_options_of_demo_that_can_not_be_used_are_refused(tail: str) -> None:
    with pytest.raises(CameraError, match="options"):
        open_camera("demo:" + tail)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    beginning=st.sampled_from(
        [
            "",
            "demo:",
            "demo:?",
            "file:///no/",
            "v4l2:///dev/none?",
            "csi://",
            "csi://0?",
            "picamera2://",
            "picamera2://0?",
        ]
    ),
    rest=st.one_of(st.text(max_size=30), st.text("%/?=&fpsloudw01.-", max_size=30), st.characters(categories=["Cs"])),
)
def test_no_source_raises_anything_but_our_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beginning: str, rest: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo.open_uri, "__kwdefaults__", {"folder": tmp_path / "none"})
    with pytest.raises((CameraError, InputError)):
        open_camera(beginning + rest)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("v4l2:///dev/video4321", "there is no /dev/video4321; plug the camera in"),
        ("v4l2:///dev/null", "/dev/null is not a camera"),
        ("v4l2:///dev", "/dev is not a camera"),
    ],
)
def test_a_device_that_can_not_be_opened_says_why(source: str, reason: str) -> None:
    with pytest.raises(CameraError, match=reason):
        open_camera(source)


@pytest.mark.parametrize("source", ["0", "picamera2://0", "csi://0", "gst:videotestsrc", "rtsp://127.0.0.1/x"])
def test_every_frame_of_a_live_camera_is_refused(source: str) -> None:
    with pytest.raises(CameraError, match="newest frame wins"):
        open_camera(source, every_frame=True)


def test_time_limits_out_of_range_are_refused() -> None:
    with pytest.raises(CameraError, match="time limits"):
        open_camera("demo:", read_timeout_s=float("nan"))


# Files


def test_a_folder_gives_each_image_once_in_order_however_slow_the_consumer(folder: Path) -> None:
    with open_camera(str(folder)) as camera:
        frames = list(itertools.islice(camera, 2))
        time.sleep(0.1)
        frames += list(camera)
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 10, 20, 30, 40]
    assert [frame.sequence for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.source for frame in frames] == [str(folder / f"{number}.png") for number in range(5)]


def test_frames_tell_when_they_were_had(folder: Path) -> None:
    before_ns, before = time.monotonic_ns(), datetime.now(UTC)
    with open_camera(f"file://{folder}/3.png") as camera:
        (frame,) = camera
    assert before_ns <= frame.monotonic_ns <= time.monotonic_ns()
    assert before <= frame.captured_at <= datetime.now(UTC)
    assert frame.captured_at.utcoffset() == timedelta(0)
    assert 0 < frame.grab_ms < 1000
    assert frame.image.shape == (24, 32, 3)


def test_a_broken_image_is_reported_and_left_out(folder: Path) -> None:
    (folder / "2.png").write_bytes(b"broken")
    events: list[str] = []
    with open_camera(str(folder), on_event=events.append) as camera:
        assert levels(camera) == [0, 10, 30, 40]
    assert len(events) == 1
    assert "2.png is not an image" in events[0]


def test_a_missing_file_and_an_empty_folder_are_errors(tmp_path: Path) -> None:
    for source in [str(tmp_path / "none.jpg"), str(tmp_path)]:
        with pytest.raises(InputError, match="there is no"):
            open_camera(source)


def test_each_frame_of_a_video_can_be_had(video: Path) -> None:
    with open_camera(str(video), every_frame=True) as camera:
        given_levels = levels(camera)
    assert np.allclose(given_levels, np.arange(20) * 10, atol=3)


def test_a_video_plays_at_its_own_rate_and_a_slow_consumer_skips_frames(video: Path) -> None:
    started = time.monotonic()
    sequences = []
    with open_camera(str(video)) as camera:
        for frame in camera:
            sequences.append(frame.sequence)
            time.sleep(0.11)
    assert time.monotonic() - started > 18 / 40
    assert 3 <= len(sequences) <= 8
    assert sequences[-1] == 19
    assert frame.settings["fps"] == pytest.approx(40)


def test_a_video_that_is_none_is_an_error_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ["film.mp4", "film7.avi", "film.mkv"]:
        (tmp_path / name).write_bytes(b"no film" * 100)
        for every_frame in (False, True):
            with pytest.raises(InputError, match="can't be read as a video"):
                open_camera(str(tmp_path / name), every_frame=every_frame)
    with pytest.raises(InputError, match="there is no"):
        open_camera(str(tmp_path / "none.mp4"))
    assert capfd.readouterr() == ("", "")


# The demo


def open_demo(uri: str, folder: Path, *, every_frame: bool = False) -> Camera:
    return demo.open_uri(
        uri, every_frame=every_frame, open_timeout_s=5, read_timeout_s=5, on_event=print, folder=folder
    )


def test_the_demo_plays_in_a_loop_at_its_rate(folder: Path) -> None:
    started = time.monotonic()
    with open_demo("demo:?fps=50&stay=1", folder) as camera:
        frames = list(itertools.islice(camera, 11))
    assert time.monotonic() - started >= 0.19
    assert frames[-1].sequence >= 10
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [frame.sequence % 5 * 10 for frame in frames]


def test_the_demo_ends_after_its_rounds(folder: Path) -> None:
    with open_demo("demo:?fps=0.1&loops=2", folder, every_frame=True) as camera:
        assert levels(camera) == [0, 10, 20, 30, 40] * 2
    with open_demo("demo:?fps=200&loops=1", folder) as camera:
        assert levels(camera)[-1] == 40


def test_each_field_of_the_demo_stays_for_a_while(folder: Path) -> None:
    with open_demo("demo:?stay=3&loops=1", folder, every_frame=True) as camera:
        assert levels(camera) == [0] * 3 + [10] * 3 + [20] * 3 + [30] * 3 + [40] * 3


# Live cameras


def test_a_slow_consumer_gets_the_newest_frame(microscope: Microscope) -> None:
    with live(microscope) as camera:
        frames = iter(camera)
        first = next(frames)
        time.sleep(0.2)
        second = next(frames)
        assert time.monotonic_ns() - second.monotonic_ns < 0.1e9
    assert second.sequence > first.sequence + 10
    assert int(second.image[0, 0, 0]) == second.sequence + 1  # every grabbed frame was counted, damaged ones too
    assert second.settings == {"exposure": 7}


def test_a_setting_that_is_no_number_is_left_out(microscope: Microscope) -> None:
    microscope.settings = {"fps": np.inf, "gain": np.nan, "exposure": 7, "camera": "sim", "auto_exposure": True}
    with live(microscope) as camera:
        assert next(iter(camera)).settings == {"exposure": 7, "camera": "sim", "auto_exposure": True}


def test_a_damaged_frame_is_reported_and_left_out(microscope: Microscope) -> None:
    events: list[str] = []
    with live(microscope, events.append) as camera:
        sequences = [frame.sequence for frame in itertools.islice(camera, 10)]
    assert 6 not in sequences
    assert events[0] == "camera sim:: frame left out: a stripe is missing"


def test_closing_ends_the_iteration_and_the_threads(microscope: Microscope) -> None:
    with live(microscope) as camera:
        threading.Timer(0.1, camera.close).start()
        assert list(camera)
    assert not camera_threads()
    assert microscope.connected == 0
    assert list(camera) == []


def test_closing_ends_a_long_wait_for_the_next_frame(folder: Path) -> None:
    with open_demo("demo:?fps=0.01", folder) as camera:
        threading.Timer(0.2, camera.close).start()
        started = time.monotonic()
        assert len(list(camera)) == 1
        assert time.monotonic() - started < 1
    assert not camera_threads()


def test_a_lost_camera_comes_back_by_itself_and_counts_on(microscope: Microscope) -> None:
    events: list[str] = []
    microscope.frames_until_lost = 5

    def on_event(event: str) -> None:
        events.append(event)
        microscope.frames_until_lost = np.inf

    with live(microscope, on_event) as camera:
        sequences = [frame.sequence for frame in itertools.islice(camera, 12)]
    assert events[0] == "camera sim: lost: the plug was pulled; trying again in 1 s"
    assert "camera sim: is back after 1 s" in events
    assert sequences == sorted(set(sequences))
    assert sequences[-1] >= 10


def test_a_fault_that_nobody_foresaw_is_a_lost_camera_not_the_end_of_its_pictures(
    microscope: Microscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_app.cameras.reading.LONGEST_PAUSE_S", 0.05)
    said: list[str] = []
    with live(microscope, said.append) as camera:
        frames = iter(camera)
        before = next(frames).sequence
        microscope.fault = ZeroDivisionError("not foreseen")
        assert next(frame.sequence for frame in frames if any("is back" in line for line in said)) > before
    assert any("lost: it can't be read (ZeroDivisionError: not foreseen)" in line for line in said)


def test_pauses_grow_and_closing_ends_one(microscope: Microscope) -> None:
    events: list[str] = []
    with live(microscope, events.append) as camera:
        microscope.problem = CameraError("there is no device")
        microscope.frames_until_lost = 0
        threading.Timer(3.5, camera.close).start()
        started = time.monotonic()
        for _ in camera:
            pass
        assert time.monotonic() - started < 5
    assert [event.rpartition(" in ")[2] for event in events] == ["1 s", "2 s", "4 s"]
    assert "still lost: there is no device" in events[2]
    assert not camera_threads()


def test_an_open_that_hangs_is_an_error_in_time(microscope: Microscope) -> None:
    microscope.hang.set()
    started = time.monotonic()
    with pytest.raises(CameraError, match=r"does not answer in 0\.3 s"):
        live(microscope)
    assert time.monotonic() - started < 1
    microscope.hang.clear()
    microscope.release.set()
    for thread in camera_threads():
        thread.join(5)
    assert microscope.connected == 0
    assert microscope.grabbed == 0


def test_a_read_that_hangs_is_a_lost_camera_that_comes_back(microscope: Microscope) -> None:
    events: list[str] = []

    def on_event(event: str) -> None:
        events.append(event)
        microscope.hang.clear()

    with live(microscope, on_event) as camera:
        frames = iter(camera)
        next(frames)
        microscope.hang.set()
        time.sleep(0.6)
        started_ns = time.monotonic_ns()
        frame = next(frames)
        assert frame.monotonic_ns > started_ns  # not the one that lay there since before
        microscope.release.set()
    assert "lost: no frame came for 0.3 s" in events[0]


@pytest.mark.slow
def test_a_device_that_hangs_for_good_does_not_gather_threads(microscope: Microscope) -> None:
    events: list[str] = []
    with live(microscope, events.append, limit_s=0.1) as camera:
        microscope.hang.set()
        threading.Timer(9, camera.close).start()
        for _ in camera:
            pass
        assert len(camera_threads()) <= MAX_HUNG
        microscope.release.set()
    assert any("unplug it" in event for event in events)


def test_the_first_opening_that_fails_says_why(microscope: Microscope) -> None:
    microscope.problem = CameraError("there is no device")
    with pytest.raises(CameraError, match="there is no device"):
        live(microscope)
    assert not camera_threads()


# The command


def test_the_command_lists_cameras_or_says_that_there_is_none() -> None:
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 0
    cameras = list_cameras()
    if cameras:
        assert all(camera.uri in result.output for camera in cameras)
    else:
        assert result.output == "no camera found: plug one in and look again, or use --source demo:\n"


def test_the_command_gives_one_json_object_a_camera() -> None:
    result = CliRunner().invoke(command, ["--json"])
    assert result.exit_code == 0
    listed = [json.loads(line) for line in result.output.splitlines()]
    assert [each["uri"] for each in listed] == [camera.uri for camera in list_cameras()]


def test_the_command_shows_formats_and_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    controls = (
        Control("exposure_us", "int", 100, 1_000_000, 100, 100, 100, "µs"),
        Control("auto_exposure", "bool", 0, 1, 1, default=True, value=True),
        Control("frequency", "menu", 0, 1, 1, "50 Hz", "50 Hz", choices=("50 Hz", "60 Hz")),
    )
    scope = CameraInfo("v4l2:///dev/video7", "scope", (Format("MJPG", 640, 480, 30.0),), controls)
    monkeypatch.setattr("edge_app.commands.cameras.list_cameras", lambda: [scope])
    text = " ".join(CliRunner().invoke(command, [], env={"COLUMNS": "200"}).output.split())
    assert (
        "MJPG: 640×480 at 30 exposure_us: 100 to 1000000 µs; auto_exposure: on or off; frequency: 50 Hz, 60 Hz" in text
    )
