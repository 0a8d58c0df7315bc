import ast
import inspect
import itertools
import subprocess
import sys
import threading
import time
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_app.cameras import Camera, Setting, list_cameras, open_camera
from edge_app.errors import CameraError

VERSION = "0.3.38"
OFFERED = {  # as the Raspberry Pi's part of libcamera has them
    "AeEnable": (False, True, None),
    "ExposureTime": (0, 11_767_556, None),
    "AnalogueGain": (1.0, 22.2, None),
    "AwbEnable": (False, True, None),
    "ColourGains": (0.0, 32.0, None),
    "Brightness": (-1.0, 1.0, 0.0),
    "Sharpness": (0.0, 16.0, 1.0),
    "FrameDurationLimits": (33_333, 120_000, 33_333),
}
BGR = (30, 90, 160)
FOUND = {"ExposureTime": 12_000, "AnalogueGain": 1.5, "ColourGains": (2.1, 1.7)}  # by the automatics


class CompletedRequest:
    """What picamera2 gives of a picture; the camera waits for those that are not released."""

    def __init__(self, camera: "Picamera2") -> None:
        self._camera = camera
        self._metadata = FOUND | camera.told | {"ColourTemperature": 4100, "FrameDuration": 50_000, "Lux": 400.0}
        if camera.told.get("AeEnable", True):
            self._metadata |= {name: FOUND[name] for name in ("ExposureTime", "AnalogueGain")}

    def make_array(self, name: str) -> Any:
        config = self._camera.configuration[name]
        width, height = config["size"]
        picture = np.full((height, width, 3), BGR, np.uint8)
        if config["format"] == "RGB888":
            return picture
        if config["format"] == "BGR888":
            return picture[..., ::-1].copy()
        assert config["format"] == "YUV420"
        assert self._camera.configuration["colour_space"] == "Smpte170m"
        planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
        stride = -(-width // 64) * 64
        padded = np.zeros((height * 3 // 2, stride), np.uint8)
        padded[:height, :width] = planes[:height]
        colour = padded[height:].reshape(-1, stride // 2)
        colour[:, : width // 2] = planes[height:].reshape(-1, width // 2)
        return padded

    def get_metadata(self) -> dict[str, Any]:
        return dict(self._metadata)

    def release(self) -> None:
        self._camera.held -= 1


class Job:
    def __init__(self, camera: "Picamera2") -> None:
        self._camera = camera

    def get_result(self, timeout: float | None = None) -> CompletedRequest:
        time.sleep(0.005)
        if self._camera.hang.is_set() or self._camera.held >= self._camera.configuration["buffer_count"]:
            time.sleep(timeout or 0)
            raise TimeoutError
        self._camera.held += 1
        return CompletedRequest(self._camera)


class Picamera2:
    """Stands for picamera2's class, with its methods and the errors it raises; nothing but libcamera is simulated."""

    opened: list["Picamera2"]
    cameras: list[dict[str, Any]]
    busy: bool

    def __init__(self, camera_num: int = 0) -> None:
        if self.busy:
            try:
                raise RuntimeError("failed to acquire camera: Device or resource busy")
            except RuntimeError as error:
                raise RuntimeError("Camera __init__ sequence did not complete.") from error
        self.number = camera_num
        self.held = 0
        self.told: dict[str, Any] = {}
        self.hang = threading.Event()
        self.is_open = True
        self.opened.append(self)

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        return Picamera2.cameras

    @property
    def camera_controls(self) -> dict[str, Any]:
        return OFFERED

    @property
    def camera_properties(self) -> dict[str, Any]:
        return {"Model": "imx477"}

    def create_preview_configuration(
        self,
        main: dict[str, Any] = {},  # noqa: B006
        lores: dict[str, Any] | None = None,
        colour_space: str = "",
        buffer_count: int = 4,
        controls: dict[str, Any] = {},  # noqa: B006
        display: str | None = "main",
        encode: str | None = "main",
    ) -> dict[str, Any]:
        assert display is None
        assert encode is None
        return {
            "main": main,
            "lores": lores,
            "colour_space": colour_space,
            "buffer_count": buffer_count,
            "controls": controls,
        }

    def configure(self, camera_config: dict[str, Any]) -> None:
        self.configuration = camera_config
        for stream in ("main", "lores"):
            if (config := camera_config[stream]) and config["size"] == (16384, 16384):
                camera_config[stream] = config | {"size": (4056, 3040)}

    def camera_configuration(self) -> dict[str, Any]:
        return self.configuration

    def start(self) -> None:
        self.set_controls(self.configuration["controls"])

    def set_controls(self, controls: dict[str, Any]) -> None:
        for name in controls:
            if name not in OFFERED:
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
        self.told = self.told | controls

    def capture_request(self, wait: bool | None = None) -> Job:
        assert wait is False, "this would wait without limit"
        return Job(self)

    def cancel_all_and_flush(self) -> None:
        pass

    def close(self) -> None:
        self.is_open = False


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the simulated libraries."""
    Picamera2.opened, Picamera2.busy = [], False
    Picamera2.cameras = [{"Id": "/base/i2c@1/imx477", "Model": "imx477"}, {"Id": "/base/usb-1", "Model": "webcam"}]
    spaces = types.SimpleNamespace(Sycc=lambda: "Sycc", Smpte170m=lambda: "Smpte170m")
    monkeypatch.setitem(sys.modules, "picamera2", types.SimpleNamespace(Picamera2=Picamera2))
    monkeypatch.setitem(sys.modules, "libcamera", types.SimpleNamespace(ColorSpace=spaces))


@pytest.fixture
def camera() -> Iterator[Camera]:
    with open_camera("picamera2://0", open_timeout_s=2, read_timeout_s=0.5) as opened:
        yield opened


def values(camera: Camera) -> dict[str, Setting]:
    return {control.name: control.value for control in camera.controls()}


# Pictures


def test_pictures_have_blue_first_and_are_4_to_3(camera: Camera) -> None:
    frame = next(iter(camera))
    assert frame.image.shape == (960, 1280, 3)
    assert frame.image[0, 0].tolist() == list(BGR)
    assert frame.settings["camera"] == "imx477"


def test_every_picture_is_given_back_to_the_camera(camera: Camera) -> None:
    assert len(list(itertools.islice(camera, 20))) == 20


def test_the_second_smaller_output_has_the_same_colours_whatever_its_padding() -> None:
    with open_camera("picamera2://0?width=2028&height=1520&lores_width=330&lores_height=248") as camera:
        frame = next(iter(camera))
    assert frame.image.shape == (248, 330, 3)
    assert np.abs(frame.image.astype(int) - BGR).max() <= 3
    assert Picamera2.opened[0].configuration["main"]["size"] == (2028, 1520)


def test_a_rate_limits_the_exposure_and_without_one_an_exposure_may_take_a_second(camera: Camera) -> None:
    assert next(each for each in camera.controls() if each.name == "exposure_us").maximum == 1_000_000
    with open_camera("picamera2://0?fps=50") as fast:
        assert next(each for each in fast.controls() if each.name == "exposure_us").maximum == 20_000
    assert Picamera2.opened[1].told["FrameDurationLimits"] == (20_000, 20_000)


def test_settings_are_those_that_each_picture_was_taken_with(camera: Camera) -> None:
    settings = next(iter(camera)).settings
    assert settings["exposure_us"] == 12_000
    assert (settings["red_gain"], settings["blue_gain"]) == (2.1, 1.7)
    assert settings["white_balance_k"] == 4100
    assert settings["fps"] == 20
    assert settings["auto_exposure"] is True


# Controls


def test_what_the_automatics_found_is_locked_when_they_are_switched_off(camera: Camera) -> None:
    next(iter(camera))
    camera.set_control("auto_exposure", False)
    camera.set_control("auto_white_balance", False)
    told = Picamera2.opened[0].told
    assert told["AeEnable"] is False
    assert (told["ExposureTime"], told["AnalogueGain"], told["ColourGains"]) == (12_000, 1.5, (2.1, 1.7))


def test_a_gain_of_one_colour_leaves_the_other(camera: Camera) -> None:
    next(iter(camera))
    camera.set_control("auto_white_balance", False)
    camera.set_control("red_gain", 3)
    assert Picamera2.opened[0].told["ColourGains"] == (3.0, 1.7)
    camera.set_control("blue_gain", 1.2)
    assert Picamera2.opened[0].told["ColourGains"] == (3.0, 1.2)


def test_an_automatic_that_is_on_again_frees_what_was_set(camera: Camera) -> None:
    frames = iter(camera)
    next(frames)
    camera.set_control("auto_exposure", False)
    camera.set_control("exposure_us", 500)
    assert values(camera)["exposure_us"] == 500
    camera.set_control("auto_exposure", True)
    list(itertools.islice(frames, 3))
    assert values(camera)["exposure_us"] == 12_000
    with pytest.raises(CameraError, match="switch auto_exposure off first"):
        camera.set_control("exposure_us", 500)


def test_zero_which_libcamera_takes_as_automatic_can_not_be_set(camera: Camera) -> None:
    camera.set_control("auto_exposure", False)
    camera.set_control("auto_white_balance", False)
    for name in ("exposure_us", "gain", "red_gain", "blue_gain"):
        with pytest.raises(CameraError, match="it takes"):
            camera.set_control(name, 0)


def test_only_what_the_camera_has_can_be_set(camera: Camera) -> None:
    assert "contrast" not in values(camera)
    with pytest.raises(CameraError, match="no control 'contrast'"):
        camera.set_control("contrast", 1)


def test_a_camera_that_hangs_comes_back_with_its_exposure_and_white_balance_locked() -> None:
    events: list[str] = []
    with open_camera("picamera2://0", open_timeout_s=2, read_timeout_s=0.3, on_event=events.append) as camera:
        frames = iter(camera)
        next(frames)
        camera.set_control("auto_exposure", False)
        camera.set_control("exposure_us", 777)
        camera.set_control("auto_white_balance", False)
        Picamera2.opened[0].hang.set()
        while not any("is back" in event for event in events):
            frame = next(frames)
    assert frame.settings["exposure_us"] == 777
    assert len(Picamera2.opened) == 2
    assert Picamera2.opened[1].told["ColourGains"] == (2.1, 1.7)
    assert not any(each.is_open for each in Picamera2.opened)


# What can go wrong


def test_without_the_library_the_packages_and_the_virtual_environment_are_explained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(CameraError, match=r"python3-picamera2.*--system-site-packages"):
        open_camera("picamera2://0")
    assert not any(each.uri.startswith("picamera2:") for each in list_cameras())


def test_a_camera_that_is_in_use_or_not_there_says_so() -> None:
    with pytest.raises(CameraError, match=r"finds 2 cameras.*no picamera2://7; check the ribbon"):
        open_camera("picamera2://7")
    Picamera2.busy = True
    with pytest.raises(CameraError, match="used by another program"):
        open_camera("picamera2://0")


def test_another_size_than_asked_for_is_refused_and_the_camera_is_let_go() -> None:
    with pytest.raises(CameraError, match="4056 × 3040, not what was asked for"):
        open_camera("picamera2://0?width=16384&height=16384")
    assert not Picamera2.opened[0].is_open


@pytest.mark.parametrize(
    "tail",
    ["", "x", "0?width=640", "0?width=641&height=480", "0?fps=0", "0?lores_width=64", "0?buffers=0", "0?zoom=1"],
)
def test_a_uri_that_names_no_camera_or_wrong_options_is_refused(tail: str) -> None:
    with pytest.raises(CameraError, match="options"):
        open_camera(f"picamera2://{tail}")


def test_cameras_of_the_connector_are_listed_and_usb_cameras_are_left_to_v4l2() -> None:
    assert [each.uri for each in list_cameras() if each.uri.startswith("picamera2:")] == ["picamera2://0"]


def test_a_library_that_fails_does_not_hide_other_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[dict[str, Any]]:
        raise RuntimeError("no permission")

    monkeypatch.setattr(Picamera2, "global_camera_info", staticmethod(broken))
    (problem,) = [each.problem for each in list_cameras() if each.uri == "picamera2:"]
    assert problem
    assert "no permission" in problem


# The simulated library against picamera2's own source


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of picamera2's source, as published; it can't be installed without libcamera."""
    folder = tmp_path_factory.mktemp("picamera2")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--dest", str(folder)]
    subprocess.run([*command, f"picamera2=={VERSION}"], check=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder / "picamera2"


def classes(path: Path) -> dict[str, dict[str, ast.FunctionDef]]:
    """Return the methods of each class in a file, the last definition of each: those before it are overloads."""
    return {
        node.name: {each.name: each for each in node.body if isinstance(each, ast.FunctionDef)}
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
    }


@pytest.mark.parametrize(
    ("simulated", "file"), [(Picamera2, "picamera2.py"), (CompletedRequest, "request.py"), (Job, "job.py")]
)
def test_the_simulated_library_has_picamera2s_own_methods_and_parameters(
    source: Path, simulated: type, file: str
) -> None:
    real = classes(source / file)[simulated.__name__]
    for name, member in vars(simulated).items():
        if name == "__init__" and simulated is not Picamera2:
            continue  # picamera2 makes these itself
        if isinstance(member, property):
            assert any(ast.unparse(each) == "property" for each in real[name].decorator_list)
        elif inspect.isfunction(inspect.unwrap(getattr(member, "__func__", member))):
            parameters = {each.arg for each in (*real[name].args.args, *real[name].args.kwonlyargs)}
            assert set(inspect.signature(getattr(member, "__func__", member)).parameters) <= parameters, name


def test_the_formats_are_picamera2s_and_its_rgb888_has_blue_first(source: Path) -> None:
    formats = (source / "formats.py").read_text()
    assert '"RGB888"' in formats
    assert '"YUV420"' in formats
    assert '"RGB888": "BGR"' in (source / "request.py").read_text()  # in memory, as it tells its own encoders


def test_the_keys_of_a_stream_are_picamera2s(source: Path) -> None:
    method = ast.unparse(classes(source / "picamera2.py")["Picamera2"]["_make_initial_stream_config"])
    assert "valid = ('format', 'size', 'stride', 'preserve_ar')" in method


def test_controls_that_are_not_advertised_raise_as_in_picamera2(source: Path) -> None:
    assert (
        'raise RuntimeError(f"Control {name} is not advertised by libcamera")' in (source / "controls.py").read_text()
    )
