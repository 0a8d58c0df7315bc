import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge_app.errors import SettingsError, StoreError
from edge_app.fleet import Fleet
from edge_app.settings_sections import MqttSettings
from edge_app.store import open_store
from tests.broker import Broker, Listener
from tests.store_verdicts import keep_one
from tests.waiting import until

PASSWORD = "not-to-be-logged"  # noqa: S105


@dataclass(frozen=True)
class Note:
    id: int
    topic: str
    payload: str


@dataclass
class Box:
    """An outbox in memory; while it is shut it seems empty."""

    waiting: dict[int, Note] = field(default_factory=dict)
    most_asked: int = 0
    shut: bool = False
    failures: int = 0

    def fill(self, ids: Iterable[int]) -> None:
        for each in ids:
            self.waiting[each] = Note(each, "records", json.dumps({"id": f"record-{each}", "label": "Healthy"}))

    def pending(self, limit: int = 100) -> list[Note]:
        if self.failures:
            self.failures -= 1
            raise StoreError("the disk is gone; put it back")
        self.most_asked = max(self.most_asked, limit)
        return [] if self.shut else [self.waiting[each] for each in sorted(self.waiting.copy())[:limit]]

    def sent(self, ids: Iterable[int]) -> None:
        for each in ids:
            self.waiting.pop(each, None)


def fleet(broker: Broker, box: Box | None = None, said: list[str] | None = None, **changes: object) -> Fleet:
    settings = MqttSettings.model_validate({"host": "127.0.0.1", "port": broker.port} | changes)
    return Fleet(settings, "scope-1", box, on_event=(said if said is not None else []).append)


def expected(ids: Iterable[int]) -> set[str]:
    return {f"record-{each}" for each in ids}


