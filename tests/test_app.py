"""The whole app from its settings: what its parts tell each other, and what goes on where one of them is missing."""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, repeat
from pathlib import Path

import pytest

from edge_app.app import App, running
from edge_app.errors import StoreError, StoreFullError
from edge_app.settings import load_settings
from edge_app.store import Removed
from tests.broker import Broker, Listener
from tests.waiting import until


@contextmanager
def app(**changes: object) -> Iterator[App]:
    """Run the app on drawn frames; what it says goes nowhere."""
    settings = load_settings(
        Path(os.devnull),
        {},
        device="scope-1",
        **{"source": "demo:?stay=20", "server__page": False, "records__min_free_mb": 1} | changes,
    )
    with running(settings, lambda _: None, lambda _: None) as started:
        waiting = threading.Thread(target=started.wait)
        waiting.start()
        try:
            yield started
        finally:
            started.station.stop()
            waiting.join()


def test_the_broker_hears_of_the_boards_health_as_a_raspberry_pi_tells_it(
    start_broker: Callable[..., Broker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vcgencmd").write_text("#!/bin/sh\necho throttled=0x50005\n")
    (tmp_path / "vcgencmd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    broker = start_broker()
    with Listener(broker) as listener, app(mqtt__host="127.0.0.1", mqtt__port=broker.port):
        until(lambda: listener.payloads("scope-1/health"))
        board = json.loads(listener.payloads("scope-1/health")[0])["board"]
    assert board["throttling"] == {
        "now": ["under-voltage", "throttled"],
        "since_boot": ["under-voltage", "throttled"],
    }


def test_records_that_begin_only_once_the_disk_has_room_reach_the_broker_too(
    start_broker: Callable[..., Broker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = start_broker()
    monkeypatch.setattr("edge_app.app.STORE_EVERY_S", 0.1)
    problems = chain([StoreFullError("no room is left")], repeat(StoreError("the disk is gone")))

    def refuse(*_: object, **__: object) -> None:
        raise next(problems)

    with monkeypatch.context() as full:
        full.setattr("edge_app.store.open_store", refuse)
        started = app(
            mqtt__host="127.0.0.1",
            mqtt__port=broker.port,
            records__folder=tmp_path / "records",
            records__auto_capture=True,
        )
        with Listener(broker) as listener, started as running_app:
            until(lambda: running_app.station.health().recording_problem == "the disk is gone")
            assert running_app.station.health().recording == "stopped"
            until(lambda: listener.payloads("scope-1/verdict"))
            full.undo()
            until(lambda: running_app.station.health().recording == "ready")
            until(lambda: running_app.station.store and running_app.station.store.count() > 0)
            until(listener.record_ids)


def test_systemd_hears_of_the_app_while_old_records_are_removed_from_a_slow_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, card = threading.Event(), threading.Event()

    def remove(*_: object) -> Removed:
        began.set()
        assert card.wait(60)
        return Removed(records=0, bytes=0)

    monkeypatch.setattr("edge_app.store.store.remove_old", remove)
    monkeypatch.setattr("edge_app.app.TURN_S", 0.01)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        with app(records__folder=tmp_path / "records", records__auto_capture=True):
            assert began.wait(30)
            systemd.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    systemd.recv(100)  # what was told before
            systemd.settimeout(30)
            try:
                assert systemd.recv(100) == b"WATCHDOG=1"
            finally:
                card.set()
