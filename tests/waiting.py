"""Waits in tests for what another thread or process does."""

import time
from collections.abc import Callable

LIMIT_S = 30


def until(happens: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    """Wait until something is true; fails when that takes too long."""
    deadline_s = time.monotonic() + limit_s
    while not happens():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.02)
