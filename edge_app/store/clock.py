"""Is the wall clock right? A Raspberry Pi without a battery clock starts in the past, until the network sets it."""

import ctypes
import functools
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

RELEASED = datetime(2026, 11, 1, tzinfo=UTC)  # no clock that says an earlier time is right
SET_SINCE_BOOT = Path("/run/systemd/timesync/synchronized")  # systemd's service leaves it once it has set the clock
BATTERY_CLOCK = Path("/sys/class/rtc/rtc0")
TIME_ERROR = 5  # what adjtimex(2) returns while no time service has set the clock
BATTERY_CLOCK_OFF = timedelta(minutes=1)


class Clock:
    """The clocks of this device."""

    def now(self) -> datetime:
        """Return the wall clock's time, UTC, aware; it may be wrong, and may jump."""
        return datetime.now(UTC)

    def monotonic_ns(self) -> int:
        """Return nanoseconds since the device started; they never jump."""
        return time.monotonic_ns()

    def boot_id(self) -> str:
        """Return what tells this start of the device from all others, or "" where the kernel does not say."""
        return _text(Path("/proc/sys/kernel/random/boot_id"))

    def sure(self) -> bool:
        """Return whether the wall clock can be right: set by the network, or agreeing with a battery clock."""
        if self.now() < RELEASED:
            return False
        # the kernel alone would not do: it forgets after hours without network
        return SET_SINCE_BOOT.exists() or kernel_says_set() or self._battery_clock_agrees()

    def at(self, monotonic_ns: int) -> datetime:
        """Return the wall clock's time at a moment of this boot, as far as the clock is right now."""
        return self.now() - timedelta(microseconds=(self.monotonic_ns() - monotonic_ns) / 1000)

    def _battery_clock_agrees(self) -> bool:
        """A clock without a battery starts in 1970, and does not agree with a system clock that got another time."""
        seconds = _text(BATTERY_CLOCK / "since_epoch")
        if _text(BATTERY_CLOCK / "hctosys") != "1" or not seconds.isdigit():
            return False
        return abs(self.now() - datetime.fromtimestamp(int(seconds), UTC)) < BATTERY_CLOCK_OFF


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def kernel_says_set() -> bool:
    """Return whether a time service (chrony, ntpd, systemd-timesyncd) told the kernel that the clock is right."""
    request = ctypes.create_string_buffer(512)  # struct timex, all zero: change nothing, tell
    try:
        state = int(_libc().adjtimex(request))
    except AttributeError:  # not Linux
        return False
    return 0 <= state < TIME_ERROR


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
