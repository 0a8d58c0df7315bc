"""Who may use the page: token, cookie, tries; and what other web sites may not."""

import logging
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from edge_app.errors import StationError
from edge_app.web.access import FREE_TRIES, MOST_ADDRESSES, Access, Tries, is_local, token_for
from edge_app.web.server import Server
from tests.web import Running, running

TOKEN = "correct-horse-battery-staple"  # noqa: S105
BEARER = {"Authorization": f"Bearer {TOKEN}"}
CLOSED = ["/api/status", "/api/verdicts", "/api/view.mjpeg", "/api/records", "/metrics", "/api/openapi.json", "/nope"]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Running]:
    with running(token=TOKEN) as it:
        yield it


@pytest.fixture
def client(guarded: Running) -> Iterator[httpx.Client]:
    """A client without cookies, from an address without wrong tries."""
    guarded.server.app.state.parts.access.tries = Tries()
    with httpx.Client(base_url=guarded.server.url, timeout=20) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def unguarded() -> Iterator[Running]:
    with running() as it:
        yield it


@pytest.mark.parametrize("path", CLOSED)
def test_nothing_is_told_without_the_token(client: httpx.Client, path: str) -> None:
    for headers in ({}, {"Authorization": "Basic x"}, {"Cookie": "leukoscope=1.2"}, {"Cookie": "leukoscope"}):
        answer = client.get(path, headers=headers)
        assert answer.status_code == 401
        assert "show the token" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/api/records", "/api/white-balance", "/api/classify", "/api/logout"])
def test_nothing_is_done_without_the_token(client: httpx.Client, path: str) -> None:
    assert client.post(path).status_code == 401


def test_what_asks_for_no_token_tells_nothing(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"alive": True}
    assert client.get("/readiness").json().keys() <= {"ready", "detail"}
    assert client.get("/").headers["location"] == "/login"
    assert client.get("/login").status_code == 200


def test_a_token_that_is_no_text_is_a_wrong_one(client: httpx.Client) -> None:
    answer = client.post("/api/login", content=rb'{"token": "\ud800"}', headers={"Content-Type": "application/json"})
    assert (answer.status_code, "this is not the token" in answer.text) == (401, True)


def test_the_bearer_token_opens_the_api(client: httpx.Client) -> None:
    assert client.get("/api/status", headers=BEARER).status_code == 200
    assert client.put("/api/auto-capture", headers=BEARER, json={"on": False}).status_code == 200
    assert client.get("/api/status", headers={"Authorization": f"bearer  {TOKEN}"}).status_code == 200


def test_the_token_is_exchanged_for_a_cookie_that_no_script_and_no_other_site_gets(client: httpx.Client) -> None:
    answer = client.post("/api/login", json={"token": TOKEN})
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"]
    assert TOKEN not in cookie
    assert {"httponly", "samesite=strict", "path=/"} <= {part.strip().lower() for part in cookie.split(";")}
    assert client.get("/api/status").status_code == 200
    assert client.get("/").status_code == 200
    assert client.post("/api/logout").status_code == 204
    assert client.get("/api/status").status_code == 401


def test_a_cookie_ends_and_can_not_be_made_without_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    access = Access(TOKEN)
    cookie = access.new_cookie()
    assert access.is_cookie(cookie)
    until, _, proof = cookie.partition(".")
    assert not access.is_cookie(f"{int(until) + 1}.{proof}")
    assert not Access("another-token-altogether").is_cookie(cookie)
    monkeypatch.setattr(time, "time", lambda: float(until) + 1)
    assert not access.is_cookie(cookie)


@given(st.text())
def test_no_other_text_is_the_token_or_a_cookie(text: str) -> None:
    access = Access(TOKEN)
    assert not access.is_cookie(text)
    assert access.is_token(text) == (text == TOKEN)


def test_wrong_tokens_make_an_address_wait_whichever_way_they_are_shown(client: httpx.Client) -> None:
    for attempt in range(FREE_TRIES):
        if attempt % 2:
            answer = client.post("/api/login", json={"token": "wrong"})
        else:
            answer = client.get("/api/status", headers={"Authorization": "Bearer wrong"})
        assert answer.status_code == 401
    for answer in (client.post("/api/login", json={"token": TOKEN}), client.get("/api/status", headers=BEARER)):
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert "try again in" in answer.json()["detail"]


def test_who_has_the_cookie_is_not_shut_out_by_a_guesser_at_the_same_address(client: httpx.Client) -> None:
    assert client.post("/api/login", json={"token": TOKEN}).status_code == 204
    for _ in range(FREE_TRIES + 1):
        httpx.post(f"{client.base_url}api/login", json={"token": "wrong"})
    assert client.get("/api/status").status_code == 200


def test_pauses_grow_and_addresses_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    tries = Tries()
    pauses = []
    for _ in range(FREE_TRIES + 12):
        tries.wrong("192.0.2.1")
        pauses.append(tries.pause_s("192.0.2.1"))
    assert pauses == [0] * (FREE_TRIES - 1) + [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]
    now += 900
    assert tries.pause_s("192.0.2.1") == 0
    for _ in range(FREE_TRIES):
        tries.wrong("2001:db8::1")
    assert tries.pause_s("2001:db8::ffff") > 0, "who has one address of an IPv6 network has all of it"
    assert tries.pause_s("2001:db8:0:1::1") == 0
    for number in range(MOST_ADDRESSES):
        tries.wrong(f"10.0.{number // 256}.{number % 256}")
    assert tries.pause_s("2001:db8::1") == 0, "no memory without bounds"


