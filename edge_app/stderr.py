"""The process's stderr, to which libraries of C write past Python: for a while it goes elsewhere."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

# Of two at once, the later would put back what the earlier had put there, and stderr would stay lost.
_lock = threading.Lock()


@contextmanager
def stderr_into(file: BinaryIO) -> Iterator[None]:
    """Let a file get what any thread writes to stderr; other threads that want the same wait."""
    with _lock:
        real = os.dup(2)
        try:
            os.dup2(file.fileno(), 2)
            yield
        finally:
            os.dup2(real, 2)
            os.close(real)
