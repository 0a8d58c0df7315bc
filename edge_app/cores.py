"""Threads for the pieces of a frame's work, one a core with the caller's; OpenCV lets others run while it is at one.

Also the memory of that work: once a large block was freed, glibc keeps what is freed, up to twice as much, for the next
frame. Otherwise it gives it back after each, and the kernel makes a thousand pages anew for every frame.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

KEPT_BYTES = 2**24
CORES = len(os.sched_getaffinity(0))
OTHERS = max(1, CORES - 1)
pool = ThreadPoolExecutor(OTHERS, "cores")
Item = TypeVar("Item")
np.empty(KEPT_BYTES, np.uint8)  # freed at once, never touched


def share_out(work: Callable[[Item], object], items: Sequence[Item]) -> None:
    """Do the work for each item; the first in this thread, as handing one over costs some 100 µs."""
    others = [pool.submit(work, item) for item in items[1:]]
    work(items[0])
    for other in others:
        other.result()


def _start_again() -> None:
    """Make the pool as new: in a forked process, such as a data loader's worker, its threads do not live on."""
    pool.__init__(OTHERS, "cores")  # type: ignore[misc]


os.register_at_fork(after_in_child=_start_again)
