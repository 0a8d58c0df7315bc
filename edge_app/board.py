"""What the device says of itself: board, processor, memory and system; temperature, and whether it is slowed down."""

import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

COMMAND_LIMIT_S = 5
HOT = 80  # °C, where a Raspberry Pi begins to slow down
# Jetsons have a zone of this name that always reads 100 °C.
NO_TEMPERATURE = {"PMIC-Die"}

# bit of `vcgencmd get_throttled` → what it means; 16 bits higher the same, at any time since boot
THROTTLING = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}


@dataclass(frozen=True)
class Throttling:
    """What slows the board: now, and at any time since boot; in the words of `THROTTLING`."""

    now: tuple[str, ...]
    since_boot: tuple[str, ...]


@dataclass(frozen=True)
class Board:
    """The board at one moment; what it does not tell is None.

    model: as its maker calls it. temperature_c: of its hottest thermal zone. throttling: only Raspberry Pis tell it.
    governor: how the kernel sets the processor's clock rate.
    """

    model: str | None
    temperature_c: float | None
    throttling: Throttling | None
    governor: str | None


def read_board(root: Path = Path("/")) -> Board:
    """Return the board's condition; never raises. Takes milliseconds, at worst `COMMAND_LIMIT_S`: call it in a thread.

    root: the folder in which proc and sys are looked for.
    """
    degrees = temperatures(root)
    return Board(
        model=board_model(root) or None,
        temperature_c=max(degrees.values()) if degrees else None,
        throttling=throttling(program_output("vcgencmd", "get_throttled")),
        governor=read_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None,
    )


def board_model(root: Path = Path("/")) -> str:
    """Return the board's name from the device tree, whose texts end in a zero byte; empty where there is none."""
    return read_text(root / "proc/device-tree/model").replace("\0", "").strip()


def is_jetson(root: Path = Path("/")) -> bool:
    """Return whether this is an NVIDIA Jetson, whoever made the board around it."""
    return "nvidia,tegra" in read_text(root / "proc/device-tree/compatible")


def processor_name(root: Path = Path("/")) -> str:
    """Return the processor's name, and those of its features that make int8 fast."""
    fields = dict(re.findall(r"^([^\n:]+?)\s*:\s*(.*)$", read_text(root / "proc/cpuinfo"), re.MULTILINE))
    name = fields.get("model name") or platform.machine()
    features = {*fields.get("flags", "").split(), *fields.get("Features", "").split()}
    fast = [each for each in ("asimddp", "i8mm", "avx2", "avx_vnni", "avx512_vnni") if each in features]
    return f"{name} ({', '.join(fast)})" if fast else name


def memory_bytes(root: Path = Path("/")) -> tuple[int, int] | None:
    """Return total and available memory, or None where it is not told."""
    text = read_text(root / "proc/meminfo")
    kilobytes = dict(re.findall(r"^(MemTotal|MemAvailable):\s*(\d+) kB$", text, re.MULTILINE))
    if len(kilobytes) < 2:
        return None
    return int(kilobytes["MemTotal"]) * 1024, int(kilobytes["MemAvailable"]) * 1024


def system_name(root: Path = Path("/")) -> str:
    """Return the distribution's name and version."""
    match = re.search(r'^PRETTY_NAME="?([^"\n]*)"?$', read_text(root / "etc/os-release"), re.MULTILINE)
    return match[1] if match else "an unknown distribution"


def temperatures(root: Path = Path("/")) -> dict[str, float]:
    """Return °C by thermal zone (`thermal_zone0 cpu-thermal`), without those that can't be read or don't measure."""
    degrees = {}
    for folder in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        kind = read_text(folder / "type").strip()
        thousandths = read_text(folder / "temp").strip()
        if kind not in NO_TEMPERATURE and re.fullmatch(r"-?\d{1,7}", thousandths):
            degrees[f"{folder.name} {kind}".strip()] = int(thousandths) / 1000
    return degrees


def throttling(text: str) -> Throttling | None:
    """Return what `vcgencmd get_throttled` says, such as `throttled=0x50005`; None where it said anything else."""
    match = re.fullmatch(r"throttled=0x([0-9a-fA-F]+)\s*", text)
    if not match:
        return None
    bits = int(match[1], 16)
    return Throttling(
        now=tuple(meaning for bit, meaning in THROTTLING.items() if bits >> bit & 1),
        since_boot=tuple(meaning for bit, meaning in THROTTLING.items() if bits >> bit + 16 & 1),
    )


def read_text(path: Path) -> str:
    """Return a file's text; empty where it is not there or the kernel won't give it."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def program_output(*arguments: str) -> str:
    """Return what a program writes; empty where it is not there, fails or hangs."""
    if not (program := shutil.which(arguments[0])):
        return ""
    try:
        done = subprocess.run(
            [program, *arguments[1:]], capture_output=True, text=True, errors="replace", timeout=COMMAND_LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
