"""Streams of verdicts and pictures: the newest wins, and no viewer can hold anything up."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any, TextIO

import cv2
import httpx
import numpy as np
import pytest

from edge_app import view
from edge_app.web import records
from edge_app.web.streams import MOST_VIEWERS
from tests.waiting import until
from tests.web import Running, running

FRESH_MS = 200  # two frame times of demo:
OLD_MS = 1000  # so much may come from a test machine that is busy otherwise; a backlog is older
PART = re.compile(rb"((?:[A-Za-z-]+: [^\r\n]+\r\n)+)\r\n")


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    with running(source="demo:?stay=1") as it:
        until(lambda: any("scale" in event.text for event in it.station.events))  # then nothing more is told by itself
        yield it


@pytest.fixture(autouse=True)
def nobody_stays(shared: Running) -> Iterator[None]:
    yield
    until(lambda: viewers(shared) == 0)


def viewers(it: Running) -> int:
    return int(it.server.app.state.parts.streams.viewers)


@contextmanager
def peer(it: Running, path: str, *, receive_buffer: int = 0, head: str = "X-None: x") -> Iterator[socket.socket]:
    """A viewer that reads only what it is told to."""
    with socket.socket() as connection:
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", it.server.port))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode())
        yield connection


@contextmanager
def events(it: Running) -> Iterator[Iterator[tuple[str, dict[str, Any]]]]:
    """The server-sent events, as name and content."""
    with it.client.stream("GET", "/api/verdicts") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")

        def read() -> Iterator[tuple[str, dict[str, Any]]]:
            name = ""
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    yield name, json.loads(line.removeprefix("data: "))

        yield read()


@contextmanager
def pictures(it: Running) -> Iterator[Iterator[tuple[dict[str, str], bytes]]]:
    """The pictures of the live view, as headers and JPEG."""
    with it.client.stream("GET", "/api/view.mjpeg") as answer:
        assert answer.headers["content-type"].startswith("multipart/x-mixed-replace; boundary=")
        pieces = answer.iter_bytes()

        def read() -> Iterator[tuple[dict[str, str], bytes]]:
            data = b""
            while True:
                found = PART.search(data)
                if found:
                    headers = dict(line.split(": ", 1) for line in found[1].decode().splitlines())
                    end = found.end() + int(headers["Content-Length"])
                    if len(data) >= end:
                        yield headers, data[found.end() : end]
                        data = data[end:]
                        continue
                data += next(pieces)

        yield read()


def test_verdicts_follow_the_source_and_health_comes_each_second(shared: Running) -> None:
    ids: list[int] = []
    labels: set[str] = set()
    healths = 0
    began_s = time.monotonic()
    with events(shared) as stream:
        for name, content in islice(stream, 200):
            if name == "verdict":
                assert content.keys() >= {"consensus", "boxes", "outlines", "frame", "quality"}
                ids.append(content["frame_id"])
                labels.add(content["label"])
            healths += name == "health"
            if {"Cancer", "Normal"} <= labels and healths > 1:
                break
    assert {"Cancer", "Normal"} <= labels
    assert ids == sorted(set(ids))
    assert 2 <= healths <= time.monotonic() - began_s + 1


def test_what_happens_is_told_once_to_who_looks(shared: Running) -> None:
    shared.station.report("before anybody looked")
    with events(shared) as stream:
        next(stream)
        for text in ("one", "two"):
            shared.station.report(text)
        told = [content["text"] for name, content in islice(stream, 15) if name == "event"]
    assert told == ["one", "two"]


def test_the_picture_is_the_newest_frame_and_says_how_old_it_is(shared: Running) -> None:
    with pictures(shared) as stream:
        got = list(islice(stream, 8))
    ids = [int(headers["X-Frame-Id"]) for headers, _ in got]
    assert ids == sorted(set(ids))
    ages = [float(headers["X-Age-Ms"]) for headers, _ in got]
    assert median(ages) < FRESH_MS
    assert max(ages) < OLD_MS
    assert {(headers["X-Frame-Width"], headers["X-Frame-Height"]) for headers, _ in got} == {("1280", "960")}
    image = cv2.imdecode(np.frombuffer(got[0][1], np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (960, 1280, 3)


def test_who_looks_again_later_sees_no_old_picture_first(shared: Running) -> None:
    with pictures(shared) as stream:
        next(stream)
    time.sleep(1.5)
    with pictures(shared) as stream:
        headers, _ = next(stream)
    assert float(headers["X-Age-Ms"]) < OLD_MS


def test_a_picture_is_encoded_once_for_all_and_not_at_all_for_nobody(
    shared: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    encode = view.picture_of

    def counted(frame: Any) -> view.Picture:
        encoded.append(frame.sequence)
        return encode(frame)

    monkeypatch.setattr(view, "picture_of", counted)
    with ExitStack() as stack:
        streams = [stack.enter_context(pictures(shared)) for _ in range(8)]
        for stream in streams:
            list(islice(stream, 5))
        assert viewers(shared) == 8
        assert len(encoded) == len(set(encoded))
    until(lambda: viewers(shared) == 0)
    time.sleep(0.3)
    before = len(encoded)
    time.sleep(0.5)
    assert len(encoded) == before


def test_a_slow_viewer_misses_frames_and_gets_new_ones_not_a_backlog(shared: Running) -> None:
    with peer(shared, "/api/view.mjpeg", receive_buffer=16384) as slow:
        data = b""
        end_s = time.monotonic() + 3
        while time.monotonic() < end_s:
            data += slow.recv(1)
            time.sleep(0.02)
        newest = shared.station.frames.value
        assert newest is not None
        while data.count(b"X-Frame-Id") < 8:
            data += slow.recv(65536)
    ids = [int(each) for each in re.findall(rb"X-Frame-Id: (\d+)", data)]
    ages = [float(each) for each in re.findall(rb"X-Age-Ms: ([\d.]+)", data)]
    assert max(ages) < OLD_MS
    skipped = [later - earlier for earlier, later in pairwise(ids)]
    assert max(skipped) > 15, "about 30 frames came while it dawdled"
    assert sum(each < newest.sequence - 5 for each in ids) <= 4, "what lay in the buffers of both kernels, no more"


def test_a_viewer_that_takes_nothing_is_cut_off_and_the_others_see_on() -> None:
    with running(stalled_s=0.5) as it:
        until(lambda: it.station.judged.value)
        with (
            peer(it, "/api/view.mjpeg", receive_buffer=4096),
            peer(it, "/api/verdicts", receive_buffer=4096),
            pictures(it) as stream,
        ):
            until(lambda: viewers(it) == 3)
            end_s = time.monotonic() + 10
            count = 0
            while viewers(it) > 1 and time.monotonic() < end_s:
                next(stream)
                count += 1
            assert viewers(it) == 1
            assert count > 5


def test_a_viewer_that_leaves_is_forgotten_though_nothing_is_sent() -> None:
    with running(source="demo:?loops=1&stay=1&fps=100") as it:
        until(lambda: it.station.health().camera == "ended")
        with peer(it, "/api/view.mjpeg") as viewer:
            until(lambda: viewers(it) == 1)
            assert b"200 OK" in viewer.recv(100)
        until(lambda: viewers(it) == 0)


def test_there_are_only_so_many_viewers(shared: Running) -> None:
    with ExitStack() as stack:
        for _ in range(MOST_VIEWERS):
            stack.enter_context(peer(shared, "/api/verdicts"))
        until(lambda: viewers(shared) == MOST_VIEWERS)
        for path in ("/api/verdicts", "/api/view.mjpeg", "/api/records.csv"):
            answer = shared.client.get(path)
            assert answer.status_code in (409, 503)
            assert answer.json()["detail"]
        assert shared.client.get("/api/status").status_code == 200


def test_the_frame_loop_goes_on_while_many_look_and_some_do_not_read(shared: Running) -> None:
    judged: list[int] = []

    def judged_in(seconds: float) -> float:
        with shared.station.judged.subscribed(lambda: judged.append(1)):
            time.sleep(seconds)
        return len(judged) / seconds

    with ExitStack() as stack:
        for path in ("/api/view.mjpeg", "/api/verdicts"):
            for _ in range(10):
                stack.enter_context(peer(shared, path, receive_buffer=4096))
        until(lambda: viewers(shared) == 20)
        assert judged_in(2) > 7, "demo: gives 10 frames a second"


def test_it_stops_at_once_whoever_still_looks() -> None:
    before = set(threading.enumerate())
    with ExitStack() as stack:
        with running() as it:
            until(lambda: it.station.judged.value)
            next(stack.enter_context(pictures(it)))
            stack.enter_context(peer(it, "/api/view.mjpeg", receive_buffer=4096))
            stack.enter_context(peer(it, "/api/verdicts"))
            until(lambda: viewers(it) == 3)
            time.sleep(0.5)
            began_s = time.monotonic()
            it.server.__exit__(None, None, None)
            took_s = time.monotonic() - began_s
        assert took_s < 2
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not left & {"server", "view", "worker", "capture", "watchdog", "keeper"}


def test_a_download_that_is_under_way_when_it_stops_is_not_taken_for_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(_store: object, _where: object, file: TextIO) -> None:
        while True:
            file.write("a row\r\n")

    monkeypatch.setattr(records, "export_csv", export)
    with running(tmp_path) as it, it.client.stream("GET", "/api/records.csv") as answer:
        rows = answer.iter_lines()
        assert next(rows) == "a row"
        stopping = threading.Thread(target=it.server.__exit__, args=(None, None, None))
        stopping.start()
        with pytest.raises(httpx.RemoteProtocolError):
            list(rows)
        stopping.join()


def test_a_viewer_that_sends_without_end_is_sent_away(shared: Running, caplog: pytest.LogCaptureFixture) -> None:
    with peer(shared, "/api/verdicts", head="Transfer-Encoding: chunked") as viewer:
        until(lambda: viewers(shared) == 1)
        for _ in range(20):
            viewer.sendall(b"1000\r\n" + bytes(0x1000) + b"\r\n")
        until(lambda: viewers(shared) == 0)
    assert not [record for record in caplog.records if record.exc_info]
