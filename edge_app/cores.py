"""One thread a core for the pieces of a frame's work; OpenCV lets other threads run while it is at one."""

import os
from concurrent.futures import ThreadPoolExecutor

CORES = len(os.sched_getaffinity(0))
pool = ThreadPoolExecutor(CORES, "cores")
