import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_app.cli import leukoscope

ROOT = Path(__file__).parents[1]
# setuptools' finder warns on a look for pip where another test has imported distutils
pytestmark = pytest.mark.filterwarnings("ignore:Setuptools is replacing distutils:UserWarning")


def gather(*arguments: str | Path) -> Result:
    return CliRunner().invoke(leukoscope, ["wheelhouse", *map(str, arguments)])


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    result = gather("--for", "pi5", tmp_path)
    assert result.exit_code == 1
    assert "exists already" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_is_none_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    result = gather("--for", "pi5", "--source", tmp_path / "nothing", tmp_path / "wheelhouse")
    assert "pip wheel failed" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_an_environment_without_uv_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "uv" else object())
    result = gather("--for", "jetson", tmp_path / "wheelhouse")
    assert "pip install uv" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_machine_without_network_installs_from_the_folder_and_judges_the_demo(tmp_path: Path) -> None:
    result = gather("--for", "this", "--source", ROOT, tmp_path / "gathered")
    assert result.exit_code == 0, result.exception
    folder = (tmp_path / "gathered").rename(tmp_path / "carried")  # it can be carried elsewhere
    environment = tmp_path / "environment"
    offline = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "PYTHON"))}
    command: list[str | Path] = ["/bin/sh", folder / "install.sh", environment]
    if shutil.which("unshare") and os.getuid() == 0:
        command = ["unshare", "--net", *command]
    done = subprocess.run(
        command, env=offline | {"PIP_CONFIG_FILE": os.devnull, "PYTHON": sys.executable}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "This device can classify." in done.stdout
    demo = subprocess.run([environment / "bin" / "leukoscope", "demo"], cwd=tmp_path, capture_output=True, text=True)
    assert demo.stdout.count("Cancer") == demo.stdout.count("Normal") == 4


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() == "aarch64", reason="they would be for this machine")
def test_packages_for_another_machine_are_refused_by_the_script(tmp_path: Path) -> None:
    assert gather("--for", "pi5", "--source", ROOT, tmp_path / "gathered").exit_code == 0
    wheels = {path.name for path in (tmp_path / "gathered" / "wheels").iterdir()}
    assert not [name for name in wheels if "x86_64" in name]
    done = subprocess.run(
        ["/bin/sh", tmp_path / "gathered" / "install.sh", tmp_path / "environment"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "these packages are for aarch64 and Python 3.11 and 3.13" in done.stderr
    assert not (tmp_path / "environment").exists()
