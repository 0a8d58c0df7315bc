"""One thread a core for work that OpenCV and numpy do outside Python's lock."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from edge_app.cores import CORES

T = TypeVar("T")
R = TypeVar("R")


def in_threads(function: Callable[[T], R], items: Sequence[T], on_done: Callable[[int], None]) -> list[R]:
    """Return the function's result for each item, in their order; `on_done` is told how many there are.

    What is raised, Ctrl-C included, ends the work: what has not begun never does.
    """
    executor = ThreadPoolExecutor(CORES, "train")
    try:
        results: list[R] = []
        for result in executor.map(function, items):
            results.append(result)
            on_done(len(results))
        return results
    finally:
        executor.shutdown(cancel_futures=True)
