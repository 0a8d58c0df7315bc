"""Threads for the pieces of a frame's work, one a core with the caller's; OpenCV lets others run while it is at one.

Also the memory of that work: once a large block was freed, glibc keeps what is freed, up to twice as much, for the next
frame. Otherwise it gives it back after each, and the kernel makes a thousand pages anew for every frame.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic, TypeVar

import numpy as np

KEPT_BYTES = 2**24
CORES = len(os.sched_getaffinity(0))
OTHERS = max(1, CORES - 1)
pool = ThreadPoolExecutor(OTHERS, "cores")
Item = TypeVar("Item")
Result = TypeVar("Result")
np.empty(KEPT_BYTES, np.uint8)  # freed at once, never touched


class Aside(Generic[Result]):
    """Work for another thread, which this one does itself if none has begun it by the time its result is needed.

    On a busy device threads are late: then nothing is waited for that could be done at once.
    """

    def __init__(self, work: Callable[[], Result]) -> None:
        """Offer the work."""
        self._work = work
        self._future = pool.submit(work)

    def result(self) -> Result:
        """Return the work's result; raises what the work raises."""
        return self._work() if self._future.cancel() else self._future.result()


def share_out(work: Callable[[Item], object], items: Sequence[Item]) -> None:
    """Do the work for each item; the first in this thread, as handing one over costs some 100 µs."""
    others = [Aside(partial(work, item)) for item in items[1:]]
    work(items[0])
    for other in others:
        other.result()


def _start_again() -> None:
    """Make the pool as new: in a forked process, such as a data loader's worker, its threads do not live on."""
    pool.__init__(OTHERS, "cores")  # type: ignore[misc]


os.register_at_fork(after_in_child=_start_again)
