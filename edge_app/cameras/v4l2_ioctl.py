"""Asks a V4L2 device what it is by the kernel's own calls, so no other program is needed.

Numbers and layouts are those of linux/videodev2.h, whose names the comments give. All functions take an open file
descriptor, and raise OSError when the device is gone.
"""

import errno
import fcntl
import re
from collections.abc import Iterator
from struct import Struct
from typing import Any

from edge_app.cameras import Format, Setting

_CAPABILITY = Struct("16s32s32s3I12x")  # driver, card, bus_info, version, capabilities, device_caps
_FORMAT = Struct("3I32sI16x")  # index, type, flags, description, pixelformat
_SIZE = Struct("9I8x")  # index, pixel_format, type, then width, height; or min, max, step of each
_INTERVAL = Struct("7I24x")  # index, pixel_format, width, height, type, then numerator, denominator, the (or least) one
_BUFFERS = Struct("5I")  # count, type, memory
_CONTROL = Struct("2I32s4iI8x")  # id, type, name, minimum, maximum, step, default, flags
_VALUE = Struct("Ii")  # id, value

_VIDEO_CAPTURE = 1  # V4L2_CAP_VIDEO_CAPTURE; V4L2_BUF_TYPE_VIDEO_CAPTURE is 1 as well
_IO_MC = 0x20000000  # V4L2_CAP_IO_MC: gives pictures only once a media controller has set up its pipeline
_DEVICE_CAPS = 0x80000000
_MEMORY_MMAP = 1
_DISCRETE = 1
_BIG_ENDIAN = 0x80000000  # in a fourcc
_NEXT_CONTROL = 0x80000000
_DISABLED_OR_WRITE_ONLY = 0x41
_VALUE_TYPES = (1, 2, 3, 9)  # integer, boolean, menu, integer menu
_CONTROL_CLASSES = (0x98, 0x9A, 0x9E, 0x9F)  # user, camera, image source, image processing
_MOST_ENTRIES = 1000  # a driver that lists more is broken


def card(descriptor: int) -> tuple[str, bool]:
    """Return the device's name, and whether a program alone can capture pictures from it."""
    _, name, _, _, all_nodes, this_node = _ask(descriptor, 0, _CAPABILITY, bytes(_CAPABILITY.size), reads_only=True)
    capabilities = this_node if all_nodes & _DEVICE_CAPS else all_nodes
    return _text(name), bool(capabilities & _VIDEO_CAPTURE) and not capabilities & _IO_MC


def formats(descriptor: int) -> tuple[Format, ...]:
    """Return the picture formats; of a device that scales, the largest size of each."""
    found = []
    for *_, pixels in _list(descriptor, 2, _FORMAT, _VIDEO_CAPTURE, 0, b"", 0):
        fourcc = (pixels & ~_BIG_ENDIAN).to_bytes(4, "little").decode("latin-1").strip()
        fourcc += "-BE" if pixels & _BIG_ENDIAN else ""
        for _, _, kind, *limits in _list(descriptor, 74, _SIZE, pixels, *[0] * 7):
            width, height = (limits[0], limits[1]) if kind == _DISCRETE else (limits[1], limits[4])
            intervals = _list(descriptor, 75, _INTERVAL, pixels, width, height, 0, 0, 0)
            rates = [below / above for *_, above, below in intervals if above]
            found.append(Format(fourcc, width, height, max(rates, default=None)))
            if kind != _DISCRETE:
                break
    return tuple(found)


def controls(descriptor: int) -> dict[str, Setting]:
    """Return the values of the picture's controls (exposure, gain, white balance, …) by name, as v4l2-ctl has it."""
    found: dict[str, Setting] = {}
    last = 0
    for _ in range(_MOST_ENTRIES):
        asked = _CONTROL.pack(last | _NEXT_CONTROL, 0, b"", 0, 0, 0, 0, 0)
        try:
            last, kind, name, *_, flags = _ask(descriptor, 36, _CONTROL, asked)
            wanted = kind in _VALUE_TYPES and last >> 16 in _CONTROL_CLASSES and not flags & _DISABLED_OR_WRITE_ONLY
            if wanted:
                key = re.sub(r"[^a-z0-9]+", "_", _text(name).lower()).strip("_")
                found[key] = _ask(descriptor, 27, _VALUE, _VALUE.pack(last, 0))[1]
        except OSError as error:
            if error.errno not in _NO_MORE:
                raise
            break
    return found


def is_busy(descriptor: int) -> bool:
    """Return whether another program captures from the device."""
    try:
        _ask(descriptor, 8, _BUFFERS, _BUFFERS.pack(1, _VIDEO_CAPTURE, _MEMORY_MMAP, 0, 0))
        _ask(descriptor, 8, _BUFFERS, _BUFFERS.pack(0, _VIDEO_CAPTURE, _MEMORY_MMAP, 0, 0))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


_NO_MORE = (errno.EINVAL, errno.ENOTTY, errno.ENODATA)


def _list(descriptor: int, number: int, layout: Struct, *fields: object) -> Iterator[tuple[Any, ...]]:
    """Yield the entries 0, 1, … of a call that takes an index as its first field."""
    for index in range(_MOST_ENTRIES):
        try:
            yield _ask(descriptor, number, layout, layout.pack(index, *fields))
        except OSError as error:
            if error.errno not in _NO_MORE:
                raise
            return


def _ask(descriptor: int, number: int, layout: Struct, request: bytes, *, reads_only: bool = False) -> tuple[Any, ...]:
    direction = 2 if reads_only else 3
    code = direction << 30 | layout.size << 16 | ord("V") << 8 | number
    return layout.unpack(fcntl.ioctl(descriptor, code, request))


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="replace").strip()
