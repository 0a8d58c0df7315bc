"""Tells an MQTT broker of verdicts, records and health, from a thread of its own that never holds up the caller.

Topics are TOPIC/DEVICE/…: `status` (`online`, `offline`; the last will), `verdict` and `health` (the newest, retained),
and `records`: each new or changed record, by QoS 1, from an outbox that forgets it only once the broker has it.
"""

import json
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from edge_app.errors import LeukoscopeError, SettingsError
from edge_app.settings_sections import MqttSettings

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, PayloadType
    from paho.mqtt.reasoncodes import ReasonCode

WINDOW = 100  # messages of the outbox that are under way at a time
TURN_S = 0.2
LOOK_EVERY_S = 1.0  # how often an empty outbox is looked into
NEWEST_EVERY_S = 1.0  # how often the newest verdict is told at most
OUTBOX_PAUSE_S = 10.0
CONNECT_LIMIT_S = 10.0
ACKNOWLEDGE_LIMIT_S = 30.0
CLOSE_LIMIT_S = 3.0
LONGEST_PAUSE_S = 30
STEADY_S = 30  # a connection that lasted so long was a good one, and pauses begin small again
HUNG_UP = "it hung up before it answered; check mqtt.port and mqtt.tls"
_logger = logging.getLogger(__name__)


class Message(Protocol):
    """What waits for the broker: topic is the part after the device's name, payload JSON that has the record's id."""

    @property
    def id(self) -> int: ...  # noqa: D102
    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def payload(self) -> str: ...  # noqa: D102


class Outbox(Protocol):
    """Where messages are kept until the broker has them; `edge_app.store.Store` is one."""

    def pending(self, limit: int = 100) -> Sequence[Message]:
        """Return the oldest messages; raises LeukoscopeError."""

    def sent(self, ids: Iterable[int]) -> None:
        """Forget messages; raises LeukoscopeError."""


class Fleet:
    """The connection to the broker, made again whenever it is lost; a context manager.

    A message is sent again when its acknowledgement was lost: who keys by the record's id has each record once.
    outbox: where records wait for the broker, None while none are kept; another thread may set it once they are.
    """

    def __init__(
        self,
        settings: MqttSettings,
        device: str,
        outbox: Outbox | None = None,
        *,
        on_event: Callable[[str], None] = _logger.warning,
    ) -> None:
        """Prepare the connection; raises SettingsError without a host, or when the certificates can't be read.

        on_event: gets one line when the broker is reached, lost, or refuses; in the fleet's thread.
        """
        if settings.host is None:
            raise SettingsError("no MQTT broker is named; set mqtt.host")
        self._settings = settings
        self._device = device
        self.outbox = outbox
        self._on_event = on_event
        self._name = f"MQTT broker {settings.host}:{_port(settings)}"
        self._context = _tls_context(settings)
        self._newest: dict[str, str] = {}
        self._stopping = threading.Event()
        self._connected = False
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._run, name="fleet", daemon=True)

    def __enter__(self) -> Self:
        """Start to connect; returns at once, whether or not the broker is there."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Say goodbye to the broker, and wait for that only `CLOSE_LIMIT_S`."""
        self._stopping.set()
        self._thread.join(CLOSE_LIMIT_S + 1)

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the connection and it still stands."""
        return self._connected

    @property
    def problem(self) -> str | None:
        """Why there is no connection; None while there is one, or before the first try has ended."""
        return self._problem

    def publish_verdict(self, verdict: Mapping[str, object]) -> None:
        """Let the broker have this as the newest verdict; returns at once. At most one a second is told."""
        self._newest["verdict"] = json.dumps(verdict)

    def publish_health(self, health: Mapping[str, object]) -> None:
        """Let the broker have this as the newest health; returns at once. At most one a second is told."""
        self._newest["health"] = json.dumps(health)

    def _run(self) -> None:
        """Connect and serve, again and again with growing pauses: the body of the thread."""
        pause_s = 0
        while not self._stopping.wait(pause_s):
            began = time.monotonic()
            try:
                self._serve()
            except OSError as error:
                pause_s = 1 if time.monotonic() - began > STEADY_S else min(2 * pause_s or 1, LONGEST_PAUSE_S)
                problem = _in_words(error)
                if problem != self._problem:  # a broker that is away for a day is reported once
                    self._on_event(f"{self._name}: {problem}; trying again until it is there")
                self._problem = problem
            finally:
                self._connected = False

    def _serve(self) -> None:
        """Serve one connection until it is to end; raises OSError when it can't be had or is lost."""
        link = _Link(self._settings, self._device, self._context)
        drain: _Drain | None = None
        told: dict[str, tuple[str, int, float]] = {}
        try:
            link.open()
            link.publish("status", "online", retain=True)
            self._connected, self._problem = True, None
            self._on_event(f"{self._name}: connected")
            while not self._stopping.is_set():
                link.turn()
                self._tell_newest(link, told)
                if drain is None and self.outbox is not None:
                    drain = _Drain(link, self.outbox, self._on_event)
                if drain:
                    drain.step()
            link.publish("status", "offline", retain=True)
            deadline_s = time.monotonic() + CLOSE_LIMIT_S
            while link.unacknowledged and time.monotonic() < deadline_s:
                link.turn()
        finally:
            if drain:
                drain.settle()
            link.close()

    def _tell_newest(self, link: "_Link", told: dict[str, tuple[str, int, float]]) -> None:
        """Publish what is newer than what this connection has told, and wait for one before the next."""
        for topic, text in list(self._newest.items()):
            last, mid, at_s = told.get(topic, ("", 0, 0.0))
            now_s = time.monotonic()
            if text != last and mid not in link.unacknowledged and now_s - at_s >= NEWEST_EVERY_S:
                told[topic] = (text, link.publish(topic, text, retain=True), now_s)


