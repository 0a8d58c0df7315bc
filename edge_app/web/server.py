"""Serves an application in a thread of its own."""

import asyncio
import socket
import ssl
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge_app.errors import StationError
from edge_app.web.access import is_local
from edge_app.web.parts import Parts

STALLED_S = 20  # seconds a peer may take nothing
REQUEST_S = 60  # seconds a peer may take to send a request
MOST_CONNECTIONS = 200
SEND_BUFFER = 128 * 1024  # bytes: frames that lie in the kernel grow old there
START_S = 20
STOP_S = 2


class Server:
    """An application on a port; a context manager that stops within seconds, whoever still looks."""

    def __init__(
        self,
        app: FastAPI,
        *,
        address: str = "127.0.0.1",
        port: int = 8080,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
        stalled_s: float = STALLED_S,
    ) -> None:
        """Prepare to serve; port 0 is any free one. tls_cert, tls_key: PEM files, to serve https.

        stalled_s: a viewer that has taken nothing for so long is cut off.

        Raises StationError when others could reach the address and `app` has no token, or the TLS files can't be used.
        """
        self.app = app
        parts: Parts = app.state.parts
        self._streams = parts.streams
        self._address, self._wanted_port = address, port
        self.port = port
        self._tls = _tls(tls_cert, tls_key) if tls_cert and tls_key else None
        if parts.access.token is None and not is_local(address):
            raise StationError(f"others can reach {address}: give a token, or listen on 127.0.0.1")
        options: dict[str, Any] = {"ssl_context_factory": lambda *_: self._tls} if self._tls else {}
        config = uvicorn.Config(
            app,
            http=_connection_class(stalled_s),
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=STOP_S,
            **options,
        )
        self._server = uvicorn.Server(config)
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        """The page's address."""
        host = "localhost" if is_local(self._address) else self._address
        if host in ("0.0.0.0", "::"):  # noqa: S104
            host = socket.gethostname()
        name = f"[{host}]" if ":" in host else host
        return f"http{'s' if self._tls else ''}://{name}:{self.port}/"

    def __enter__(self) -> Self:
        """Listen; raises StationError when the port or the address can't be had."""
        listener = _listener(self._address, self._wanted_port)
        self.port = listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, args=(listener,), name="server", daemon=True)
        self._thread.start()
        deadline_s = time.monotonic() + START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline_s:
                listener.close()
                raise StationError("the page can't be served; what was printed before says why")
            time.sleep(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the streams, cut off who does not take what was sent, and wait for the thread."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end_streams)
        self._server.should_exit = True
        self._thread.join(2 * STOP_S)

    def _run(self, listener: socket.socket) -> None:
        asyncio.run(self._serve(listener))

    async def _serve(self, listener: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.serve([listener])

    def _end_streams(self) -> None:
        self._streams.close()
        for connection in list(self._server.server_state.connections):
            cast(_Connection, connection).cut_if_stalled()


class _Connection(H11Protocol):
    """A connection that is cut off when its peer takes too long to send a request, or to take what was sent."""

    stalled_s: float

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many; whatever the kernel does not take at once waits for the peer."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=1)  # with 0, asyncio's TLS would wait for ever
        self._late = self.loop.call_later(REQUEST_S, transport.abort)
        self._stalled: asyncio.TimerHandle | None = None
        if len(self.connections) > MOST_CONNECTIONS:  # each is an open file, and the camera and the records need some
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take what the peer sends; a request's last byte may come so long after its first."""
        super().data_received(data)
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._late.cancel()
        elif self._late.cancelled():
            self._late = self.loop.call_later(REQUEST_S, self.transport.abort)

    def pause_writing(self) -> None:
        """Wait for the peer, not for ever."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self.stalled_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        if self._stalled is not None:
            self._stalled.cancel()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._late.cancel()
        self.resume_writing()
        super().connection_lost(exc)

    def cut_if_stalled(self) -> None:
        """Close at once if the peer has not taken all that was sent."""
        if self.flow.write_paused:
            self.transport.abort()


def _connection_class(stalled_s: float) -> type[_Connection]:
    return type("Connection", (_Connection,), {"stalled_s": stalled_s})


def _listener(address: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # UnicodeError: from a name such as a..b
        reason = error.strerror if isinstance(error, OSError) else "that is no host name"
        raise StationError(f"there is no address {address} ({reason}); use 127.0.0.1 or 0.0.0.0") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)  # connections inherit it
        listener.bind(where)
        listener.listen(100)
    except OSError as error:
        listener.close()
        raise StationError(
            f"{address} port {port} can't be listened on ({error.strerror}); choose another port"
        ) from None
    return listener


def _tls(cert: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def no_password() -> str:
        raise StationError(f"{key} is encrypted; give a key without a password, readable by this user alone")

    try:
        context.load_cert_chain(cert, key, no_password)
    except (OSError, ValueError) as error:
        raise StationError(f"{cert} and {key} can't be used for https ({error}); both are PEM files") from None
    return context
