import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner

from edge_app.board import Throttling
from edge_app.bundle import write_bundle
from edge_app.commands.doctor import (
    Check,
    check_bundle,
    check_condition,
    check_device,
    clock,
    command,
    picamera2,
    throttled,
    video_sources,
)
from edge_app.errors import GoldenError, RuntimeMissingError
from tests.bundles import tiny_bundle
from tests.tiny_models import onnx_model

MEMORY = "MemTotal:        4137904 kB\nMemFree:          212240 kB\nMemAvailable:    {} kB\n"


def named(name: str, checks: list[Check]) -> Check:
    return next(check for check in checks if check.name == name)


def test_findings_are_one_json_object_and_the_exit_code_follows_from_them() -> None:
    result = CliRunner().invoke(command, ["--json"])
    findings = json.loads(result.stdout)
    assert findings["can_classify"] == (result.exit_code == 0)
    checks = findings["checks"]
    assert {"processor", "Python", "TFLite bundles", "ONNX bundles", "OpenCV", "shipped bundle", "clock"} <= {
        check["name"] for check in checks
    }
    for check in checks:
        assert (check["state"] == "ok") == (check["advice"] is None), check


def test_a_person_reads_one_line_a_finding_and_its_advice() -> None:
    result = CliRunner().invoke(command)
    lines = result.stdout.splitlines()
    assert lines[-1].startswith("This device can")
    assert all(line.startswith(("ok ", "warning ", "missing ", " ")) for line in lines[:-1])
    assert sum(not line.startswith(("ok", " ")) for line in lines[:-1]) == sum("→" in line for line in lines)


def test_the_shipped_bundle_is_verified_by_its_golden_outputs() -> None:
    result = CliRunner().invoke(command)
    assert result.exit_code == 0, result.output
    assert "golden outputs verified by ai_edge_litert" in result.stdout


def test_a_bundle_is_fine_only_if_it_computes_what_was_measured(tmp_path: Path) -> None:
    write_bundle(tmp_path / "good.leuko", tiny_bundle(onnx_model()))
    check, code = check_bundle(tmp_path / "good.leuko")
    assert (check.state, code) == ("ok", 0)
    assert "verified by onnxruntime" in check.text
    write_bundle(tmp_path / "other.leuko", tiny_bundle(onnx_model(scale=25)))
    check, code = check_bundle(tmp_path / "other.leuko")
    assert (check.state, code) == ("warning", GoldenError.exit_code)
    assert "does not compute what was measured" in check.text
    assert (check.advice or "").startswith("use another version")
    check, code = check_bundle(tmp_path / "none.leuko")
    assert (check.state, code) == ("missing", GoldenError.exit_code)


def test_without_the_runtime_it_exits_as_the_commands_would(tmp_path: Path) -> None:
    for package in ("ai_edge_litert", "tflite_runtime", "tensorflow"):
        source = "raise ModuleNotFoundError(f'No module named {__name__!r}', name=__name__)"
        (tmp_path / f"{package}.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-c", "from edge_app.cli import main; main()", "doctor"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        timeout=120,
    )
    assert done.returncode == RuntimeMissingError.exit_code
    assert "pip install ai-edge-litert" in done.stdout
    assert done.stdout.endswith("This device can't classify yet.\n")
    assert done.stderr == ""


def test_a_board_is_named_by_its_device_tree(tmp_path: Path) -> None:
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    (tmp_path / "proc/meminfo").write_text(MEMORY.format(102400))
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    checks = list(check_device(tmp_path))
    assert named("board", checks).text == "Raspberry Pi 5 Model B Rev 1.0"
    assert named("memory", checks).state == "warning"
    assert named("system", checks).text.startswith("Debian GNU/Linux 12 (bookworm), Linux ")


def test_a_device_that_tells_nothing_is_no_error(tmp_path: Path) -> None:
    assert named("processor", list(check_device(tmp_path))).state == "ok"
    assert {check.name for check in check_condition(tmp_path)} <= {"disk", "clock", "throttling"}
    assert "an unknown distribution" in named("system", list(check_device(tmp_path))).text


def test_a_hot_or_slowed_device_is_told(tmp_path: Path) -> None:
    for number, reading in enumerate(["48312\n", "85001\n"]):
        zone = tmp_path / f"sys/class/thermal/thermal_zone{number}"
        zone.mkdir(parents=True)
        (zone / "temp").write_text(reading)
    governor = tmp_path / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    governor.parent.mkdir(parents=True)
    governor.write_text("powersave\n")
    checks = list(check_condition(tmp_path))
    assert named("temperature", checks).text == "85 °C"
    assert named("temperature", checks).state == "warning"
    assert named("governor", checks).state == "warning"
    governor.write_text("ondemand\n")
    assert named("governor", list(check_condition(tmp_path))).state == "ok"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Throttling((), ()), "none since boot"),
        (Throttling(("under-voltage",), ("throttled",)), "now: under-voltage; since boot: throttled"),
        (Throttling((), ("soft temperature limit",)), "now: none; since boot: soft temperature limit"),
    ],
)
def test_throttling_is_put_into_words(found: Throttling, said: str) -> None:
    assert throttled(found).text == said


def test_an_under_voltage_is_cured_by_another_power_supply() -> None:
    assert "power supply" in (throttled(Throttling((), ("under-voltage",))).advice or "")
    assert throttled(Throttling(("soft temperature limit",), ())).advice == "cool it"
    assert throttled(Throttling((), ())).state == "ok"


@pytest.mark.parametrize(("answer", "state"), [("yes\n", "ok"), ("no\n", "warning"), ("", "warning")])
def test_the_clock_is_fine_only_when_it_is_synchronised(answer: str, state: str) -> None:
    assert clock(answer).state == state


def test_the_video_sources_are_those_of_this_opencv() -> None:
    assert video_sources(
        "    GStreamer:                   NO\n    v4l/v4l2:                    YES (linux/videodev2.h)"
    ) == {
        "V4L2": True,
        "GStreamer": False,
    }
    assert video_sources("    GStreamer:                   YES (1.22.0)\n") == {"V4L2": False, "GStreamer": True}
    assert video_sources(cv2.getBuildInformation())["V4L2"]


def test_picamera2_is_missed_on_a_raspberry_pi_only() -> None:
    on_pi = picamera2("Raspberry Pi 4 Model B Rev 1.4")
    assert on_pi.state in ("ok", "missing")
    assert on_pi.state == "ok" or "--system-site-packages" in (on_pi.advice or "")
    assert picamera2("").state == "ok"


def test_a_picamera2_that_was_built_for_another_numpy_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "libcamera.py").touch()
    (tmp_path / "picamera2.py").write_text("raise ValueError('numpy.dtype size changed, may indicate binary …')")
    monkeypatch.syspath_prepend(tmp_path)
    for board in ("Raspberry Pi 5 Model B Rev 1.0", ""):
        check = picamera2(board)
        assert check.state == "warning"
        assert "numpy.dtype size changed" in check.text
        assert "pip install 'numpy<2'" in (check.advice or "")
