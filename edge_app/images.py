"""Reads image files into frames: finds them, refuses what is broken, and gives BGR uint8 whatever is inside."""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from edge_app.errors import InputError
from edge_app.opencv import ERROR, set_log_level
from edge_app.preprocessing import Image
from edge_app.stderr import stderr_into

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
MAX_PIXELS = 200_000_000
ByteOrder = Literal["big", "little"]
MAX_BYTES = 2**31


def find_images(path: Path) -> list[Path]:
    """Return the image files under a folder, subfolders included, in natural order (2.jpg before 10.jpg).

    What counts is the suffix (`IMAGE_SUFFIXES`, any case). Hidden files and folders are left out and linked folders are
    not entered. A file gives itself, whatever its suffix. Raises InputError when the path is missing, a folder can't be
    read, or there is no image in it.
    """
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return [path]
        found = []
        for folder, subfolders, names in os.walk(path, onerror=_raise):
            subfolders[:] = [name for name in subfolders if not name.startswith(".")]
            found += [Path(folder, name) for name in names if not name.startswith(".")]
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    found = [file for file in found if file.suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise InputError(f"there is no image in {path}; it needs {', '.join(sorted(IMAGE_SUFFIXES))} files")
    return sorted(found, key=_natural)


def read_image(path: Path) -> Image:
    """Return an image file's picture: uint8 [h, w, 3], BGR, contiguous.

    Reads JPEG, PNG, TIFF (its first page), BMP and WebP, told by content, not by name. Grey, palette and CMYK become
    BGR; 16 bits a channel are scaled to 8; transparency is dropped, not composited, as in the study's own scripts; EXIF
    orientation is applied. Raises InputError when the file is missing, not a file, not readable, empty, of another
    kind, damaged, cut short, above `MAX_PIXELS`, or has float or signed values.
    """
    try:
        # Not a named pipe or a device, which might never end; and opened without waiting for one.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123
            status = os.fstat(file.fileno())
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, "")
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{path} is not a file; name an image file")
            if status.st_size > MAX_BYTES:
                raise InputError(f"{path} is larger than {MAX_BYTES // 2**30} GiB; cut it into fields of view")
            data = file.read()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    return decode_image(data, str(path))


