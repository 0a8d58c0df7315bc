"""A record's image file: PNG, lossless, with the record in it.

Measured on six drawn smears of 1280 × 960 with the shipped bundle, on one core of a virtual x86 machine: JPEG of
quality 95 without chroma subsampling takes 8 ms and 0.29 MB, but a probability that is judged again from it is up to
0.012 off; WebP without loss takes 830 ms and 0.96 MB; PNG at zlib's level 1 takes 100 ms and 1.46 MB; PNG with Huffman
coding alone takes 70 to 90 ms and 1.12 MB. So it is that PNG: judging the stored image again gives the very verdict
that is stored with it, and the few frames a minute that are kept can pay for it.

The record is embedded as an `iTXt` chunk with the keyword `leukoscope`: an image whose row was lost with its database
becomes a row again.
"""

import errno
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from edge_app.disk import replace_file
from edge_app.errors import StoreError, StoreFullError
from edge_app.preprocessing import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = 12  # bytes of the last chunk, IEND, which is empty
PREFIX = b"leukoscope\0\0\0\0\0"  # keyword, not compressed, no language, no translated keyword
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
PARTIAL = ".part"


def encode(image: Image) -> bytes:
    """Return an image (uint8 [h, w, 3], BGR) as PNG, the same pixels."""
    strategy = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY]
    return cv2.imencode(".png", np.ascontiguousarray(image), strategy)[1].tobytes()


def with_text(png: bytes, text: str) -> bytes:
    """Return a PNG with a text in it."""
    body = b"iTXt" + PREFIX + text.encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:-END] + chunk + png[-END:]


def text_of(png: bytes) -> str | None:
    """Return the text in a PNG, or None when there is none, or the file is damaged or cut short."""
    if not png.startswith(SIGNATURE):
        return None
    found, at, kind = None, len(SIGNATURE), b""
    while at + END <= len(png):
        (length,) = struct.unpack_from(">I", png, at)
        body = png[at + 4 : at + 8 + length]
        at += END + length
        if at > len(png) or zlib.crc32(body) != struct.unpack_from(">I", png, at - 4)[0]:
            return None
        kind = body[:4]
        if body.startswith(b"iTXt" + PREFIX):
            found = body[4 + len(PREFIX) :]
    try:
        return found.decode() if found is not None and kind == b"IEND" else None
    except UnicodeDecodeError:
        return None


def write_durably(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, and is there after a power cut.

    Raises StoreFullError or StoreError; nothing is left of the file then.
    """
    try:
        replace_file(path, data, path.with_name(path.name + PARTIAL))
    except OSError as error:
        with suppress(OSError):  # the disk may refuse this too; what stays is removed when the store is opened again
            path.unlink(missing_ok=True)
        raise in_words(error, path.parent) from error


def in_words(error: OSError, folder: Path) -> StoreError:
    """Return the error to raise when a folder of records can't be written."""
    if error.errno in NO_ROOM:
        return StoreFullError(f"no room is left for records in {folder}; delete records, or other files on that disk")
    return StoreError(f"{folder} can't be written ({error.strerror}); see that it is there, and yours to write to")


def has_room(folder: Path, size: int = 1 << 17) -> bool:
    """Return whether so many bytes can be written now: a quota is not seen otherwise."""
    probe = folder / f"room{PARTIAL}"
    try:
        with probe.open("wb") as file:
            file.write(bytes(size))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno not in NO_ROOM
    finally:
        probe.unlink(missing_ok=True)
    return True
