"""Cuts an installation off at each of its steps on the disk, as a lost battery would, and looks at what is left.

`python -m tests.cut_installations FOLDER OLD NEW`: OLD is in use in FOLDER, NEW gets installed, cut off after one more
step each time, until it comes through. Prints how many it took.
"""

import os
import sys
from pathlib import Path
from typing import Any

import edge_app.installed
from edge_app.bundle import open_bundle
from edge_app.installed import current_bundle_path, install
from tests.tiny_models import logits


class Numpy:
    """A runtime that needs no library, so that the process can fork."""

    infer = staticmethod(logits)

    def describe(self) -> str:
        return "numpy"


def main(folder: Path, old: Path, new: Path) -> None:
    setattr(edge_app.installed, "load", lambda *_, **__: Numpy())  # noqa: B010
    install(str(old), folder)
    expected = {open_bundle(old).sha256, open_bundle(new).sha256}
    for steps in range(1, 100):
        child = os.fork()
        if child == 0:
            _cut_after(steps)
            install(str(new), folder)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found = open_bundle(current_bundle_path(folder)).sha256
        assert found in expected, found
        if code == 0:
            assert found == open_bundle(new).sha256
            print(steps)
            return
        assert code == 9, code
    raise AssertionError("it never came through")


def _cut_after(steps: int) -> None:
    """End this process at the given one of the calls that change the disk."""

    def counted(call: Any) -> Any:
        def change(*arguments: Any, **options: Any) -> Any:
            nonlocal steps
            steps -= 1
            if steps == 0:
                os._exit(9)
            return call(*arguments, **options)

        return change

    for name in ("fsync", "rename", "replace", "mkdir", "unlink"):
        setattr(os, name, counted(getattr(os, name)))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
