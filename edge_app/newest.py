"""Hands the newest of something from one thread to many, none of which can hold it up."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Newest(Generic[T]):
    """Holds one value, the newest; who comes late finds the newest and has missed those between."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._value: T | None = None
        self._number = 0
        self._taken = 0
        self._closed = False
        self._wakes: list[Callable[[], None]] = []

    @property
    def value(self) -> T | None:
        """The newest value, or None before the first."""
        return self._value

    @property
    def watched(self) -> bool:
        """Whether anybody subscribes."""
        return bool(self._wakes)

    def put(self, value: T) -> None:
        """Replace the value and wake whoever waits."""
        with self._news:
            self._value = value
            self._number += 1
            wakes = tuple(self._wakes)
            self._news.notify_all()
        for wake in wakes:
            wake()

    def take(self, timeout_s: float) -> T | None:
        """Wait for a value that `take` has not given yet; None when none came in time, or after `close`."""
        with self._news:
            self._news.wait_for(lambda: self._number > self._taken or self._closed, timeout_s)
            if self._closed or self._number == self._taken:
                return None
            self._taken = self._number
            self._news.notify_all()
            return self._value

    def wait_until_taken(self) -> None:
        """Wait until the newest value was taken, or `close`."""
        with self._news:
            self._news.wait_for(lambda: self._number == self._taken or self._closed)

    def close(self) -> None:
        """End every wait."""
        with self._news:
            self._closed = True
            self._news.notify_all()

    @contextmanager
    def subscribed(self, wake: Callable[[], None]) -> Iterator[None]:
        """Call `wake` after each new value, in the thread that puts it: it must return at once and not raise."""
        with self._news:
            self._wakes.append(wake)
        try:
            yield
        finally:
            with self._news:
                self._wakes.remove(wake)
