"""Wheelhouses: a folder with every package that a device without network needs, and the script that installs them."""

import hashlib
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from edge_app import __version__
from edge_app.disk import new_folder
from edge_app.errors import WheelhouseError

# Minor versions of glibc 2: manylinux2014 is manylinux_2_17, what was built for older ones runs on newer ones, and uv
# knows names up to 2.40.
OLDEST_GLIBC, NEWEST_GLIBC = 17, 40
# Releases that say they are for older Pythons only, which uv does not heed and pip does.
TOO_OLD = ("backports-strenum<1.3",)

INSTALL = """\
#!/bin/sh
# Installs Leukoscope {version} from this folder, without network: sh install.sh [ENVIRONMENT]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
environment=${{1:-/opt/leukoscope/venv}}
python=${{PYTHON:-python3}}
found=$("$python" -c 'import platform, sys; print("%s %d.%d" % (platform.machine(), *sys.version_info[:2]))')
list="$here/python${{found#* }}.txt"
if [ "${{found% *}}" != {machine} ] || [ ! -f "$list" ]; then
  echo "install.sh: these packages are for {machine} and Python {pythons}, this is $found;" \\
    "gather them for this device, or name another Python: PYTHON=python3.11 sh install.sh" >&2
  exit 1
fi
"$python" -m venv --system-site-packages "$environment"
"$environment/bin/pip" install --no-index --find-links "$here/wheels" --require-hashes -r "$list"
"$environment/bin/leukoscope" doctor
"""

README = """\
Leukoscope {version} for {name}, Python {pythons}, and what it needs, gathered for a device without network.

On the device (python3-venv must be there; for the ribbon cable's camera of a Raspberry Pi python3-picamera2, too):

  sudo sh install.sh /opt/leukoscope/venv

This makes the environment, installs from this folder alone, compares each file's sha256 with the list, and ends with
what `leukoscope doctor` finds. For Research Use Only. Not for use in diagnostic procedures.
"""


@dataclass(frozen=True)
class Target:
    """A kind of device.

    glibc: the minor version of the oldest system's C library. pythons: version → further requirements of the system
    that has it.
    """

    name: str
    machine: str
    glibc: int
    pythons: Mapping[str, tuple[str, ...]]


# The system's picamera2 of bookworm (Python 3.11) is built for numpy 1; glibc: Debian 12 has 2.36, Ubuntu 24.04 2.39.
TARGETS = {
    "pi5": Target(
        "64-bit Raspberry Pi OS bookworm and trixie (Pi 4 and 5)", "aarch64", 36, {"3.11": ("numpy<2",), "3.13": ()}
    ),
    "jetson": Target("JetPack 7 (Ubuntu 24.04)", "aarch64", 39, {"3.12": ()}),
    "this": Target(
        "a machine like this one",
        platform.machine(),
        int((platform.libc_ver()[1] or "2.17").split(".")[1]),
        {f"{sys.version_info.major}.{sys.version_info.minor}": ()},
    ),
}


