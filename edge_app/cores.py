"""One thread a core for the pieces of a frame's work; OpenCV lets other threads run while it is at one."""

import os
from concurrent.futures import ThreadPoolExecutor

CORES = len(os.sched_getaffinity(0))
pool = ThreadPoolExecutor(CORES, "cores")


def _start_again() -> None:
    """Make the pool as new: in a forked process, such as a data loader's worker, its threads do not live on."""
    pool.__init__(CORES, "cores")  # type: ignore[misc]


os.register_at_fork(after_in_child=_start_again)
