"""Who may use the page and the API: the token, the cookie that stands for it, and limits on guessing.

Without a token everybody may, so the server then listens on this device's own addresses only.
"""

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from edge_app.web.problems import refuse

COOKIE = "leukoscope"
COOKIE_S = 30 * 24 * 3600
OPEN_PATHS = {"/login", "/healthz", "/readiness", "/api/login", "/favicon.ico"}
OPEN_FOLDER = "/static/"

FREE_TRIES = 5
LONGEST_PAUSE_S = 900
MOST_ADDRESSES = 1024


def is_local(address: str) -> bool:
    """Return whether an address to listen on is reached from this device only."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def token_for(address: str, given: str | None) -> str | None:
    """Return the token to ask for: the one given, else a new one where others can reach the address, else None."""
    return given or (None if is_local(address) else secrets.token_urlsafe(24))


class Access:
    """Checks tokens and cookies."""

    def __init__(self, token: str | None) -> None:
        """Ask for `token`; None lets everybody in."""
        self.token = token
        self.tries = Tries()

    def is_token(self, text: str) -> bool:
        """Return whether a text is the token, in a time that tells nothing of it."""
        return self.token is None or hmac.compare_digest(text.encode(errors="replace"), self.token.encode())

    def new_cookie(self) -> str:
        """Return a cookie's value: until when it is good, and a proof that whoever made it knew the token."""
        return self._signed(int(time.time()) + COOKIE_S)

    def is_cookie(self, text: str) -> bool:
        """Return whether a text is a cookie of ours that is still good."""
        until = text.partition(".")[0]
        if not (until.isascii() and until.isdigit() and len(until) < 20):
            return False
        return hmac.compare_digest(text.encode(errors="replace"), self._signed(int(until)).encode()) and (
            time.time() < int(until)
        )

    def _signed(self, until: int) -> str:
        key = hashlib.sha256(b"leukoscope cookie " + (self.token or "").encode()).digest()
        return f"{until}.{hmac.new(key, str(until).encode(), 'sha256').hexdigest()}"


class Tries:
    """Counts wrong tokens by address, and makes each address pause longer and longer."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, _Wrong] = OrderedDict()

    def pause_s(self, client: str) -> int:
        """Return for how many whole seconds an address may not try again; 0 when it may now."""
        wrong = self._wrong.get(_place(client))
        if wrong is None or wrong.count < FREE_TRIES:
            return 0
        pause_s = min(2 ** (wrong.count - FREE_TRIES), LONGEST_PAUSE_S)
        return max(0, -int(-(wrong.last_s + pause_s - time.monotonic()) // 1))

    def wrong(self, client: str) -> None:
        """Count a wrong token."""
        place = _place(client)
        count = self._wrong[place].count if place in self._wrong else 0
        self._wrong[place] = _Wrong(min(count + 1, FREE_TRIES + 30), time.monotonic())
        self._wrong.move_to_end(place)
        while len(self._wrong) > MOST_ADDRESSES:
            self._wrong.popitem(last=False)

    def right(self, client: str) -> None:
        """Forget an address's wrong tokens."""
        self._wrong.pop(_place(client), None)


@dataclass(frozen=True)
class _Wrong:
    count: int
    last_s: float


class TokenCheck:
    """ASGI middleware that lets pass who has shown the token, and everybody to `OPEN_PATHS`."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 401, 429, or for the page itself with the way to /login."""
        answer: ASGIApp | None = None
        if scope["type"] == "http" and not _is_open(scope["path"]):
            answer = self._refusal(scope)
        await (answer or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        access = self._access
        headers = Headers(scope=scope)
        if access.token is None or access.is_cookie(_cookie(headers)):
            return None
        kind, _, shown = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            client = client_of(scope)
            if pause_s := access.tries.pause_s(client):
                return too_many_tries(pause_s)
            if access.is_token(shown.strip()):
                access.tries.right(client)
                return None
            access.tries.wrong(client)
            return refuse(401, "this is not the token; it is printed where leukoscope was started")
        if scope["path"] == "/" and scope["method"] == "GET":
            return RedirectResponse("/login", status_code=303)
        return refuse(
            401,
            "show the token: log in at /login, or send it as `Authorization: Bearer TOKEN`",
            {"WWW-Authenticate": "Bearer"},
        )


def client_of(scope: Scope) -> str:
    """Return a request's peer address."""
    return str(scope["client"][0]) if scope.get("client") else ""


def too_many_tries(pause_s: int) -> ASGIApp:
    """Return the answer to who has tried wrong tokens too often."""
    return refuse(429, f"too many wrong tokens; try again in {pause_s} s", {"Retry-After": str(pause_s)})


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDER)


def _cookie(headers: Headers) -> str:
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _place(client: str) -> str:
    """Return what an attacker can't change easily: an IPv4 address, or of an IPv6 address the network."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
