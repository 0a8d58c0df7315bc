"""How much memory this process took at most; nothing that would take more of it is imported here."""

import re
from pathlib import Path


def peak_bytes() -> int | None:
    """Return the largest resident size of this process so far in bytes, VmHWM; None where the system doesn't tell.

    Not getrusage's: that begins with the peak of the process that started this one.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    return 1024 * int(found[1]) if found else None