class _Drain:
    """Empties the outbox over one connection, a window at a time."""

    def __init__(self, link: "_Link", outbox: Outbox, on_event: Callable[[str], None]) -> None:
        self._link = link
        self._outbox = outbox
        self._on_event = on_event
        self._under_way: dict[int, int] = {}  # the packet's number → the message's id
        self._not_before_s = 0.0

    def step(self) -> None:
        """Forget a window that has arrived, and publish the next."""
        if not self._link.unacknowledged.isdisjoint(self._under_way) or time.monotonic() < self._not_before_s:
            return
        self.settle()
        try:
            window = [] if self._under_way else self._outbox.pending(WINDOW)
        except LeukoscopeError as error:
            self._pause(error)
            return
        for message in window:
            self._under_way[self._link.publish(message.topic, message.payload, retain=False)] = message.id
        if not window:
            self._not_before_s = max(self._not_before_s, time.monotonic() + LOOK_EVERY_S)

    def settle(self) -> None:
        """Forget what has arrived; where that fails it is tried again, or sent again over the next connection."""
        arrived = self._under_way.keys() - self._link.unacknowledged
        if not arrived:
            return
        try:
            self._outbox.sent([self._under_way[mid] for mid in arrived])
        except LeukoscopeError as error:
            self._pause(error)
            return
        for mid in arrived:
            del self._under_way[mid]

    def _pause(self, error: LeukoscopeError) -> None:
        self._on_event(f"records are not told to the broker: {error}; trying again in {OUTBOX_PAUSE_S:g} s")
        self._not_before_s = time.monotonic() + OUTBOX_PAUSE_S