def write_wheelhouse(
    folder: Path,
    target: Target,
    *,
    extras: Sequence[str] = (),
    source: str | None = None,
    on_step: Callable[[str, int, int], None] = lambda *_: None,
) -> list[Path]:
    """Write the wheels for a target, their lists with sha256 and install.sh to `folder` (new); return the wheels.

    source: Leukoscope's own source folder or wheel; by default what this one was installed from. `on_step` is called
    with what is being done, how much of it is done, and of how much. The folder appears whole or not at all.

    Raises WheelhouseError when the folder exists, pip or uv is missing, or a package has no wheel for the target.
    """
    if folder.exists():
        raise WheelhouseError(f"{folder} exists already; give another folder, or remove it first")
    if missing := [name for name in ("pip", "uv") if util.find_spec(name) is None]:
        command = f"{sys.executable} -m ensurepip; {sys.executable} -m pip install uv"
        raise WheelhouseError(f"{' and '.join(missing)} not found in this environment; install with: {command}")
    try:
        with new_folder(folder) as partial:
            wheels = partial / "wheels"
            wheels.mkdir(parents=True)
            on_step("building Leukoscope's wheel", 0, 1)
            _run("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), source or own_requirement())
            (own,) = wheels.iterdir()
            for python, further in target.pythons.items():
                _gather(partial, own, target, python, [*further], extras, on_step)
            words = {"version": __version__, "name": target.name, "machine": target.machine}
            words["pythons"] = " and ".join(target.pythons)
            (partial / "install.sh").write_text(INSTALL.format_map(words))
            (partial / "README.txt").write_text(README.format_map(words))
    except OSError as error:
        raise WheelhouseError(
            f"{folder} can't be written: {error.strerror}; make room or choose another folder"
        ) from error
    return sorted((folder / "wheels").iterdir())


def own_requirement() -> str:
    """Return what makes pip build this Leukoscope again: where it was installed from (PEP 610), or its name."""
    origin = json.loads(metadata.distribution("leukoscope").read_text("direct_url.json") or "{}")
    if vcs := origin.get("vcs_info"):
        return f"{vcs['vcs']}+{origin['url']}@{vcs['commit_id']}"
    return str(origin.get("url", f"leukoscope=={__version__}"))


def _gather(
    folder: Path,
    own: Path,
    target: Target,
    python: str,
    further: list[str],
    extras: Sequence[str],
    on_step: Callable[[str, int, int], None],
) -> None:
    """Resolve for one Python of the target, write the list, and download what is on it."""
    what = f"packages for Python {python}"
    on_step(f"resolving {what}", 0, 1)
    name = f"leukoscope[{','.join(extras)}]" if extras else "leukoscope"
    listed, glibc = folder / f"python{python}.txt", min(target.glibc, NEWEST_GLIBC)
    with tempfile.TemporaryDirectory() as elsewhere:
        wanted, pins = Path(elsewhere, "wanted.in"), Path(elsewhere, "pins.txt")
        wanted.write_text("\n".join([f"{name} @ {own.absolute().as_uri()}", *TOO_OLD, *further]))
        # uv resolves for another machine's markers; pip would take them from the machine that it runs on
        _run(
            *("uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes"),
            *("--no-emit-package", "leukoscope", "--only-binary", ":all:", "--python-version", python),
            *("--python-platform", f"{target.machine}-manylinux_2_{glibc}", "-o", str(pins), str(wanted)),
        )
        tags = [f"manylinux_2_{minor}_{target.machine}" for minor in range(glibc, OLDEST_GLIBC - 1, -1)]
        _run(
            *("pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--python-version", python),
            *("--implementation", "cp", "--abi", "cp" + python.replace(".", ""), "--abi", "abi3", "--abi", "none"),
            *(word for tag in [*tags, f"manylinux2014_{target.machine}"] for word in ("--platform", tag)),
            *("--progress-bar", "off", "--dest", str(own.parent), "--requirement", str(pins)),
            on_line=_counter(f"fetching {what}", pins.read_text().count("=="), on_step),
        )
        version, sha256 = own.name.split("-")[1], hashlib.sha256(own.read_bytes()).hexdigest()
        listed.write_text(f"leukoscope=={version} --hash=sha256:{sha256}\n{pins.read_text()}")


def _counter(what: str, total: int, on_step: Callable[[str, int, int], None]) -> Callable[[str], None]:
    """Return what counts the packages that pip says it collects."""
    done = 0

    def count(line: str) -> None:
        nonlocal done
        if line.startswith("Collecting "):
            on_step(what, done, total)
            done += 1

    return count


def _run(*arguments: str, on_line: Callable[[str], None] = lambda _: None) -> None:
    """Run a Python module and hand on the lines it writes; raises WheelhouseError with the end of its complaint."""
    with tempfile.TemporaryFile("w+") as complaint:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], stdout=subprocess.PIPE, stderr=complaint, text=True
        )
        with process:
            for line in process.stdout or ():
                on_line(line)
        if process.returncode:
            complaint.seek(0)
            said = " ".join(line.strip() for line in complaint if not line.startswith("WARNING"))[-600:]
            raise WheelhouseError(
                f"{' '.join(arguments[:2])} failed: {said}; check the network, and that the device's system has a "
                "wheel of each package"
            )
