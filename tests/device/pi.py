"""Proves the installation and the verdicts on a device: python -m tests.device.pi [OPTIONS] -- RUNNER.

RUNNER is a command that runs what follows it on the device, in a folder there that is this one's current folder: an
emulated userland (with `sh tests/device/board.sh` behind it), or a wrapper around ssh. This machine builds the wheel
and gathers a wheelhouse; the device then installs the wheel from the registry as docs/raspberry-pi.md says, and the
wheelhouse without network, and from the latter runs `doctor`, `bundle verify` and `classify` for each bundle, the page,
`bench`, and tests. Verdicts are compared image by image. With --unpack this machine unpacks the same wheels into the
folder and the device's pip is not tried, which takes an hour in an emulator. Here uv and real images are needed, on the
device Python.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.result_files import read_results
from benchmarks.results import LatencyResults
from edge_app.bundle import default_bundle_path, open_bundle
from edge_app.wheelhouse import TARGETS, Target, write_wheelhouse

ROOT = Path(__file__).parents[2]
# those that make no models: the libraries for that are not on a device
TESTS = ("preprocessing", "judging", "consensus", "cells", "cores", "fields", "images", "scale", "smears", "bundle")
EXTRAS = ("onnx", "openvino")
LIMIT_S = 3600  # an emulated device is slow
INSTALLED, UNPACKED = "full/bin/python", ("env", "PYTHONPATH=full", "python3")


class Device:
    """The device, reached by a runner; steps go on after one that failed, whose output is kept.

    python: what starts the Python there that has Leukoscope.
    """

    def __init__(self, runner: Sequence[str], folder: Path, *python: str) -> None:
        self.runner, self.folder, self.python = runner, folder, python

    def leukoscope(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Leukoscope there."""
        return self.run(*self.python, "-m", "edge_app", *arguments)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder, and say how it went."""
        started = time.monotonic()
        done = subprocess.run(
            [*self.runner, *command], cwd=self.folder, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
        print(f"{time.monotonic() - started:6.0f} s  exit {done.returncode}  {' '.join(command)[:100]}", flush=True)
        if done.returncode:
            print("\n".join((done.stdout + done.stderr).splitlines()[-8:]), flush=True)
        return done


def main() -> None:
    """Run all steps and write what was found as JSON; the exit code is 1 when something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=TARGETS, default="pi5")
    parser.add_argument("--bundles", type=Path, nargs="*", default=[], help="besides the shipped one")
    parser.add_argument("--images", type=Path, required=True, help="a folder of real images")
    parser.add_argument("--count", type=int, default=24, help="of the images, evenly taken")
    parser.add_argument("--wheelhouse", type=Path, metavar="FOLDER", help="gathered before, instead of a new one")
    parser.add_argument("--folder", type=Path, help="a new one that stays: what was cut off goes on in it")
    parser.add_argument("--unpack", action="store_true", help="unpack the wheels from here")
    parser.add_argument("--tests", nargs="*", default=TESTS, metavar="NAME", help="of tests/test_NAME.py")
    parser.add_argument("--output", type=Path, default=ROOT / "tests/device/results/pi.json")
    parser.add_argument("--bench-output", type=Path, metavar="FILE", help="where to keep the times; they are short")
    parser.add_argument("runner", nargs="+")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        kept = folder / "found.json"
        target = TARGETS[options.target]
        device = Device(options.runner, folder, *(UNPACKED if options.unpack else (INSTALLED,)))
        if kept.exists():
            found: dict[str, Any] = json.loads(kept.read_text())
        else:
            lay_out(folder, options.bundles, options.images, options.count)
            if options.wheelhouse:
                shutil.copytree(options.wheelhouse, folder / "wheelhouse")
            else:
                write_wheelhouse(folder / "wheelhouse", target, extras=EXTRAS, source=str(ROOT))
            found = {"check": "pi", "target": target.name, **describe(device)}
        (wheel,) = (folder / "wheelhouse" / "wheels").glob("leukoscope-*.whl")
        further = target.pythons[found["python"]]
        steps: dict[str, Callable[[], Any]] = {
            "installs": lambda: (
                unpack(folder, target, found["python"]) if options.unpack else install(device, wheel, further)
            ),
            "doctor": lambda: doctor(device),
            **{
                f"bundle {name}": partial(compare, device, Path("bundles", name))
                for name in sorted(path.name for path in (folder / "bundles").iterdir())
            },
            "page": lambda: page(device),
            "bench": lambda: bench(device, options.bench_output),
            "tests": lambda: run_tests(device, options.tests),
        }
        options.output.parent.mkdir(parents=True, exist_ok=True)
        for name in [each for each in steps if each not in found]:
            found[name] = steps[name]()
            for path in (kept, options.output):  # what was found so far stays when it is cut off
                path.write_text(json.dumps(found, indent=1) + "\n")
    print(options.output)
    sys.exit(not held(found))


