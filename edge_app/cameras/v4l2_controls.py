"""Gives the controls of V4L2 devices the names and units that all cameras share."""

from edge_app.cameras import Control, Setting
from edge_app.cameras.v4l2_ioctl import NativeControl

# V4L2_CID_… of linux/v4l2-controls.h → our name; others keep the name that v4l2-ctl shows
NAMES = {
    0x980900: "brightness",
    0x980901: "contrast",
    0x980902: "saturation",
    0x980903: "hue",
    0x98090C: "auto_white_balance",
    0x98090E: "red_gain",
    0x98090F: "blue_gain",
    0x980910: "gamma",
    0x980912: "auto_gain",
    0x980913: "gain",
    0x980918: "power_line_frequency",
    0x980919: "auto_hue",
    0x98091A: "white_balance_k",
    0x98091B: "sharpness",
    0x9A0901: "auto_exposure",
    0x9A0902: "exposure_us",
    0x9A090A: "focus",
    0x9A090C: "auto_focus",
}
AUTOMATICS = {
    "exposure_us": "auto_exposure",
    "gain": "auto_gain",
    "white_balance_k": "auto_white_balance",
    "red_gain": "auto_white_balance",
    "blue_gain": "auto_white_balance",
    "focus": "auto_focus",
    "hue": "auto_hue",
}
UNITS = {"exposure_us": "µs", "white_balance_k": "K"}
_SCALES = {"exposure_us": 100}  # the kernel counts 100 µs
# V4L2_EXPOSURE_…: in aperture priority the time is automatic, in shutter priority the iris; the best one first
_AUTOMATIC_EXPOSURES = (3, 0)
_MANUAL_EXPOSURES = (1, 2)


def described(native: NativeControl) -> Control:
    """Return a device's control under the common names and units."""
    name = name_of(native)
    governed_by = AUTOMATICS.get(name, "the automatic that does") if native.inactive else None
    if name == "auto_exposure":
        is_on, is_default = (number in _AUTOMATIC_EXPOSURES for number in (native.value, native.default))
        return Control(name, "bool", 0, 1, 1, is_default, is_on, governed_by=governed_by)
    if native.kind == "bool":
        return Control(name, "bool", 0, 1, 1, bool(native.default), bool(native.value), governed_by=governed_by)
    if native.kind == "menu":
        texts = tuple(native.choices.values())
        default, value = (native.choices.get(number, "") for number in (native.default, native.value))
        return Control(name, "menu", 0, len(texts) - 1, 1, default, value, choices=texts, governed_by=governed_by)
    scale = _SCALES.get(name, 1)
    return Control(
        name,
        "int",
        native.minimum * scale,
        native.maximum * scale,
        native.step * scale,
        native.default * scale,
        native.value * scale,
        UNITS.get(name, ""),
        governed_by=governed_by,
    )


def native_value(native: NativeControl, value: Setting) -> int:
    """Return a value that the control has accepted as the device counts it."""
    name = name_of(native)
    if name == "auto_exposure":
        wanted = _AUTOMATIC_EXPOSURES if value else _MANUAL_EXPOSURES
        return next(number for number in wanted if number in native.choices)
    if native.kind == "menu":
        return next(number for number, text in native.choices.items() if text == value)
    return round(float(value) / _SCALES.get(name, 1))


def name_of(native: NativeControl) -> str:
    """Return the name that a device's control has here."""
    return NAMES.get(native.id, native.name)


def is_usable(native: NativeControl) -> bool:
    """Return whether a control can be set: an exposure that is always automatic, or never, is no choice."""
    if name_of(native) != "auto_exposure":
        return not native.read_only and (native.kind != "menu" or bool(native.choices))
    return not native.read_only and all(
        any(number in native.choices for number in numbers) for numbers in (_AUTOMATIC_EXPOSURES, _MANUAL_EXPOSURES)
    )
