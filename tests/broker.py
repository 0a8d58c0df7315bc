"""A real MQTT broker for tests, and somebody else who listens to it."""

import json
import os
import socket
import ssl
import subprocess
import threading
from pathlib import Path

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from tests.waiting import LIMIT_S, until


class Broker:
    """Debian's mosquitto on a free port of this machine, that can be killed and started again."""

    def __init__(self, folder: Path, *lines: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.log = folder / "mosquitto.log"
        self._config = folder / "mosquitto.conf"
        user = ["user root"] if os.geteuid() == 0 else []
        given = ["allow_anonymous true"] if not any(line.startswith("password_file") for line in lines) else []
        self._config.write_text("\n".join([*user, f"listener {self.port} 127.0.0.1", *given, *lines, ""]))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["/usr/sbin/mosquitto", "-c", self._config], stdout=log, stderr=subprocess.STDOUT
            )
        until(self._listens)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


class Listener:
    """Someone else at the broker: what came, by topic."""

    def __init__(self, broker: Broker, *, qos: int = 0, name: str = "", context: ssl.SSLContext | None = None) -> None:
        self.messages: list[MQTTMessage] = []
        self.subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, name, clean_session=not name)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, _data, _flags, _reason, _props: self._subscribe(client, qos)
        self._client.on_subscribe = lambda *_: self.subscribed.set()
        self._client.on_disconnect = lambda *_: self.subscribed.clear()
        self._client.on_message = lambda _client, _data, message: self.messages.append(message)
        if context:
            self._client.tls_set_context(context)
        self._client.connect_async("127.0.0.1", broker.port)
        self._client.loop_start()

    def _subscribe(self, client: Client, qos: int) -> None:
        client.subscribe("leukoscope/#", qos)

    def __enter__(self) -> "Listener":
        assert self.subscribed.wait(LIMIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def payloads(self, topic: str) -> list[str]:
        return [each.payload.decode() for each in list(self.messages) if each.topic == f"leukoscope/{topic}"]

    def record_ids(self) -> set[str]:
        return {json.loads(text)["id"] for text in self.payloads("scope-1/records")}
