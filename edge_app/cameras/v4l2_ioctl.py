"""Asks a V4L2 device what it is by the kernel's own calls, so no other program is needed.

Numbers and layouts are those of linux/videodev2.h, whose names the comments give. All functions take an open file
descriptor, and raise OSError when the device is gone.
"""

import errno
import fcntl
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Any, Literal

from edge_app.cameras import Format

_CAPABILITY = Struct("16s32s32s3I12x")  # driver, card, bus_info, version, capabilities, device_caps
_FORMAT = Struct("3I32sI16x")  # index, type, flags, description, pixelformat
_SIZE = Struct("9I8x")  # index, pixel_format, type, then width, height; or min, max, step of each
_INTERVAL = Struct("7I24x")  # index, pixel_format, width, height, type, then numerator, denominator, the (or least) one
_BUFFERS = Struct("5I")  # count, type, memory
_CONTROL = Struct("2I32s4iI8x")  # id, type, name, minimum, maximum, step, default, flags
_VALUE = Struct("Ii")  # id, value
_CHOICE = Struct("=2I32s4x")  # id, index, name; or of an integer menu a 64-bit value in its place

_VIDEO_CAPTURE = 1  # V4L2_CAP_VIDEO_CAPTURE; V4L2_BUF_TYPE_VIDEO_CAPTURE is 1 as well
_IO_MC = 0x20000000  # V4L2_CAP_IO_MC: gives pictures only once a media controller has set up its pipeline
_DEVICE_CAPS = 0x80000000
_MEMORY_MMAP = 1
_DISCRETE = 1
_BIG_ENDIAN = 0x80000000  # in a fourcc
_NEXT_CONTROL = 0x80000000
_DISABLED_OR_WRITE_ONLY = 0x41
_READ_ONLY = 0x4
_INACTIVE = 0x10
# V4L2_CTRL_TYPE_…: integer, boolean, menu, integer menu
_KINDS: dict[int, Literal["bool", "int", "menu"]] = {1: "int", 2: "bool", 3: "menu", 9: "menu"}
_INTEGER_MENU = 9
_CONTROL_CLASSES = (0x98, 0x9A, 0x9E, 0x9F)  # user, camera, image source, image processing
_DRIVERS_OWN = 0x1900  # numbers in a class from here on mean something else to each driver
_AUDIO = range(0x980905, 0x98090B)  # V4L2_CID_AUDIO_…
_MOST_ENTRIES = 1000  # a driver that lists more is broken


@dataclass(frozen=True)
class NativeControl:
    """A control as the device has it; `name` as v4l2-ctl shows it, `choices` the texts of a menu's numbers.

    inactive: an automatic of the camera sets it at present.
    """

    id: int
    name: str
    kind: Literal["bool", "int", "menu"]
    minimum: int
    maximum: int
    step: int
    default: int
    value: int
    choices: Mapping[int, str]
    read_only: bool
    inactive: bool


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


def controls(descriptor: int) -> tuple[NativeControl, ...]:
    """Return the picture's controls (exposure, gain, white balance, …); one that can't be read now is left out."""
    found = []
    last = 0
    for _ in range(_MOST_ENTRIES):
        asked = _CONTROL.pack(last | _NEXT_CONTROL, 0, b"", 0, 0, 0, 0, 0)
        try:
            last, type_, name, least, most, step, default, flags = _ask(descriptor, 36, _CONTROL, asked)
        except OSError as error:
            if error.errno not in _NO_MORE:
                raise
            break
        of_picture = last >> 16 in _CONTROL_CLASSES and last & 0xFFFF < _DRIVERS_OWN and last not in _AUDIO
        if type_ not in _KINDS or not of_picture or flags & _DISABLED_OR_WRITE_ONLY:
            continue
        try:
            value = _ask(descriptor, 27, _VALUE, _VALUE.pack(last, 0))[1]
            choices = dict(_choices(descriptor, last, type_, most)) if _KINDS[type_] == "menu" else {}
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise
            continue  # the camera's firmware has it in its list only
        key = re.sub(r"[^a-z0-9]+", "_", _text(name).lower()).strip("_")
        is_fixed, is_inactive = bool(flags & _READ_ONLY), bool(flags & _INACTIVE)
        kind = _KINDS[type_]
        found.append(NativeControl(last, key, kind, least, most, step, default, value, choices, is_fixed, is_inactive))
    return tuple(found)


def set_control(descriptor: int, control: int, value: int) -> None:
    """Set a control, named by its id."""
    _ask(descriptor, 28, _VALUE, _VALUE.pack(control, value))


def is_busy(descriptor: int) -> bool:
    """Return whether another program captures from the device."""
    try:
        _ask(descriptor, 8, _BUFFERS, _BUFFERS.pack(1, _VIDEO_CAPTURE, _MEMORY_MMAP, 0, 0))
        _ask(descriptor, 8, _BUFFERS, _BUFFERS.pack(0, _VIDEO_CAPTURE, _MEMORY_MMAP, 0, 0))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


_NO_MORE = (errno.EINVAL, errno.ENOTTY, errno.ENODATA)


def _choices(descriptor: int, control: int, type_: int, last: int) -> Iterator[tuple[int, str]]:
    """Yield the numbers of a menu, which may have gaps, and their texts."""
    for index in range(min(last + 1, _MOST_ENTRIES)):
        try:
            text = _ask(descriptor, 37, _CHOICE, _CHOICE.pack(control, index, b""))[2]
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        else:
            is_number = type_ == _INTEGER_MENU
            yield index, str(int.from_bytes(text[:8], sys.byteorder, signed=True)) if is_number else _text(text)


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
