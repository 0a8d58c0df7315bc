import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_app.cameras import Frame, open_camera
from edge_app.cameras.gstreamer import csi_pipeline, list_csi
from edge_app.cameras.uris import without_secrets
from edge_app.errors import CameraError

TEST_PICTURE = "videotestsrc is-live=true pattern=solid-color foreground-color=0xff204080"  # red 32, green 64, blue 128
RTSP_SERVER = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer(address="127.0.0.1", service=sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory(shared=True)
factory.set_launch(
    "( videotestsrc is-live=true pattern=solid-color foreground-color=0xff204080 ! "
    "video/x-raw,format=I420,width=320,height=240,framerate=20/1 ! jpegenc ! rtpjpegpay name=pay0 )"
)
auth = GstRtspServer.RTSPAuth()
token = GstRtspServer.RTSPToken()
token.set_string("media.factory.role", "viewer")
auth.add_basic(GstRtspServer.RTSPAuth.make_basic("lab", "s3cret"), token)
server.set_auth(auth)
factory.add_role_from_structure(Gst.Structure.from_string("viewer,media.factory.access=true,media.factory.construct=true")[0])
server.get_mount_points().add_factory("/scope", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"""


def frames(source: str, count: int, events: list[str] | None = None) -> list[Frame]:
    on_event = print if events is None else events.append
    with open_camera(source, open_timeout_s=10, read_timeout_s=3, on_event=on_event) as camera:
        return list(itertools.islice(camera, count))


def children() -> set[int]:
    """Return the processes that this one has started and that are not gone, zombies included."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has gone since
            if int(status.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(status.parent.name))
    return found


def wait_until(condition: object, limit_s: float = 5) -> None:
    deadline_s = time.monotonic() + limit_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline_s, "it did not come true in time"
        time.sleep(0.02)


# Pipelines


@pytest.mark.parametrize("width", [64, 65, 66, 67])
def test_a_pipelines_pictures_come_in_bgr_at_any_width(width: int) -> None:
    (frame,) = frames(f"gst:{TEST_PICTURE} ! video/x-raw,width={width},height=48,framerate=30/1", 1)
    assert frame.image.shape == (48, width, 3)
    assert np.abs(frame.image.astype(int) - [128, 64, 32]).max() <= 3
    assert frame.settings == {"width": width, "height": 48, "fps": 30.0}


def test_a_slow_consumer_of_a_pipeline_gets_its_newest_picture() -> None:
    with open_camera("gst:videotestsrc is-live=true ! video/x-raw,width=640,height=480,framerate=50/1") as camera:
        stream = iter(camera)
        first = next(stream)
        time.sleep(0.6)
        second = next(stream)
        assert second.sequence - first.sequence >= 10
        assert time.monotonic_ns() - second.monotonic_ns < 0.2e9


def test_a_pipeline_and_all_it_started_is_gone_once_it_is_closed() -> None:
    before = children()
    with open_camera(f"gst:{TEST_PICTURE}") as camera:
        next(iter(camera))
        assert len(children() - before) == 1
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
    assert children() == before
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors - 2


def test_a_pipeline_that_dies_is_a_lost_camera_that_comes_back() -> None:
    events: list[str] = []
    before = children()
    with open_camera(f"gst:{TEST_PICTURE}", on_event=events.append) as camera:
        stream = iter(camera)
        last = next(stream).sequence
        (pipeline,) = children() - before
        os.kill(pipeline, signal.SIGKILL)
        while not any("is back" in event for event in events):
            last = next(stream).sequence
        assert next(stream).sequence > last
    assert "lost: the pipeline ended: exit code -9" in events[0]


def test_a_pipeline_that_stops_giving_pictures_is_lost_in_time() -> None:
    events: list[str] = []
    before = children()
    with open_camera(f"gst:{TEST_PICTURE}", read_timeout_s=0.5, on_event=events.append) as camera:
        stream = iter(camera)
        next(stream)
        (pipeline,) = children() - before
        os.kill(pipeline, signal.SIGSTOP)
        threading.Timer(2, lambda: os.kill(pipeline, signal.SIGCONT)).start()
        while not events:
            next(stream)
    assert "no frame came for 0.5 s" in events[0]
    assert children() == before


def test_a_pipeline_that_ends_ends_the_frames() -> None:
    with open_camera("gst:videotestsrc num-buffers=4 is-live=true ! video/x-raw,framerate=10/1") as camera:
        assert list(camera)[-1].sequence == 3


@pytest.mark.parametrize(
    ("pipeline", "reason"),
    [
        ("nosuchelement", 'no element "nosuchelement"'),
        ("v4l2src device=/dev/video4321", "Cannot identify device '/dev/video4321'"),
        ("videotestsrc ! audio/x-raw", "could not link"),
        ("videotestsrc ! (", "syntax error"),
        ("videotestsrc !! videoscale", "syntax error"),
        ("--gst-plugin-path=/nowhere videotestsrc", "syntax error"),
        ("audiotestsrc", "could not link"),
        ("", "names no pipeline"),
        ("videotestsrc name='a", "not closed"),
        ("rtspsrc location=rtsp://lab:s3cret@127.0.0.1:1/x ! decodebin", "Could not"),
    ],
)
def test_a_pipeline_that_gives_no_pictures_says_why(pipeline: str, reason: str) -> None:
    before = children()
    with pytest.raises(CameraError) as caught:
        frames(f"gst:{pipeline}", 1)
    assert reason in str(caught.value)
    assert "s3cret" not in str(caught.value)
    wait_until(lambda: children() == before)


def test_a_pipeline_is_never_given_to_a_shell(tmp_path: Path) -> None:
    for text in (f"videotestsrc; touch {tmp_path}/x", f"$(touch {tmp_path}/x)", f"`touch {tmp_path}/x`"):
        with pytest.raises(CameraError):
            frames(f"gst:{text}", 1)
    assert not list(tmp_path.iterdir())


def test_a_picture_that_changes_its_size_is_reported() -> None:
    events: list[str] = []
    sizes = [("num-buffers=20", 64, 48), ("", 80, 60)]
    parts = [f"videotestsrc is-live=true {end} ! video/x-raw,width={w},height={h} ! c." for end, w, h in sizes]
    source = " ".join(["gst:", *parts, "concat name=c"])
    with open_camera(source, on_event=events.append) as camera:
        assert {next(iter(camera)).image.shape for _ in range(5)} == {(48, 64, 3)}
        while not events:
            next(iter(camera))
    assert "80 × 60 pixels of a sudden" in events[0]


def test_without_gst_launch_the_packages_to_install_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CameraError, match=r"apt install gstreamer1\.0-tools"):
        open_camera("gst:videotestsrc")
    assert list_csi() == []


# A Jetson's camera


def test_a_jetsons_camera_is_the_pipeline_that_nvidia_documents() -> None:
    assert csi_pipeline("csi://1?width=1920&height=1080&fps=60") == (
        "nvarguscamerasrc sensor-id=1 ! "
        "video/x-raw(memory:NVMM),width=1920,height=1080,framerate=60/1,format=NV12 ! "
        "nvvidconv ! video/x-raw,format=BGRx"
    )


def test_a_jetsons_exposure_and_gain_are_locked_as_ranges_of_one_value() -> None:
    pipeline = csi_pipeline("csi://0?exposure_us=5000&gain=2&wbmode=0")
    assert 'sensor-id=0 exposuretimerange="5000000 5000000" gainrange="2 2" wbmode=0 !' in pipeline


def test_a_jetsons_pipeline_gives_pictures_with_a_test_source_in_the_sensors_place() -> None:
    pipeline = csi_pipeline("csi://0?width=640&height=360&fps=25")
    for part, stand_in in [
        ("nvarguscamerasrc sensor-id=0", TEST_PICTURE),
        ("(memory:NVMM)", ""),
        ("nvvidconv", "videoconvert"),
    ]:
        assert part in pipeline
        pipeline = pipeline.replace(part, stand_in)
    frame = frames(f"gst:{pipeline}", 2)[-1]
    assert frame.image.shape == (360, 640, 3)
    assert np.abs(frame.image.astype(int) - [128, 64, 32]).max() <= 4
    assert frame.settings["fps"] == 25


@pytest.mark.parametrize("uri", ["csi://x", "csi://0?fps=2.5", "csi://0?width=1", "csi:0", "csi://0?zoom=2", "csi://"])
def test_a_csi_uri_that_names_no_camera_is_refused(uri: str) -> None:
    with pytest.raises(CameraError, match=r"options|csi://0"):
        open_camera(uri)


def test_a_jetsons_camera_elsewhere_is_refused_with_the_missing_element() -> None:
    with pytest.raises(CameraError, match="nvarguscamerasrc"):
        open_camera("csi://0")


# Network cameras


@contextlib.contextmanager
def rtsp_served(port: int = 0) -> Iterator[int]:
    """Run a real RTSP server that asks for a password, and yield the port it listens at."""
    python = shutil.which("python3", path="/usr/bin")
    assert python, "run: sudo apt install python3-gi gir1.2-gst-rtsp-server-1.0"
    with subprocess.Popen([python, "-c", RTSP_SERVER, str(port)], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        bound = server.stdout.readline().strip()
        assert bound, "run: sudo apt install python3-gi gir1.2-gst-rtsp-server-1.0"
        yield int(bound)
        server.kill()


@pytest.fixture(scope="module")
def rtsp_server() -> Iterator[int]:
    with rtsp_served() as port:
        yield port


def test_a_network_camera_gives_pictures_and_its_password_is_nowhere(rtsp_server: int) -> None:
    frame = frames(f"rtsp://lab:s3cret@127.0.0.1:{rtsp_server}/scope", 3)[-1]
    assert frame.image.shape == (240, 320, 3)
    assert np.abs(frame.image.astype(int) - [128, 64, 32]).max() <= 12  # JPEG's colours
    assert frame.source == f"rtsp://…@127.0.0.1:{rtsp_server}/scope"
    assert frame.settings["width"] == 320


def test_a_network_camera_that_can_not_be_had_says_so_without_the_password(rtsp_server: int) -> None:
    for uri in (f"rtsp://lab:wr0ng@127.0.0.1:{rtsp_server}/scope", "rtsp://lab:wr0ng@127.0.0.1:1/scope"):
        with pytest.raises(CameraError, match="check its address, user, password") as caught:
            frames(uri, 1)
        assert "wr0ng" not in str(caught.value)


@pytest.mark.slow
def test_a_network_camera_that_is_switched_off_comes_back_by_itself() -> None:
    events: list[str] = []
    with contextlib.ExitStack() as off:
        port = off.enter_context(rtsp_served())
        with open_camera(
            f"rtsp://lab:s3cret@127.0.0.1:{port}/scope", read_timeout_s=3, on_event=events.append
        ) as camera:
            stream = iter(camera)
            last = next(stream).sequence
            off.close()
            with rtsp_served(port):
                while not any("is back" in event for event in events):
                    last = next(stream).sequence
                assert next(stream).sequence > last
    assert "lost" in events[0]
    assert not any("s3cret" in event for event in events)


@pytest.mark.parametrize("uri", ["rtsp:", "rtsp://", "rtsp:///x", "rtsp://host:99999/x", "rtsp://a b/x", "rtsp://[x/"])
def test_an_rtsp_uri_without_a_host_is_refused(uri: str) -> None:
    with pytest.raises(CameraError, match="names no network camera"):
        open_camera(uri)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://lab:s3cret@host/x?a=1", "rtsp://…@host/x?a=1"),
        ("rtsp://lab:p@s/s@host/x", "rtsp://…@host/x"),
        ("rtsp://host/x?user=lab&password=s3cret&a=1", "rtsp://host/x?user=lab&password=…&a=1"),
        (
            "gst:rtspsrc location=rtsp://h/ user-id=lab user-pw=s3cret ! x",
            "gst:rtspsrc location=rtsp://h/ user-id=lab user-pw=… ! x",
        ),
        ("v4l2:///dev/video0?fps=5", "v4l2:///dev/video0?fps=5"),
    ],
)
def test_passwords_are_not_shown(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
