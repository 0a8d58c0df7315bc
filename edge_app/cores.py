"""Threads for the pieces of a frame's work, one a core with the caller's; OpenCV lets others run while it is at one.

Also the memory of that work: once a large block was freed, glibc keeps what is freed, up to twice as much, for the next
frame. Otherwise it gives it back after each, and the kernel makes a thousand pages anew for every frame.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any, Generic, TypeVar

import numpy as np

KEPT_BYTES = 2**24
CORES = len(os.sched_getaffinity(0))
OTHERS = max(1, CORES - 1)
pool = ThreadPoolExecutor(OTHERS, "cores")
Item = TypeVar("Item")
Result = TypeVar("Result")
np.empty(KEPT_BYTES, np.uint8)  # freed at once, never touched


class Task(Generic[Result]):
    """Work that is done once, by the first thread to come: one it was offered to, or one that needs the result.

    On a busy device threads are late: so nothing is waited for that could be done at once. A task may ask for the
    results of others, if none of them asks for its own.
    """

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self._begun = Lock()
        self._outcome: Future[Result] = Future()

    def begin(self) -> None:
        """Do the work if nobody has begun it."""
        if self._begun.acquire(blocking=False):
            try:
                self._outcome.set_result(self._work())
            except BaseException as error:  # whoever asks for the result is told
                self._outcome.set_exception(error)

    def result(self) -> Result:
        """Return the work's result; raises what the work raises."""
        self.begin()
        return self._outcome.result()


def offer(tasks: Iterable[Task[Any]]) -> None:
    """Offer tasks to the other cores, which begin with the first."""
    for each in tasks if CORES > 1 else ():
        pool.submit(each.begin)


def results(tasks: Sequence[Task[Result]]) -> list[Result]:
    """Return the tasks' results; what nobody has begun is done from the last on, as others begin with the first."""
    for each in reversed(tasks):
        each.begin()
    return [each.result() for each in tasks]


def share_out(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return the results of the work on each item; this thread begins at once with the first."""
    tasks = [Task(partial(work, item)) for item in items]
    offer(tasks[1:])
    tasks[0].begin()
    return results(tasks)


def _start_again() -> None:
    """Make the pool as new: in a forked process, such as a data loader's worker, its threads do not live on."""
    pool.__init__(OTHERS, "cores")  # type: ignore[misc]


os.register_at_fork(after_in_child=_start_again)
