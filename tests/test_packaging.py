import re
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.constraints import constraints

ROOT = Path(__file__).parents[1]
PACKAGES = ("benchmarks", "edge_app", "export", "train")
MOST_BYTES = 8e6


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run("build", "--no-isolation", "--wheel", "--sdist", "--outdir", folder, ROOT)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def run(*arguments: str | Path) -> str:
    done = subprocess.run([sys.executable, "-m", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def kept_files() -> set[str]:
    """The files of the four packages that git keeps, or would."""
    command = ["/usr/bin/git", "ls-files", "--cached", "--others", "--exclude-standard", *PACKAGES]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}


def test_the_wheel_carries_the_four_packages_whole_and_nothing_else(built: tuple[Path, Path]) -> None:
    names = zipfile.ZipFile(built[0]).namelist()
    assert {name for name in names if ".dist-info/" not in name} == kept_files()
    for needed in (
        "benchmarks/data/scene_groups.csv",
        "benchmarks/templates/report.html",
        "edge_app/data/default.leuko/manifest.json",
        "edge_app/store/migrations/versions/0001_records.py",
        "edge_app/web/static/index.html",
        "train/recipes/yolo11n.toml",
    ):
        assert needed in names
    assert not [name for name in names if re.search(r"(^|/)(tests?|__pycache__|\.\w+_cache)/|\.pyc$|\.partial", name)]


def test_the_sdist_builds_the_wheel_and_has_no_tests(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    top = {"CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml", ".gitignore"}
    assert names == kept_files() | top


def test_wheel_and_sdist_are_small_and_their_description_can_be_shown(built: tuple[Path, Path]) -> None:
    assert max(path.stat().st_size for path in built) < MOST_BYTES
    run("twine", "check", "--strict", *built)


def test_the_constraints_fit_what_the_project_asks_for_and_what_is_installed() -> None:
    text = (ROOT / "constraints.txt").read_text("utf-8")
    pinned = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            pinned[canonicalize_name(requirement.name)] = pin.version
    for line in metadata.requires("leukoscope") or ():
        requirement = Requirement(line)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": each}) for each in ("all", "dev")):
            name = canonicalize_name(requirement.name)
            assert name == "leukoscope" or requirement.specifier.contains(pinned[name]), line
    assert set(constraints()) <= set(pinned), "written before a requirement came: python -m tests.constraints"


@pytest.mark.slow
@pytest.mark.parametrize("installer", ["pipx", "uv"])
def test_the_wheel_installs_as_a_tool_and_judges_the_demo(
    installer: str, built: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIPX_HOME", "PIPX_BIN_DIR", "UV_TOOL_DIR", "UV_TOOL_BIN_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    uv_tool = ("uv", "tool")
    if installer == "uv":
        run(*uv_tool, "install", "--python", sys.executable, built[0])
        program = tmp_path / "UV_TOOL_BIN_DIR" / "leukoscope"
    else:
        run(*uv_tool, "run", "--python", sys.executable, "pipx", "install", built[0])
        program = tmp_path / "PIPX_BIN_DIR" / "leukoscope"
    done = subprocess.run([program, "demo"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.count("Cancer") == done.stdout.count("Normal") == 4
