from dataclasses import replace

import pytest

from edge_app.cameras.v4l2_controls import described, is_usable, name_of, native_value
from edge_app.cameras.v4l2_ioctl import NativeControl

# as the kernel's driver for USB cameras has them
EXPOSURES = {1: "Manual Mode", 3: "Aperture Priority Mode"}
AUTO_EXPOSURE = NativeControl(0x9A0901, "auto_exposure", "menu", 0, 3, 1, 3, 3, EXPOSURES, False, False)
EXPOSURE = NativeControl(0x9A0902, "exposure_time_absolute", "int", 3, 2047, 1, 250, 250, {}, False, False)
GAIN = NativeControl(0x980913, "gain", "int", 0, 100, 1, 0, 7, {}, False, False)
LINE = NativeControl(0x980918, "power_line_frequency", "menu", 0, 2, 1, 1, 2, {0: "Off", 2: "60 Hz"}, False, False)


def test_exposure_is_in_microseconds() -> None:
    control = described(EXPOSURE)
    assert (control.name, control.kind, control.unit) == ("exposure_us", "int", "µs")
    assert (control.minimum, control.maximum, control.step, control.value) == (300, 204_700, 100, 25_000)
    assert [native_value(EXPOSURE, us) for us in (300, 25_000, 777)] == [3, 250, 8]


def test_automatic_exposure_is_on_or_off_though_the_kernel_has_four_modes() -> None:
    assert described(AUTO_EXPOSURE).kind == "bool"
    assert [described(replace(AUTO_EXPOSURE, value=mode)).value for mode in range(4)] == [True, False, False, True]
    assert [native_value(AUTO_EXPOSURE, on) for on in (True, False)] == [3, 1]
    other = replace(AUTO_EXPOSURE, choices={0: "Auto Mode", 2: "Shutter Priority Mode"})
    assert [native_value(other, on) for on in (True, False)] == [0, 2]


def test_a_menu_takes_its_texts_and_may_have_gaps() -> None:
    control = described(LINE)
    assert (control.choices, control.value) == (("Off", "60 Hz"), "60 Hz")
    assert [native_value(LINE, control.accept(text)) for text in control.choices] == [0, 2]


def test_what_an_automatic_sets_names_it() -> None:
    assert described(GAIN).governed_by is None
    assert described(replace(GAIN, inactive=True)).governed_by == "auto_gain"
    assert described(replace(EXPOSURE, inactive=True)).governed_by == "auto_exposure"


def test_a_control_without_a_common_name_keeps_its_own() -> None:
    assert name_of(replace(GAIN, id=0x9A0999, name="laser_power")) == "laser_power"


@pytest.mark.parametrize(
    ("native", "usable"),
    [
        (GAIN, True),
        (AUTO_EXPOSURE, True),
        (replace(GAIN, read_only=True), False),
        (replace(AUTO_EXPOSURE, choices={1: "Manual Mode"}), False),
        (replace(LINE, choices={}), False),
    ],
)
def test_what_leaves_no_choice_can_not_be_set(native: NativeControl, usable: bool) -> None:
    assert is_usable(native) is usable
