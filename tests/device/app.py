"""Proves the running app on a real or simulated camera: python tests/device/app.py DEVICE [OPTIONS].

Starts `leukoscope run` with its page and asks its API: verdicts change while frames come. With --unplug (a command that
takes the device away and gives it back), the app says that the camera is lost and goes on by itself.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

PORT = 8181
START_S = 1800  # an emulated machine is slow, and shares its processor


def main() -> None:
    """Run the checks and print what was seen; an AssertionError says which one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("device", help="source: /dev/videoN or a v4l2:// URI")
    parser.add_argument("--limit", type=float, default=300, metavar="S", help="time limit of each wait")
    parser.add_argument(
        "--unplug", metavar="COMMAND", help="shell command that takes the device away and gives it back"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "edge_app", "run", "--source", options.device, "--port", str(PORT)]
        app = subprocess.Popen([*command, "--records", folder, "--open-timeout", "60", "--read-timeout", "10"])
        try:
            check_start(app.pid)
            check_verdicts(options.limit)
            if options.unplug:
                check_return(options.limit, options.unplug)
        finally:
            app.terminate()
            print("ended with", app.wait(120))
    print("all held")


def check_start(pid: int) -> None:
    """Wait for the page, and say how long it took and how long the app had a processor."""
    started = time.monotonic()
    status()
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    had_s = sum(map(int, stat[11:13])) / os.sysconf("SC_CLK_TCK")  # in user and in system mode; see proc(5)
    print(f"the page answered after {time.monotonic() - started:.0f} s; the app had a processor for {had_s:.0f} s")


def check_verdicts(limit_s: float) -> None:
    """Wait for verdicts on five frames."""
    seen: dict[int, dict[str, Any]] = {}
    until(limit_s, lambda: len(seen) >= 5 or (seen.update(newest()) or False))
    for frame_id, verdict in seen.items():
        said = verdict["label"] or verdict["indeterminate"]
        print(f"frame {frame_id}: {said}, {verdict['cells']} cells, {verdict['times_ms']['total']:.0f} ms")
    assert status()["health"]["ready"], status()["health"]


def check_return(limit_s: float, unplug: str) -> None:
    """Take the device away and wait until the app has said so, and judges again."""
    pulling = threading.Thread(target=subprocess.run, args=(["/bin/bash", "-c", unplug],))
    started = time.monotonic()
    pulling.start()
    for words in (" lost: ", " is back "):  # not the state of the moment: a second's loss is over before it is asked
        until(limit_s, lambda words=words: any(words in text for text in events()))
        print(f"{time.monotonic() - started:.0f} s after the plug was pulled the page says:{words.rstrip(': ')}")
    pulling.join()
    last = next(iter(newest()), 0)
    until(limit_s, lambda: max(newest(), default=0) != last and status()["health"]["ready"])
    print(f"{time.monotonic() - started:.0f} s after it: judged again")
    for text in events():
        print("  ", text)


def events() -> list[str]:
    """Return what the page tells of the app, the oldest first."""
    return [event["text"] for event in reversed(status()["events"])]


def newest() -> dict[int, dict[str, Any]]:
    """Return the newest verdict by its frame's number, if there is one."""
    verdict = status()["verdict"]
    return {verdict["frame_id"]: verdict} if verdict else {}


def status() -> Any:
    """Return what the API says of the app, once it answers."""
    deadline_s = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(f"http://localhost:{PORT}/api/status", timeout=30) as answer:
                return json.load(answer)
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(1)


def until(limit_s: float, happens: Any) -> None:
    """Wait until something is true; an AssertionError when that takes too long."""
    deadline_s = time.monotonic() + limit_s
    while not happens():
        assert time.monotonic() < deadline_s, f"it did not happen in {limit_s:g} s: {status()['health']}"
        time.sleep(0.3)


if __name__ == "__main__":
    main()