def lay_out(folder: Path, bundles: Sequence[Path], images: Path, count: int) -> None:
    """Put bundles, images and tests where the device can read them."""
    for bundle in [default_bundle_path(), *bundles]:
        shutil.copytree(bundle, folder / "bundles" / bundle.name)
    found = sorted(path for path in images.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    (folder / "images").mkdir()
    for path in found[:: max(1, len(found) // count)][:count]:
        shutil.copy(path, folder / "images" / f"{path.parent.name}-{path.name}")
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)


def describe(device: Device) -> dict[str, str]:
    """Return the device's system, processor and Python."""
    code = "import platform as p; print(p.freedesktop_os_release()['PRETTY_NAME'], p.machine(), p.python_version(), sep='|')"  # noqa: E501
    system, machine, version = device.run("python3", "-c", code).stdout.strip().split("|")
    return {"system": system, "machine": machine, "version": version, "python": ".".join(version.split(".")[:2])}


def install(device: Device, wheel: Path, further: Sequence[str]) -> list[dict[str, Any]]:
    """Install the wheel from the registry, and everything without network; return both with the size of what came."""
    device.run("python3", "-m", "venv", "--system-site-packages", "bare")
    rows = []
    for what, environment, command in (
        (
            "wheel, from the registry",
            "bare",
            ("bare/bin/pip", "install", "-q", f"wheelhouse/wheels/{wheel.name}", *further),
        ),
        ("all of the wheelhouse, no network", "full", ("sh", "wheelhouse/install.sh", "full")),
    ):
        code = device.run(*command).returncode
        bytes_ = device.run("du", "-sb", environment).stdout.split()[:1]
        packages = len(device.run(f"{environment}/bin/pip", "list", "--local", "-q").stdout.splitlines()) - 2
        rows.append({"what": what, "exit_code": code, "bytes": int(*bytes_), "packages": packages})
    return rows


def unpack(folder: Path, target: Target, python: str) -> list[dict[str, Any]]:
    """Unpack the wheels of the bare install, and all; return the size of both."""
    words = ("--python-platform", f"{target.machine}-manylinux_2_{target.glibc}", "--python-version", python)
    rows = []
    for environment, what, wanted in (
        ("bare", "wheel alone, unpacked", ["leukoscope", *target.pythons[python]]),
        ("full", "all of the wheelhouse, unpacked", ["-r", str(folder / "wheelhouse" / f"python{python}.txt")]),
    ):
        command = ["-m", "uv", "pip", "install", "--no-index", "--find-links", str(folder / "wheelhouse" / "wheels")]
        command += ["--quiet", "--target", str(folder / environment), *words, *wanted]
        subprocess.run([sys.executable, *command], check=True)
        files = [path for path in (folder / environment).rglob("*") if path.is_file()]
        packages = len(list((folder / environment).glob("*.dist-info")))
        size = sum(path.stat().st_size for path in files)
        rows.append({"what": what, "exit_code": 0, "bytes": size, "packages": packages})
    subprocess.run(
        [
            sys.executable,
            "-m",
            "uv",
            "pip",
            "install",
            "-q",
            "--target",
            str(folder / "full"),
            *words,
            "pytest",
            "hypothesis",
        ],
        check=True,
    )
    return rows


def doctor(device: Device) -> dict[str, Any]:
    """Return what `leukoscope doctor` finds."""
    done = device.leukoscope("doctor", "--json")
    return {"exit_code": done.returncode, **json.loads(done.stdout)}


def compare(device: Device, bundle: Path) -> dict[str, Any]:
    """Verify a bundle and judge the images with it, on the device and here; return how the verdicts differ."""
    manifest = open_bundle(device.folder / bundle).manifest
    row: dict[str, Any] = {"name": manifest.name, "format": manifest.format, "precision": manifest.precision}
    verified = device.leukoscope("bundle", "verify", str(bundle))
    row["verified"] = verified.returncode == 0
    command = ("classify", "images", "--bundle", str(bundle), "--json")
    there = verdicts(device.leukoscope(*command).stdout)
    here = verdicts(Device((), device.folder, sys.executable).leukoscope(*command).stdout)
    both = [(there[source], verdict) for source, verdict in here.items() if source in there]
    row["images"], row["judged_here"], row["judged_there"] = len(both), len(here), len(there)
    row["same_label"] = sum(a["label"] == b["label"] for a, b in both)
    row["same_reason"] = sum(a["indeterminate"] == b["indeterminate"] for a, b in both)
    row["labelled"] = sum(b["label"] is not None for _, b in both)
    row["largest_difference"] = max(
        (abs(a["probabilities"][key] - p) for a, b in both for key, p in b["probabilities"].items()), default=None
    )
    row["executed"] = next((verdict["executed"] for verdict in there.values()), verified.stderr[-300:])
    row["executed_here"] = next((verdict["executed"] for verdict in here.values()), None)
    return row


def verdicts(lines: str) -> dict[str, Any]:
    """Return the verdicts of --json by the name of their file."""
    return {Path(each["source"]).name: each for each in map(json.loads, lines.splitlines()) if "error" not in each}


def run_tests(device: Device, names: Sequence[str]) -> dict[str, Any]:
    """Run the tests that need no training side, against what was installed."""
    if device.python == (INSTALLED,):
        device.run("full/bin/pip", "install", "-q", "pytest", "hypothesis")
    files = [f"tests/test_{name}.py" for name in names]
    done = device.run(*device.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files)
    return {"files": files, "exit_code": done.returncode, "said": done.stdout.splitlines()[-1:]}


def page(device: Device) -> dict[str, Any]:
    """Start the app on the drawn frames, and ask its page for verdicts."""
    done = device.run(*device.python, "tests/device/app.py", "demo:", "--limit", "900")
    return {"exit_code": done.returncode, "said": done.stdout.splitlines()[-8:]}


def bench(device: Device, output: Path | None) -> dict[str, Any]:
    """Time the shipped bundle for a moment and write a report of it; return what the report leaves out, and why."""
    options = ("--preset", "rapid", "--repeats", "1", "--threads", "1", "--size", "640x480")
    timed = device.leukoscope("bench", "latency", *options, "--output", "latency.json")
    reported = device.leukoscope("bench", "report", "latency.json", "--output", "report")
    results = read_results(device.folder / "latency.json")
    assert isinstance(results, LatencyResults)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(device.folder / "latency.json", output)
    return {
        "exit_code": timed.returncode or reported.returncode,
        "emulated": results.environment.emulated,
        "said": [f"{run.bundle.name}: not ranked, {each}" for run in results.runs for each in run.invalid],
    }


def held(found: dict[str, Any]) -> bool:
    """Return whether all steps ended well and each label is the same."""
    codes = [*(each["exit_code"] for each in found["installs"])]
    codes += [found[each]["exit_code"] for each in ("doctor", "tests", "page", "bench")]
    return not any(codes) and all(
        each["verified"] and each["same_label"] == each["judged_here"] == each["judged_there"]
        for name, each in found.items()
        if name.startswith("bundle ")
    )


if __name__ == "__main__":
    main()