def test_the_newest_verdict_and_health_are_there_for_whoever_comes_later(
    start_broker: Callable[..., Broker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_app.fleet.NEWEST_EVERY_S", 0.1)
    broker = start_broker()
    with fleet(broker) as mine:
        mine.publish_verdict({"label": "Healthy"})
        mine.publish_health({"ready": True})
        until(lambda: mine.connected)
        assert mine.problem is None
        mine.publish_verdict({"label": "Cancer"})
        time.sleep(0.6)
        with Listener(broker) as listener:
            until(lambda: len(listener.messages) >= 3)
        assert all(each.retain for each in listener.messages)
        assert listener.payloads("scope-1/status") == ["online"]
        assert listener.payloads("scope-1/verdict") == ['{"label": "Cancer"}']
        assert listener.payloads("scope-1/health") == ['{"ready": true}']
    assert not mine.connected
    with Listener(broker) as listener:
        until(lambda: listener.payloads("scope-1/status") == ["offline"])


def test_a_fast_stream_of_verdicts_is_told_once_a_second_and_never_holds_up(
    start_broker: Callable[..., Broker],
) -> None:
    broker = start_broker()
    with Listener(broker) as listener, fleet(broker) as mine:
        until(lambda: mine.connected)
        slowest = 0.0
        for number in range(130):
            began = time.perf_counter()
            mine.publish_verdict({"frame_id": number})
            slowest = max(slowest, time.perf_counter() - began)
            time.sleep(0.01)
        until(lambda: listener.payloads("scope-1/verdict")[-1:] == ['{"frame_id": 129}'])
        assert 2 <= len(listener.payloads("scope-1/verdict")) <= 6
    assert slowest < 0.1


def test_a_broker_that_is_away_gets_every_record_once_it_is_back(start_broker: Callable[..., Broker]) -> None:
    broker, box, said = start_broker("persistence false"), Box(), list[str]()
    box.fill(range(300))
    with Listener(broker) as listener, fleet(broker, box, said) as mine:
        until(lambda: not box.waiting)
        until(lambda: listener.record_ids() == expected(range(300)))
        broker.kill()
        until(lambda: mine.problem)
        assert not mine.connected
        box.shut = True  # until the listener is back too: this broker keeps nothing for it
        box.fill(range(300, 900))
        listener.subscribed.clear()
        broker.start()
        until(lambda: mine.connected and listener.subscribed.is_set())
        box.shut = False
        until(lambda: not box.waiting)
        until(lambda: listener.record_ids() == expected(range(900)))
    assert box.most_asked <= 100
    assert sum("lost" in each for each in said) == 1


def test_a_broker_killed_amid_the_stream_leaves_nothing_out(
    start_broker: Callable[..., Broker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_app.fleet.LONGEST_PAUSE_S", 0.5)
    broker, box = start_broker("persistence false", "max_inflight_messages 0"), Box()
    box.fill(range(2000))
    with Listener(broker) as listener, fleet(broker, box) as mine:
        for _ in range(2):
            heard = len(listener.messages)
            until(lambda heard=heard: len(listener.messages) > heard + 50)  # type: ignore[misc]
            broker.kill()
            box.shut = True
            listener.subscribed.clear()
            broker.start()
            until(lambda: mine.connected and listener.subscribed.is_set())
            box.shut = False
        assert box.waiting, "all was sent before the last kill: this proves nothing"
        until(lambda: not box.waiting)
        until(lambda: listener.record_ids() == expected(range(2000)))


def test_a_broker_with_persistence_keeps_the_records_for_a_listener_that_is_away(
    start_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    broker, box = start_broker("persistence true", f"persistence_location {tmp_path}/", "max_queued_messages 0"), Box()
    with Listener(broker, qos=1, name="archive"):
        pass
    broker.signal(signal.SIGUSR1)  # mosquitto writes its database
    until((tmp_path / "mosquitto.db").exists)
    time.sleep(0.2)
    with fleet(broker, box) as mine:
        until(lambda: mine.connected)
        broker.kill()
        box.fill(range(500))
        broker.start()
        until(lambda: not box.waiting)
        broker.signal(signal.SIGUSR1)
        time.sleep(0.5)
        broker.kill()
        broker.start()
        with Listener(broker, qos=1, name="archive") as listener:
            until(lambda: listener.record_ids() == expected(range(500)))


def test_the_record_store_is_an_outbox_whose_changes_are_told_too(
    start_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    broker = start_broker()
    with (
        open_store(tmp_path / "records", device="scope-1", outbox=True, min_free_bytes=0) as store,
        Listener(broker) as listener,
    ):
        kept = [keep_one(store, seed=seed) for seed in range(3)]
        settings = MqttSettings(host="127.0.0.1", port=broker.port)
        with Fleet(settings, "scope-1", store, on_event=lambda _: None):
            until(lambda: not store.pending())
            until(lambda: listener.record_ids() == {record.id for record in kept})
            store.annotate(kept[0].id, "Blast", "seen by two")
            until(lambda: len(listener.payloads("scope-1/records")) == 4)
        told = json.loads(listener.payloads("scope-1/records")[-1])
    assert (told["id"], told["own_label"], told["label"]) == (kept[0].id, "Blast", kept[0].label)


def test_an_outbox_that_fails_is_told_and_asked_again(
    start_broker: Callable[..., Broker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_app.fleet.OUTBOX_PAUSE_S", 0.5)
    broker, box, said = start_broker(), Box(failures=1), list[str]()
    box.fill(range(3))
    with fleet(broker, box, said):
        until(lambda: not box.waiting)
    assert any("the disk is gone" in each for each in said)


def test_the_last_will_says_offline_when_the_app_is_killed(start_broker: Callable[..., Broker]) -> None:
    broker = start_broker()
    program = (
        "import sys, time\n"
        "from edge_app.fleet import Fleet\n"
        "from edge_app.settings_sections import MqttSettings\n"
        "with Fleet(MqttSettings(host='127.0.0.1', port=int(sys.argv[1])), 'scope-1') as mine:\n"
        "    time.sleep(60)\n"
    )
    with Listener(broker) as listener:
        with subprocess.Popen([sys.executable, "-c", program, str(broker.port)]) as process:
            until(lambda: listener.payloads("scope-1/status") == ["online"])
            process.kill()
        until(lambda: listener.payloads("scope-1/status") == ["online", "offline"])


def test_a_wrong_password_is_told_once_and_never_shown(
    start_broker: Callable[..., Broker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_app.fleet.LONGEST_PAUSE_S", 0.2)
    subprocess.run(
        ["/usr/bin/mosquitto_passwd", "-b", "-c", tmp_path / "users", "scope", PASSWORD], check=True, timeout=30
    )
    broker, said = start_broker(f"password_file {tmp_path / 'users'}"), list[str]()
    with fleet(broker, said=said, username="scope", password=f"{PASSWORD}-wrong") as mine:
        until(lambda: mine.problem)
        time.sleep(1)  # and is refused a few times more
        assert not mine.connected
    assert len(said) == 1
    assert "check mqtt.username and mqtt.password" in said[0]
    with fleet(broker, said=said, username="scope", password=PASSWORD) as mine:
        until(lambda: mine.connected)
    assert PASSWORD not in "".join(said)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with key.pem and cert.pem of 127.0.0.1, signed by itself."""
    folder = tmp_path_factory.mktemp("certificates")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker of a test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder


def test_tls_speaks_only_to_a_broker_whose_certificate_is_trusted(
    start_broker: Callable[..., Broker], certificates: Path
) -> None:
    broker = start_broker(f"certfile {certificates / 'cert.pem'}", f"keyfile {certificates / 'key.pem'}")
    box = Box()
    box.fill(range(150))
    with fleet(broker, box, tls=True, ca_file=certificates / "cert.pem") as mine:
        until(lambda: mine.connected)
        until(lambda: not box.waiting)
    with fleet(broker, tls=True) as mine:
        until(lambda: mine.problem)
        assert "mqtt.ca_file" in (mine.problem or "")
    with fleet(broker) as mine:
        until(lambda: mine.problem)
        assert "check mqtt.port and mqtt.tls" in (mine.problem or "")


def test_tls_to_a_broker_without_it_is_explained(start_broker: Callable[..., Broker], certificates: Path) -> None:
    with fleet(start_broker(), tls=True, ca_file=certificates / "cert.pem") as mine:
        until(lambda: mine.problem)
        assert "check mqtt.port and mqtt.tls" in (mine.problem or "")


def test_certificates_that_cannot_be_read_are_a_wrong_setting(tmp_path: Path) -> None:
    for name in ("none.pem", "empty.pem"):
        (tmp_path / "empty.pem").write_text("")
        with pytest.raises(SettingsError, match="name a PEM file"):
            Fleet(MqttSettings(host="127.0.0.1", tls=True, ca_file=tmp_path / name), "scope-1")


def test_a_host_that_is_not_there_is_explained() -> None:
    with pytest.raises(SettingsError, match=r"mqtt\.host"):
        Fleet(MqttSettings(), "scope-1")
    with Fleet(MqttSettings(host="a..b"), "scope-1", on_event=lambda _: None) as mine:
        until(lambda: mine.problem)
        assert "check mqtt.host" in (mine.problem or "")


def test_a_host_that_never_answers_is_given_up_and_leaving_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_app.fleet.CONNECT_LIMIT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = MqttSettings(host="127.0.0.1", port=silent.getsockname()[1])
        with Fleet(settings, "scope-1", on_event=lambda _: None) as mine:
            until(lambda: mine.problem)
            assert "did not answer" in (mine.problem or "")
            mine.publish_verdict({"label": None})
            began = time.monotonic()
    assert time.monotonic() - began < 3


def test_a_broker_that_acknowledges_nothing_is_left_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_app.fleet.ACKNOWLEDGE_LIMIT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept_and_fall_silent() -> None:
            while True:
                try:
                    connection = server.accept()[0]
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"\x20\x02\x00\x00")  # CONNACK: accepted
                    while connection.recv(1000):
                        pass

        threading.Thread(target=accept_and_fall_silent, daemon=True).start()
        settings = MqttSettings(host="127.0.0.1", port=server.getsockname()[1])
        with Fleet(settings, "scope-1", on_event=lambda _: None) as mine:
            until(lambda: mine.problem)
            assert "acknowledged nothing" in (mine.problem or "")
        server.shutdown(socket.SHUT_RDWR)