class _Link:
    """One connection, from CONNECT to its end; only the fleet's thread uses it, so paho runs no thread of its own."""

    def __init__(self, settings: MqttSettings, device: str, context: ssl.SSLContext | None) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        # The id is always the same, so that the broker ends a connection it thinks is still there, will and all, before
        # it accepts the new one: else that will would say `offline` later on.
        self._client = Client(CallbackAPIVersion.VERSION2, f"leukoscope-{device}", reconnect_on_failure=False)
        if settings.username:
            password = settings.password.get_secret_value() if settings.password else None
            self._client.username_pw_set(settings.username, password)
        if context:
            self._client.tls_set_context(context)
        self._settings = settings
        self._prefix = f"{settings.topic}/{device}"
        self._client.will_set(f"{self._prefix}/status", "offline", qos=1, retain=True)
        self._client.max_inflight_messages_set(2 * WINDOW)
        self._client.on_connect = self._on_connect
        self._client.on_publish = self._on_publish
        self._answer: ReasonCode | None = None
        self._progress_s = time.monotonic()
        self.unacknowledged: set[int] = set()

    def open(self) -> None:
        """Connect and wait until the broker accepts; raises OSError."""
        deadline_s = time.monotonic() + CONNECT_LIMIT_S
        try:
            self._client.connect(self._settings.host or "", _port(self._settings), self._settings.keep_alive_s)
        except UnicodeError:  # from a name such as a..b
            raise ConnectionError("that is no host name; check mqtt.host") from None
        while self._answer is None and time.monotonic() < deadline_s:
            try:
                self.turn()
            except ConnectionError:
                if self._answer is None:
                    raise ConnectionError(HUNG_UP) from None
        if self._answer is None:
            raise ConnectionError(f"it did not answer in {CONNECT_LIMIT_S:g} s; check mqtt.port and mqtt.tls")
        if self._answer.is_failure:
            raise ConnectionError(f"it refuses: {self._answer}; check mqtt.username and mqtt.password")

    def publish(self, topic: str, payload: "PayloadType", *, retain: bool) -> int:
        """Send a message by QoS 1 and return its number, which is in `unacknowledged` until the broker has it."""
        if not self.unacknowledged:
            self._progress_s = time.monotonic()
        mid = self._client.publish(f"{self._prefix}/{topic}", payload, qos=1, retain=retain).mid
        self.unacknowledged.add(mid)
        return mid

    def turn(self) -> None:
        """Read and write what is due, at most for `TURN_S`; raises ConnectionError when the connection is lost."""
        from paho.mqtt.client import MQTT_ERR_SUCCESS

        if self._client.loop(TURN_S) != MQTT_ERR_SUCCESS:
            raise ConnectionError("the connection was lost")
        if self.unacknowledged and time.monotonic() - self._progress_s > ACKNOWLEDGE_LIMIT_S:
            raise ConnectionError(f"it acknowledged nothing for {ACKNOWLEDGE_LIMIT_S:g} s")

    def close(self) -> None:
        """End the connection where it still stands."""
        self._client.disconnect()

    def _on_connect(
        self, _client: "Client", _userdata: object, _flags: "ConnectFlags", reason: "ReasonCode", _properties: object
    ) -> None:
        self._answer = reason

    def _on_publish(
        self, _client: "Client", _userdata: object, mid: int, _reason: "ReasonCode", _properties: object
    ) -> None:
        self._progress_s = time.monotonic()
        self.unacknowledged.discard(mid)


class _TlsSocket(ssl.SSLSocket):
    """Closes itself when the handshake fails: paho leaves it open."""

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands; raises OSError."""
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _port(settings: MqttSettings) -> int:
    return settings.port or (8883 if settings.tls else 1883)


def _tls_context(settings: MqttSettings) -> ssl.SSLContext | None:
    if not settings.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:  # ssl.SSLError too
        reason = error.strerror or error
        raise SettingsError(f"mqtt.ca_file {settings.ca_file} can't be used ({reason}); name a PEM file") from error
    context.sslsocket_class = _TlsSocket
    return context


def _in_words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); name its issuer's in mqtt.ca_file"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason}); check mqtt.port and mqtt.tls"
    if isinstance(error, ConnectionResetError):
        return HUNG_UP
    return error.strerror or str(error) or type(error).__name__
