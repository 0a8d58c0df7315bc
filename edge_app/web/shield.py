"""What keeps other web sites out, and requests small: checks before, and headers after every answer."""

import ipaddress

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_app.web.problems import refuse

LARGEST_BODY = 65536  # bytes
LARGEST_UPLOAD = 32 * 2**20
UPLOAD_PATH = "/api/classify"
READING = {"GET", "HEAD", "OPTIONS"}

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Shield:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, *, local_only: bool) -> None:
        """Guard `app`; local_only: it is asked for under this device's own names alone (against DNS rebinding)."""
        self._app = app
        self._local_only = local_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on and add headers to its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        limit = LARGEST_UPLOAD if scope["path"] == UPLOAD_PATH else LARGEST_BODY
        answer: ASGIApp = self._app
        if self._local_only and not _is_own_name(headers.get("host", "")):
            answer = refuse(403, "this device answers to localhost only; open it under http://localhost")
        elif _is_foreign(scope, headers):
            answer = refuse(403, "this request comes from another web site; use the page of this device itself")
        elif _length(headers) > limit:
            answer = _too_large(limit)

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    sent.setdefault(name, value)
                sent.setdefault("Cache-Control", "no-store")
            await send(message)

        await answer(scope, _limited(receive, limit), guarded_send)


def _limited(receive: Receive, limit: int) -> Receive:
    """Return a `receive` that raises 413 once a body is longer than it may be."""
    total = 0

    async def limited() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > limit:
            raise HTTPException(413, _too_large_text(limit))
        return message

    return limited


def _length(headers: Headers) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isascii() and length.isdigit() else 0


def _too_large(limit: int) -> ASGIApp:
    return refuse(413, _too_large_text(limit), {"Connection": "close"})


def _too_large_text(limit: int) -> str:
    return f"this is too large: at most {limit // 1024} KiB can be sent here"


def _is_own_name(host: str) -> bool:
    name = host.removeprefix("[").partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_foreign(scope: Scope, headers: Headers) -> bool:
    """Return whether a browser sends this for another site; programs send none of these headers."""
    site = headers.get("sec-fetch-site")
    if scope["method"] in READING:
        # a link may lead to the page, but no other site may show what is the API's
        return scope["path"].startswith("/api/") and site not in (None, "same-origin", "none")
    if site is not None and site not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and origin.lower() != f"{scope['scheme']}://{headers.get('host', '').lower()}"
