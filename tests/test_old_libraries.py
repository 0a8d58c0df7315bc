"""The libraries of older systems: numpy 1 with OpenCV 4, as Raspberry Pi OS bookworm needs them, and tflite-runtime."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
# the wheel's own, so that neither this tree nor its environment is used
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment as docs/raspberry-pi.md makes it on bookworm."""
    folder = tmp_path_factory.mktemp("numpy1") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip(folder, "install", ROOT, "numpy<2")
    return folder


@pytest.fixture(scope="module")
def with_tflite_runtime(environment: Path) -> Path:
    """The same with the library that LiteRT replaced."""
    if sys.version_info >= (3, 12):
        pytest.skip("tflite-runtime's last wheels are for Python 3.11")
    pip(environment, "uninstall", "-y", "ai-edge-litert")
    pip(environment, "install", "tflite-runtime==2.14.0", "numpy<2")
    return environment


def pip(environment: Path, *arguments: str | Path) -> None:
    subprocess.run([environment / "bin" / "pip", *arguments], check=True, capture_output=True, env=CLEAN)


def leukoscope(environment: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [environment / "bin" / "leukoscope", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=environment, env=CLEAN)


def verdicts(environment: Path, *arguments: str | Path) -> list[dict[str, Any]]:
    done = leukoscope(environment, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_numpy_1_gives_the_same_verdicts(environment: Path) -> None:
    here = subprocess.run([sys.executable, "-m", "edge_app", "demo", "--json"], capture_output=True, check=True)
    for old, new in zip(
        verdicts(environment, "demo"), [json.loads(line) for line in here.stdout.splitlines()], strict=True
    ):
        assert old["label"] == new["label"] is not None
        assert old["probabilities"] == pytest.approx(new["probabilities"], abs=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_tflite_runtime_answers_as_was_measured(
    precision: str, with_tflite_runtime: Path, tiny_bundles: dict[str, Path]
) -> None:
    done = leukoscope(with_tflite_runtime, "bundle", "verify", tiny_bundles[f"tflite-{precision}"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tflite_runtime 2.14.0" in done.stdout


def test_tflite_runtime_judges_the_demo(with_tflite_runtime: Path) -> None:
    labels = [verdict["label"] for verdict in verdicts(with_tflite_runtime, "demo")]
    assert labels.count("Cancer") == labels.count("Normal") == 4


def test_tflite_runtime_beside_numpy_2_is_refused_in_a_sentence(with_tflite_runtime: Path) -> None:
    pip(with_tflite_runtime, "install", "numpy>=2", "opencv-python-headless>=4.12")
    done = leukoscope(with_tflite_runtime, "demo")
    assert done.returncode == 6
    assert "tflite_runtime" in done.stderr
    assert "beside numpy 2" in done.stderr
    assert "Traceback" not in done.stderr
