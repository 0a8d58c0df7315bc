"""Keeps what a check prints: python -m tests.device.transcript FILE --title TEXT -- COMMAND [ARGUMENT ...]."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Run the command, show its output, and write it with the exit code as JSON; exit as it did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--title", required=True)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    lines = []
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}  # so that lines come while it runs
    with subprocess.Popen(
        options.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    found = {"check": "v4l2", "title": options.title, "exit_code": process.returncode, "said": lines}
    options.file.parent.mkdir(parents=True, exist_ok=True)
    options.file.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()
