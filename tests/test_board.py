import os
import time
from pathlib import Path

import pytest

from edge_app import board
from edge_app.board import (
    Board,
    Throttling,
    is_jetson,
    memory_bytes,
    processor_name,
    program_output,
    read_board,
    system_name,
    temperatures,
    throttling,
)

PI_5 = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd0b

Revision\t: d04170
Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""
X86 = """processor\t: 0
model name\t: 12th Gen Intel(R) Core(TM) i7-1260P
flags\t\t: fpu vme de sse4_2 avx2 avx_vnni
power management:
"""


def write_zone(root: Path, number: int, reading: str, kind: str | None = None) -> None:
    folder = root / f"sys/class/thermal/thermal_zone{number}"
    folder.mkdir(parents=True)
    (folder / "temp").write_text(reading)
    if kind:
        (folder / "type").write_text(f"{kind}\n")


def install(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program of this name into the search path."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_a_raspberry_pi_tells_model_temperature_throttling_and_governor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    write_zone(tmp_path, 0, "61250\n", "cpu-thermal")
    governor = tmp_path / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    governor.parent.mkdir(parents=True)
    governor.write_text("ondemand\n")
    install(tmp_path / "bin", "vcgencmd", '[ "$1" = get_throttled ] && echo throttled=0x50005', monkeypatch)
    slowed = ("under-voltage", "throttled")
    assert read_board(tmp_path) == Board(
        "Raspberry Pi 5 Model B Rev 1.0", 61.25, Throttling(slowed, slowed), "ondemand"
    )


def test_a_board_that_tells_nothing_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "bin", "vcgencmd", "echo VCHI initialization failed; exit 255", monkeypatch)
    assert read_board(tmp_path) == Board(None, None, None, None)


def test_a_jetson_is_known_by_its_processor(tmp_path: Path) -> None:
    assert not is_jetson(tmp_path)
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/compatible").write_bytes(b"nvidia,p3768-0000+p3767-0005\0nvidia,tegra234\0")
    assert is_jetson(tmp_path)
    (tmp_path / "proc/device-tree/compatible").write_bytes(b"raspberrypi,5-model-b\0brcm,bcm2712\0")
    assert not is_jetson(tmp_path)


def test_the_hottest_zone_counts_and_those_that_measure_nothing_do_not(tmp_path: Path) -> None:
    write_zone(tmp_path, 0, "48312\n", "cpu-thermal")
    write_zone(tmp_path, 1, "52000\n", "gpu-thermal")
    write_zone(tmp_path, 2, "100000\n", "PMIC-Die")  # a Jetson's, always 100 °C
    write_zone(tmp_path, 3, "N/A")
    write_zone(tmp_path, 4, "-1500\n")
    (tmp_path / "sys/class/thermal/thermal_zone5/temp").mkdir(parents=True)  # can't be read
    assert temperatures(tmp_path) == {
        "thermal_zone0 cpu-thermal": 48.312,
        "thermal_zone1 gpu-thermal": 52.0,
        "thermal_zone4": -1.5,
    }
    assert read_board(tmp_path).temperature_c == 52.0


def test_processors_are_named_with_what_makes_int8_fast(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(X86)
    assert processor_name(tmp_path) == "12th Gen Intel(R) Core(TM) i7-1260P (avx2, avx_vnni)"
    (tmp_path / "proc/cpuinfo").write_text(PI_5)
    assert processor_name(tmp_path).endswith(" (asimddp)")


def test_memory_is_in_bytes(tmp_path: Path) -> None:
    assert memory_bytes(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal:  4137904 kB\nMemFree:  212240 kB\nMemAvailable:  1000 kB\n")
    assert memory_bytes(tmp_path) == (4137904 * 1024, 1024000)


def test_the_system_is_named_as_it_names_itself(tmp_path: Path) -> None:
    assert system_name(tmp_path) == "an unknown distribution"
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    assert system_name(tmp_path) == "Debian GNU/Linux 12 (bookworm)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("throttled=0x0\n", Throttling((), ())),
        ("throttled=0x80000\n", Throttling((), ("soft temperature limit",))),
        ("throttled=0x2", Throttling(("frequency capped",), ())),
        ("VCHI initialization failed\n", None),
        ("", None),
    ],
)
def test_throttling_bits_are_put_into_words(text: str, expected: Throttling | None) -> None:
    assert throttling(text) == expected


def test_a_program_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "bin", "vcgencmd", "exec sleep 60", monkeypatch)
    monkeypatch.setattr(board, "COMMAND_LIMIT_S", 0.2)
    started = time.monotonic()
    assert program_output("vcgencmd", "get_throttled") == ""
    assert time.monotonic() - started < 10
