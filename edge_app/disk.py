"""Files and folders that are there whole or not at all; the files also after a power cut."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def write_file(path: Path, data: bytes) -> None:
    """Write a new file; it is on the disk when this returns. Raises OSError."""
    with path.open("xb") as file:
        _write_through(file, data)


def replace_file(path: Path, data: bytes, partial: Path | None = None) -> None:
    """Write a file by one rename: at any moment there is the one before or the new one, whole.

    partial: its name in the same folder until it is whole; without it the file's own with .partial after it. Raises
    OSError, and leaves nothing of the partial file then.
    """
    partial = partial or path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            _write_through(file, data)
        partial.replace(path)
    except OSError:
        with suppress(OSError):  # the disk may refuse this too
            partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give the path of a folder to be made and filled; it gets its name once the block has ended without an error.

    After an error nothing is left of it. Raises OSError.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        yield partial
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in a folder last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_folder(folder: Path) -> None:
    """Raise OSError unless files can be written into a folder, which is made if need be; nothing is left there."""
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".leukoscope.partial"
        probe.touch()
        probe.unlink()
    finally:
        for each in made:
            with suppress(OSError):
                each.rmdir()


def _write_through(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())