def decode_image(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Return the picture in an image file's bytes, as `read_image` does; `name` is what error messages call it.

    Raises InputError. One image at a time is decoded in a process: the decoders report damage only on stderr.
    """
    if not data:
        raise InputError(f"{name} is empty; copy it again from where it came from")
    kind, size = _inspect(data, name)
    if size[0] * size[1] > max_pixels:
        raise InputError(
            f"{name} has {size[0]} × {size[1]} pixels, above the limit of {max_pixels // 10**6} megapixels; "
            "cut it into fields of view"
        )
    with _decoder_messages() as messages:
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        except cv2.error:
            pixels = None
    if pixels is None or messages:
        raise InputError(f"{name} is a damaged {kind} image; copy it again from where it came from")
    if pixels.dtype == np.uint16:
        pixels = cv2.convertScaleAbs(pixels, alpha=255 / 65535)
    if pixels.dtype != np.uint8:
        raise InputError(f"{name} has {pixels.dtype} values; save it with 8 or 16 bits a channel, unsigned")
    return np.ascontiguousarray(pixels, np.uint8)


# What a file says about itself, read without decoding it


def _inspect(data: bytes, name: str) -> tuple[str, tuple[int, int]]:
    """Return an image's kind and its width and height in pixels; InputError for another kind, or a cut file."""
    if data.startswith(b"\xff\xd8\xff"):
        kind, size = "JPEG", _jpeg_size(data)
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        kind, size = "PNG", _png_size(data)
    elif data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        kind, size = "TIFF", _tiff_size(data)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        kind, size = "WebP", _webp_size(data)
    elif data.startswith(b"BM"):
        kind, size = "BMP", _bmp_size(data)
    else:
        raise InputError(f"{name} is not an image; name a JPEG, PNG, TIFF, BMP or WebP file")
    if size is None:
        raise InputError(f"{name} is a {kind} image that is cut short; copy it again from where it came from")
    return kind, size


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Walk the segments to the end marker; None without one: OpenCV would show the missing part in grey."""
    size, position = (0, 0), 2
    while found := _JPEG_MARKER.search(data, position):
        marker, position = data[found.end() - 1], found.end()
        if marker == 0xD9:
            return size
        if marker == 0x01 or marker == 0xD8:  # these have no length
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame header
            size = _number(data, position + 5, 2, "big"), _number(data, position + 3, 2, "big")
        position += _number(data, position, 2, "big")
    return None


_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)  # in a scan, ff00 is data and ffd0 to ffd7 restarts


def _png_size(data: bytes) -> tuple[int, int] | None:
    position = 8
    while position < len(data):
        if data[position + 4 : position + 8] == b"IEND":
            return _number(data, 16, 4, "big"), _number(data, 20, 4, "big")
        position += 12 + _number(data, position, 4, "big")
    return None


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    order: ByteOrder = "little" if data.startswith(b"II") else "big"
    big = _number(data, 2, 2, order) == 43  # BigTIFF: 64-bit offsets
    directory = _number(data, 8, 8, order) if big else _number(data, 4, 4, order)
    start, step = (8, 20) if big else (2, 12)
    if directory + start > len(data):
        return None
    values = {}
    for index in range(min(_number(data, directory, start, order), 65535)):
        entry = directory + start + index * step
        length = {3: 2, 4: 4, 16: 8}.get(_number(data, entry + 2, 2, order), 0)
        values[_number(data, entry, 2, order)] = _number(data, entry + (12 if big else 8), length, order)
    return values.get(256, 0), values.get(257, 0)


def _webp_size(data: bytes) -> tuple[int, int] | None:
    if _number(data, 4, 4, "little") + 8 > len(data):
        return None
    if data[12:16] == b"VP8X":
        return _number(data, 24, 3, "little") + 1, _number(data, 27, 3, "little") + 1
    if data[12:16] == b"VP8L":
        bits = _number(data, 21, 4, "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return _number(data, 26, 2, "little") & 0x3FFF, _number(data, 28, 2, "little") & 0x3FFF


def _bmp_size(data: bytes) -> tuple[int, int] | None:
    if _number(data, 14, 4, "little") == 12:
        return _number(data, 18, 2, "little"), _number(data, 20, 2, "little")
    height = _number(data, 22, 4, "little")
    return _number(data, 18, 4, "little"), min(height, 2**32 - height)  # a negative height: rows from the top


def _number(data: bytes, offset: int, length: int, order: ByteOrder) -> int:
    return int.from_bytes(data[offset : offset + length], order)


# What the decoders say on stderr


@contextmanager
def _decoder_messages() -> Iterator[list[str]]:
    """Collect into the list, filled at the end, what the decoders say of damage; what others wrote is passed on.

    libjpeg and libtiff give a picture with a broken part and tell it on stderr alone.
    """
    messages: list[str] = []
    with open(os.memfd_create("decoder messages"), "r+b") as caught:  # noqa: PTH123
        try:
            with stderr_into(caught):
                level = set_log_level(ERROR)
                try:
                    yield messages
                finally:
                    set_log_level(level)
        finally:
            caught.seek(0)
            for line in caught.read().splitlines(keepends=True):
                if _DAMAGE.match(line):
                    messages.append(line.decode(errors="replace").strip())
                elif line.strip() and not _HARMLESS.match(line):
                    os.write(2, line)


# Some cameras leave a few bytes before the end marker of a JPEG; nothing of the picture is lost by it.
_HARMLESS = re.compile(rb"Corrupt JPEG data: \d\d? extraneous bytes before marker 0xd9|libpng warning|\[ ?(WARN|INFO)")
_DAMAGE = re.compile(
    rb"(?!"
    + _HARMLESS.pattern
    + rb")(Corrupt JPEG|Premature end|Invalid|libpng error|\[ERROR:\S+ global (grfmt_|loadsave))"
)


# Order and errors


def _natural(path: Path) -> tuple[list[str | int], str]:
    pieces = re.split(r"([0-9]+)", str(path).casefold())
    return [int(piece) if index % 2 else piece for index, piece in enumerate(pieces)], str(path)


def _raise(error: OSError) -> None:
    raise error


def _unreadable(path: Path, error: OSError | ValueError) -> InputError:
    """Return the error that says why the system does not give this path."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return InputError(f"there is no {path}; check the name")
    if isinstance(error, PermissionError):
        return InputError(f"{error.filename or path} may not be read by you; change its permissions (chmod)")
    if isinstance(error, IsADirectoryError):
        return InputError(f"{path} is a folder; name an image file")
    reason = error.strerror if isinstance(error, OSError) else error
    return InputError(f"{path} can't be read ({reason}); check the name and the disk")
