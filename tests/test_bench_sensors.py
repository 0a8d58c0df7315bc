import time
from pathlib import Path

import pytest

from benchmarks import sensors
from benchmarks.environment import is_emulated, read_environment
from benchmarks.sensors import Monitor, find_power_sensor, mean_watts, pmic_watts, read_conditions, throttling_between
from tests.results import conditions
from tests.test_board import install, write_zone

# of a Raspberry Pi 5, shortened
PMIC = """\
   3V3_SYS_A current(1)=0.10000000A
   VDD_CORE_A current(7)=2.00000000A
   3V3_SYS_V volt(9)=3.30000000V
   VDD_CORE_V volt(15)=0.90000000V
   EXT5V_V volt(24)=5.15000000V
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_raspberry_pi_s_power_is_the_sum_of_its_rails() -> None:
    assert pmic_watts(PMIC) == pytest.approx(0.1 * 3.3 + 2 * 0.9)
    with pytest.raises(ValueError, match="no rail"):
        pmic_watts("Command not registered\n")


def test_a_jetson_s_power_is_that_of_the_rail_which_feeds_all(tmp_path: Path) -> None:
    chip = tmp_path / "sys/class/hwmon/hwmon3"
    write(chip / "name", "ina3221\n")
    for number, (label, millivolts, milliamps) in enumerate(
        [("VDD_IN", 5000, 1500), ("VDD_CPU_GPU_CV", 5000, 400), ("NC", 0, 0)], 1
    ):
        write(chip / f"in{number}_label", f"{label}\n")
        write(chip / f"in{number}_input", f"{millivolts}\n")
        write(chip / f"curr{number}_input", f"{milliamps}\n")
    sensor = find_power_sensor(tmp_path)
    assert sensor is not None
    assert sensor.source == "INA3221 VDD_IN"
    assert sensor.read() == pytest.approx(7.5)
    write(chip / "in1_label", "VIN_SYS_5V0\n")
    both = find_power_sensor(tmp_path)
    assert both is not None
    assert both.read() == pytest.approx(7.5 + 2)


def test_rapl_power_is_the_energy_since_the_last_reading_over_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = tmp_path / "sys/class/powercap/intel-rapl:0"
    write(zone / "energy_uj", "1000000")
    write(zone / "max_energy_range_uj", "64000000")
    write(tmp_path / "sys/class/powercap/intel-rapl:0:0/energy_uj", "1")  # a part of the package
    monkeypatch.setattr(time, "monotonic", iter([10.0, 12.0, 14.0]).__next__)
    sensor = find_power_sensor(tmp_path)
    assert sensor is not None
    write(zone / "energy_uj", "31000000")
    assert sensor.read() == pytest.approx(15)
    write(zone / "energy_uj", "1000000")  # it began anew
    assert sensor.read() == pytest.approx(17)


def test_a_board_without_sensors_tells_no_power(tmp_path: Path) -> None:
    write(tmp_path / "sys/class/powercap/intel-rapl:0/name", "package-0")  # its counter is root's
    assert find_power_sensor(tmp_path) is None
    assert mean_watts([]) is None


def test_conditions_are_what_the_board_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cores = tmp_path / "sys/devices/system/cpu"
    write(cores / "cpu0/cpufreq/scaling_cur_freq", "2400000\n")
    write(cores / "cpu1/cpufreq/scaling_cur_freq", "1500000\n")
    write(cores / "cpu0/cpufreq/scaling_governor", "ondemand\n")
    write_zone(tmp_path, 0, "81000\n")
    install(tmp_path / "bin", "vcgencmd", "echo throttled=0x20002", monkeypatch)
    found = read_conditions(3, tmp_path)
    assert (found.temperature_c, found.clock_mhz, found.governor) == (81, 1500, "ondemand")
    assert found.throttled == found.throttled_since_boot == ("frequency capped",)


@pytest.mark.parametrize(("state", "expected"), [("0", ()), ("2", ("clock lowered to keep it cool",))])
def test_a_processor_that_the_kernel_cools_is_slowed(tmp_path: Path, state: str, expected: tuple[str, ...]) -> None:
    device = tmp_path / "sys/class/thermal/cooling_device0"
    write(device / "type", "thermal-cpufreq-0\n")
    write(device / "cur_state", f"{state}\n")
    write(tmp_path / "sys/class/thermal/cooling_device1/type", "pwm-fan\n")
    write(tmp_path / "sys/class/thermal/cooling_device1/cur_state", "3\n")
    assert read_conditions(0, tmp_path).throttled == expected


def test_a_board_that_tells_nothing_is_not_called_free_of_throttling(tmp_path: Path) -> None:
    found = read_conditions(0, tmp_path)
    assert (found.throttled, found.throttled_since_boot, found.temperature_c, found.clock_mhz) == (None,) * 4


def test_only_what_slowed_the_board_since_the_start_counts() -> None:
    old = conditions(0, throttled_since_boot=("under-voltage",))
    assert throttling_between([old, conditions(5, throttled_since_boot=("under-voltage",))]) == ()
    later = conditions(5, throttled_since_boot=("under-voltage", "throttled"))
    assert throttling_between([old, later]) == ("throttled",)
    assert throttling_between([old, conditions(5, throttled=("frequency capped",))]) == ("frequency capped",)
    assert throttling_between([]) == ()


def test_a_monitor_s_samples_are_those_of_the_span_asked_for(tmp_path: Path) -> None:
    write_zone(tmp_path, 0, "50000\n")
    begun = time.monotonic()
    with Monitor(tmp_path, interval_s=0.02) as monitor:
        deadline = begun + 10
        while len(monitor.between(begun, time.monotonic())) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        found = monitor.between(begun, time.monotonic())
    assert len(found) >= 3
    assert {sample.conditions.temperature_c for sample in found} == {50}
    assert {sample.watts for sample in found} == {None}
    assert monitor.between(begun - 2, begun - 1) == []
    assert monitor.now().seconds > 0


def test_a_sensor_that_falls_silent_ends_no_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors, "find_power_sensor", lambda _: sensors.PowerSensor("none", lambda: float("")))
    with Monitor(tmp_path, interval_s=0.01) as monitor:
        deadline = time.monotonic() + 10
        while len(monitor.between(0, time.monotonic())) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert mean_watts(monitor.between(0, time.monotonic())) is None


@pytest.mark.parametrize(
    ("kernel", "machine", "expected"),
    [
        ("x86_64", "aarch64", True),
        ("x86_64", "x86_64", False),
        ("aarch64", "armv7l", False),
        ("aarch64", "aarch64", False),
        ("x86_64", "i686", False),
        ("", "aarch64", False),
    ],
)
def test_a_processor_of_another_kind_than_the_kernel_s_is_emulated(kernel: str, machine: str, expected: bool) -> None:
    assert is_emulated(kernel, machine, "Cortex-A76") is expected


def test_a_processor_that_calls_itself_a_program_is_emulated() -> None:
    assert is_emulated("x86_64", "x86_64", "QEMU TCG CPU version 2.5+")


def test_the_environment_names_the_board(tmp_path: Path) -> None:
    write(tmp_path / "proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    write(tmp_path / "etc/os-release", 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n')
    write(tmp_path / "proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 5000000 kB\n")
    found = read_environment(tmp_path)
    assert (found.device, found.system) == ("Raspberry Pi 5 Model B Rev 1.0", "Debian GNU/Linux 13 (trixie)")
    assert found.memory_bytes == 8_000_000 * 1024
    assert found.libraries["numpy"]
    assert read_environment().device
