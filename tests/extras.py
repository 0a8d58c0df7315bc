"""Checks that every extra comes as wheels for each Python and processor: python -m tests.extras [--json FILE].

Needs a network and uv (`pip install uv`), and neither the other Pythons nor the other processor. The extra `picamera2`
is left out: on a Raspberry Pi it comes with the system.
"""

import argparse
import json
import subprocess
import sys
import tomllib
from itertools import product
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
PYTHONS = ("3.11", "3.12", "3.13")
# Debian 12 (Raspberry Pi OS bookworm) has glibc 2.36
PLATFORMS = {"x86-64": "x86_64-manylinux_2_36", "aarch64": "aarch64-manylinux_2_36"}


def main() -> None:
    """Print a line for each, and fail when one does not resolve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the results")
    options = parser.parse_args()
    extras = PROJECT["optional-dependencies"]
    rows = []
    for extra, python, processor in product(["", *sorted(set(extras) - {"picamera2"})], PYTHONS, PLATFORMS):
        packages, problem = resolve(requirements(extra), python, PLATFORMS[processor])
        rows.append({"extra": extra, "python": python, "processor": processor, "packages": packages})
        rows[-1]["problem"] = problem
        print(f"{extra or '(bare)':12} {python:5} {processor:8} {problem or f'{packages} wheels'}", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"check": "extras", "rows": rows}, indent=1) + "\n")
    sys.exit(any(row["problem"] for row in rows))


def requirements(extra: str) -> list[str]:
    """Return what Leukoscope asks for with an extra, those that name other extras of its own resolved."""
    found, waiting = list(PROJECT["dependencies"]), [extra] if extra else []
    while waiting:
        for line in PROJECT["optional-dependencies"][waiting.pop()]:
            requirement = Requirement(line)
            if requirement.name == "leukoscope":
                waiting += requirement.extras
            else:
                found.append(line)
    return found


def resolve(wanted: list[str], python: str, platform: str) -> tuple[int, str]:
    """Return how many wheels they take, or 0 and why they can't be had."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--quiet", "--no-header", "--no-annotate"]
    command += ["--only-binary", ":all:", "--python-version", python, "--python-platform", platform]
    done = subprocess.run(command, input="\n".join(wanted), capture_output=True, text=True, check=False)
    return (done.stdout.count("=="), "") if done.returncode == 0 else (0, " ".join(done.stderr.split()))


if __name__ == "__main__":
    main()
