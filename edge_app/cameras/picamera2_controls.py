"""Gives libcamera's controls the names and units that all cameras share."""

from collections.abc import Mapping
from typing import Any

from edge_app.cameras import Control, Setting

# our name → (libcamera's, its unit, the automatic that governs it)
CONTROLS: Mapping[str, tuple[str, str, str | None]] = {
    "auto_exposure": ("AeEnable", "", None),
    "exposure_us": ("ExposureTime", "µs", "auto_exposure"),
    "gain": ("AnalogueGain", "×", "auto_exposure"),
    "auto_white_balance": ("AwbEnable", "", None),
    "red_gain": ("ColourGains", "×", "auto_white_balance"),
    "blue_gain": ("ColourGains", "×", "auto_white_balance"),
    "brightness": ("Brightness", "", None),
    "contrast": ("Contrast", "", None),
    "saturation": ("Saturation", "", None),
    "sharpness": ("Sharpness", "", None),
}
_LEAST = {"ExposureTime": 1, "AnalogueGain": 1.0, "ColourGains": 0.1}  # libcamera takes 0 as "automatic"
# what a picture's metadata says beyond the controls
_REPORTED = {
    "white_balance_k": "ColourTemperature",
    "digital_gain": "DigitalGain",
    "lux": "Lux",
    "sensor_temperature_c": "SensorTemperature",
}


def described(
    offered: Mapping[str, tuple[Any, Any, Any]],
    metadata: Mapping[str, Any],
    values: Mapping[str, Setting],
    longest_us: int,
) -> tuple[Control, ...]:
    """Return the controls of a camera.

    offered: libcamera's name → minimum, maximum, default. metadata: of the last picture. values: what was set here.
    longest_us: microseconds that the frame rate leaves for an exposure.
    """
    reported = settings_of(metadata)
    found = []
    for name, (native, unit, automatic) in CONTROLS.items():
        if native not in offered:
            continue
        least, most, default = (_scalar(limit) for limit in offered[native])
        if name.startswith("auto_"):
            found.append(Control(name, "bool", 0, 1, 1, default=True, value=values.get(name, True)))
            continue
        least = max(least, _LEAST.get(native, least))
        default = least if default is None else max(default, least)
        value = values.get(name, reported.get(name, default))
        governed_by = automatic if automatic and values.get(automatic, True) else None
        if name == "exposure_us":
            most = min(most, longest_us)
            found.append(Control(name, "int", least, most, 1, default, value, unit, governed_by=governed_by))
        else:
            found.append(Control(name, "float", least, most, 0, default, value, unit, governed_by=governed_by))
    return tuple(found)


def governed(automatic: str) -> tuple[str, ...]:
    """Return the controls that an automatic sets while it is on."""
    return tuple(name for name, (_, _, governor) in CONTROLS.items() if governor == automatic)


def changes(name: str, value: Setting, now: Mapping[str, Setting]) -> tuple[dict[str, Any], dict[str, Setting]]:
    """Return what libcamera must be told to set one control, and which of our values are fixed with it.

    now: the values in force. An automatic that is switched off leaves what it had found, told anew so that no frame
    in between can change it; gains of red and blue are one control.
    """
    fixed = {name: value}
    if name.startswith("auto_") and not value:
        fixed |= {each: now[each] for each in governed(name) if each in now}
    told: dict[str, Any] = {}
    for each in fixed:
        native = CONTROLS[each][0]
        told[native] = fixed[each]
        if native == "ColourGains":
            gains = {**now, **fixed}
            told[native] = (gains["red_gain"], gains["blue_gain"])
    return told, fixed


def settings_of(metadata: Mapping[str, Any]) -> dict[str, Setting]:
    """Return what a picture was taken with, by our names."""
    settings: dict[str, Setting] = {}
    for name, native in {"exposure_us": "ExposureTime", "gain": "AnalogueGain", **_REPORTED}.items():
        if native in metadata:
            settings[name] = metadata[native]
    if "ColourGains" in metadata:
        settings["red_gain"], settings["blue_gain"] = metadata["ColourGains"]
    if metadata.get("FrameDuration"):
        settings["fps"] = 1e6 / metadata["FrameDuration"]
    return settings


def _scalar(limit: Any) -> Any:
    """Return a limit; of a control with several values, the first one's."""
    return limit[0] if isinstance(limit, tuple | list) else limit
