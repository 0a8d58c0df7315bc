"""Responses that go on: each viewer gets the newest there is when it can take more, and none can hold anything up.

What is sent is chosen after the viewer has taken what was sent before, so a slow one skips instead of lagging.
Memory holds one chunk a viewer.
"""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from typing import BinaryIO

import anyio
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from edge_app.errors import LeukoscopeError, StationError

MOST_VIEWERS = 80  # streams: a page has two
PIPE_BYTES = 65536
LAST_WORDS_S = 0.5
_logger = logging.getLogger(__name__)

Chunks = AsyncGenerator[bytes, None]


class TooManyViewersError(StationError):
    """Raised when as many streams are open as may be."""


class Streams:
    """The streams that are open: bounded in number, and ended together; used in the server's event loop only."""

    def __init__(self, most: int = MOST_VIEWERS) -> None:
        self._most = most
        self._scopes: set[anyio.CancelScope] = set()
        self._closed = False

    @property
    def viewers(self) -> int:
        """How many streams are open."""
        return len(self._scopes)

    def check_room(self) -> None:
        """Raise TooManyViewersError when no more may look."""
        if self._closed or len(self._scopes) >= self._most:
            raise TooManyViewersError("too many pages are open on this device; close one of them and try again")

    @contextmanager
    def counted(self, scope: anyio.CancelScope) -> Iterator[None]:
        """Count a stream while it is open; `scope` is cancelled by `close`."""
        self._scopes.add(scope)
        try:
            yield
        finally:
            self._scopes.discard(scope)

    def close(self) -> None:
        """End all streams and admit no more."""
        self._closed = True
        for scope in list(self._scopes):
            scope.cancel()


class Stream(Response):
    """A response made of chunks, one at a time: the next is asked for once the viewer has taken the last."""

    def __init__(
        self,
        chunks: Chunks,
        media_type: str,
        streams: Streams,
        headers: Mapping[str, str] | None = None,
        *,
        endless: bool = False,
    ) -> None:
        """Send `chunks`, which are closed at the end, whatever ends them; endless: what came is whole at any time."""
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        self.init_headers(headers)
        self._chunks = chunks
        self._streams = streams
        self._endless = endless

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send until the chunks end, the viewer goes, or the streams are closed."""
        whole = self._endless
        async with aclosing(self._chunks), anyio.create_task_group() as tasks:
            with self._streams.counted(tasks.cancel_scope):
                tasks.start_soon(_cancel_when_gone, receive, tasks.cancel_scope)
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                while True:
                    # an empty piece writes nothing, and returns when all before it was taken
                    await send({"type": "http.response.body", "body": b"", "more_body": True})
                    try:
                        chunk = await anext(self._chunks, None)
                    except LeukoscopeError as error:
                        _logger.error("a download broke off: %s", error)
                        break
                    if chunk is None:
                        whole = True
                        break
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                tasks.cancel_scope.cancel()
        if whole:  # otherwise the connection is closed in the middle, so that nobody takes it for whole
            with anyio.move_on_after(LAST_WORDS_S):
                await send({"type": "http.response.body", "body": b"", "more_body": False})


class Wake:
    """Lets station threads wake a stream: calling it returns at once, in any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._on_its_way = False  # so that a loop that is behind has one call queued, not hundreds

    def __call__(self) -> None:
        """Wake whoever waits, or who waits next."""
        if not self._on_its_way:
            self._on_its_way = True
            with suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, timeout_s: float) -> None:
        """Return when it was called, at most after `timeout_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
            self._event.clear()
            self._on_its_way = False


async def written_by(write: Callable[[BinaryIO], None]) -> Chunks:
    """Yield what `write`, in a thread, writes into a file; it waits while nobody takes, and fails when nobody will."""
    # a pipe is the bounded queue between them, and its end tells each of the other's
    read_end, write_end = os.pipe()
    reader = open(read_end, "rb", buffering=0)  # noqa: PTH123, SIM115
    problems: list[BaseException] = []

    def run() -> None:
        file = open(write_end, "wb")  # noqa: PTH123, SIM115
        try:
            write(file)
            file.flush()
        except BrokenPipeError:
            pass  # the viewer went
        except BaseException as error:
            problems.append(error)
        finally:
            with suppress(OSError):  # what it could not flush
                file.close()

    writer = threading.Thread(target=run, name="download", daemon=True)
    writer.start()
    try:
        while chunk := await asyncio.to_thread(reader.read, PIPE_BYTES):
            yield chunk
    finally:
        reader.close()
    writer.join()
    if problems:
        raise problems[0]


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    with suppress(HTTPException):  # who sends a body without end is no viewer
        while (await receive())["type"] != "http.disconnect":
            pass
    scope.cancel()
