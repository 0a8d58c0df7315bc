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

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
# Debian 12 (Raspberry Pi OS bookworm) has glibc 2.36
PLATFORMS = {"x86-64": "x86_64-manylinux_2_36", "aarch64": "aarch64-manylinux_2_36"}


def main() -> None:
    """Print a line for each, and fail when one does not resolve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the results")
    options = parser.parse_args()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    rows = []
    for extra, python, processor in product(["", *sorted(set(extras) - {"picamera2"})], PYTHONS, PLATFORMS):
        packages, problem = resolve(extra, python, PLATFORMS[processor])
        rows.append({"extra": extra, "python": python, "processor": processor, "packages": packages})
        rows[-1]["problem"] = problem
        print(f"{extra or '(bare)':12} {python:5} {processor:8} {problem or f'{packages} wheels'}", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"check": "extras", "rows": rows}, indent=1) + "\n")
    sys.exit(any(row["problem"] for row in rows))


def resolve(extra: str, python: str, platform: str) -> tuple[int, str]:
    """Return how many wheels an extra takes, or 0 and why it can't be had."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    command += ["--only-binary", ":all:", "--python-version", python, "--python-platform", platform]
    command += [*(["--extra", extra] if extra else []), str(ROOT / "pyproject.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout.count("=="), "") if done.returncode == 0 else (0, " ".join(done.stderr.split()))


if __name__ == "__main__":
    main()