def test_the_token_is_in_no_log_and_no_answer(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answers = [
        client.post("/api/login", json={"token": TOKEN}),
        client.get("/api/status"),
        client.post("/api/login", json={"token": "x" * 600 + TOKEN}),
        client.post("/api/login", json={"tokenn": TOKEN}),
        client.post("/api/login", content=f'{{"token": "{TOKEN}', headers={"Content-Type": "application/json"}),
    ]
    assert [answer.status_code for answer in answers] == [204, 200, 422, 422, 400]
    assert not any(TOKEN in answer.text for answer in answers)
    assert TOKEN not in "".join(record.getMessage() for record in caplog.records if "httpcore" not in record.name)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://localhost:{port}"}, 200),
        ({"Origin": "http://localhost"}, 403),
        ({"Origin": "https://localhost:{port}"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"}, 403),
    ],
)
def test_another_site_can_change_nothing(unguarded: Running, headers: dict[str, str], status: int) -> None:
    sent = {name: value.format(port=unguarded.server.port) for name, value in headers.items()}
    answer = unguarded.client.put("/api/auto-capture", json={"on": False}, headers=sent)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers


def test_another_site_can_show_nothing_of_the_api(unguarded: Running) -> None:
    for path in ("/api/frame.jpg", "/api/status", "/api/view.mjpeg"):
        assert unguarded.client.get(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert unguarded.client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200, "links are fine"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8080", 200),
        ("127.0.0.1:8080", 200),
        ("127.1.2.3", 200),
        ("[::1]:8080", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:8080", 403),
        ("0.0.0.0", 403),  # noqa: S104
        ("", 403),
    ],
)
def test_without_a_token_it_answers_to_this_devices_names_only(unguarded: Running, host: str, status: int) -> None:
    assert unguarded.client.get("/healthz", headers={"Host": host}).status_code == status


def test_every_answer_has_the_headers_that_keep_a_browser_safe(unguarded: Running) -> None:
    for path in ("/", "/static/nope", "/api/status", "/nope"):
        headers = unguarded.client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers
    assert unguarded.client.get("/api/status").headers["cache-control"] == "no-store"


def test_a_body_that_is_too_large_is_refused_whether_its_length_is_told_or_not(unguarded: Running) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 1024

    for content in (b" " * 70_000, parts()):
        answer = unguarded.client.put("/api/session", content=content)
        assert answer.status_code == 413
        assert "at most 64 KiB" in answer.json()["detail"]
    with socket.create_connection(("127.0.0.1", unguarded.server.port), 10) as peer:
        peer.sendall(b"POST /api/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 41943040\r\n\r\n")
        assert peer.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_uploads_come_one_at_a_time_and_not_too_often(unguarded: Running) -> None:
    statuses = [unguarded.client.post("/api/classify", content=b"x").status_code for _ in range(14)]
    assert statuses[:5] == [422] * 5
    assert statuses[-1] == 429


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.53", "::1", "localhost"])
def test_an_address_of_this_device_needs_no_token(address: str) -> None:
    assert is_local(address)
    assert token_for(address, None) is None
    assert token_for(address, TOKEN) == TOKEN


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.5", "scope.example", ""])  # noqa: S104
def test_an_address_that_others_reach_gets_a_token(unguarded: Running, address: str) -> None:
    tokens = {token_for(address, None) for _ in range(10)}
    assert len(tokens) == 10
    assert all(token and len(token) >= 32 for token in tokens)
    with pytest.raises(StationError, match="give a token"):
        Server(unguarded.server.app, address=address)


def test_a_port_in_use_and_a_strange_address_are_told_in_a_sentence(unguarded: Running, guarded: Running) -> None:
    with (
        pytest.raises(StationError, match="choose another port"),
        Server(unguarded.server.app, port=guarded.server.port),
    ):
        pass
    for address in ("no.example.invalid", "192.168..5"):
        with (
            pytest.raises(StationError, match=r"use 127.0.0.1 or 0.0.0.0"),
            Server(guarded.server.app, address=address),
        ):
            pass


def test_https_is_served_with_a_certificate_and_the_cookie_stays_on_it(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    with (
        running(token=TOKEN, tls_cert=cert, tls_key=key) as it,
        httpx.Client(base_url=it.server.url, verify=ssl.create_default_context(cafile=str(cert))) as client,
    ):
        assert it.server.url.startswith("https://localhost:")
        answer = client.post("/api/login", json={"token": TOKEN}, headers={"Origin": it.server.url.rstrip("/")})
        assert answer.status_code == 204
        assert "secure" in answer.headers["set-cookie"].lower()
        assert client.get("/api/status").status_code == 200


def test_tls_files_that_can_not_be_used_are_told_in_a_sentence(unguarded: Running, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    locked = tmp_path / "locked.pem"
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    locked.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    for bad_cert, bad_key in ((cert, tmp_path / "none"), (key, cert), (cert, cert), (cert, locked)):
        with pytest.raises(StationError, match=r"PEM files|without a password"):
            Server(unguarded.server.app, tls_cert=bad_cert, tls_key=bad_key)


def certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths
