"""The whole app from its settings: camera, model, page, records and broker, until it is told to stop."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edge_app import service
from edge_app.board import read_board
from edge_app.bundle import check_golden, open_bundle
from edge_app.cameras import Camera, list_cameras, open_camera
from edge_app.cameras.uris import source_uri, without_secrets
from edge_app.classifier import Classifier
from edge_app.errors import CameraError, StoreError, StoreFullError
from edge_app.folders import bundles_folder
from edge_app.installed import current_bundle_path
from edge_app.settings import Settings
from edge_app.station import Station
from edge_app.status import Judged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_app.fleet import Fleet
    from edge_app.store import Retention, Store

TURN_S = 0.5
HEALTH_EVERY_S = 5
RETAIN_EVERY_S = 600
STORE_EVERY_S = 30


def load_verified(path: Path, threads: int) -> Classifier:
    """Return the classifier of a bundle that gives the golden answers on this device; raises what is in the way."""
    bundle = open_bundle(path)
    classifier = Classifier(bundle, threads=threads)
    check_golden(bundle, classifier.runtime.infer)
    return classifier


@contextmanager
def running(
    settings: Settings, on_event: Callable[[str], None], on_judged: Callable[[Judged], None]
) -> "Iterator[App]":
    """Start the app; raises what is in the way of its parts."""
    with ExitStack() as stack:
        yield App(settings, on_event, on_judged, stack)


class App:
    """A station with everything around it; `running` makes one."""

    def __init__(
        self,
        settings: Settings,
        on_event: Callable[[str], None],
        on_judged: Callable[[Judged], None],
        stack: ExitStack,
    ) -> None:
        self._settings = settings
        self._stack = stack
        self._on_event = on_event
        self._on_judged = on_judged
        self._fleet: Fleet | None = None
        self._due: dict[str, float] = {}
        self._bundle_folder = settings.bundle_folder or bundles_folder()
        if settings.source is not None:
            source_uri(settings.source)  # a mistake in it is told now, not retried for ever
        self.station = Station(
            self._open_camera,
            lambda path: load_verified(path, settings.threads),
            settings.bundle or current_bundle_path(self._bundle_folder),
            source=without_secrets(settings.source or ""),
            um_per_pixel=settings.um_per_pixel,
            consensus_frames=settings.consensus.frames,
            consensus_needed=settings.consensus.needed,
            auto_capture=settings.records.auto_capture,
            keep_trying=settings.server.page,
            read_timeout_s=settings.camera.read_timeout_s,
            infer_timeout_s=settings.watchdog.infer_timeout_s,
            most_restarts=settings.watchdog.restarts,
            on_judged=self._judged,
            on_event=on_event,
        )
        self._keeps_records = settings.server.page or settings.records.auto_capture
        if self._keeps_records:
            self._open_store()
        if settings.mqtt.host is not None:
            self._tell_broker()
        stack.enter_context(self.station)
        if settings.server.page:
            self._serve()

    def wait(self) -> None:
        """Do what has to be done now and then, until the source ends or the station is stopped; raises its error."""
        service.notify("READY=1")
        with ThreadPoolExecutor(1) as aside:  # to remove thousands of images from a slow card takes minutes
            removal: Future[None] | None = None
            while not self.station.wait(TURN_S):
                service.notify("WATCHDOG=1")  # a part that hangs is the station's business; it ends when it gives up
                if self._fleet is not None and self._is_due("health", HEALTH_EVERY_S):
                    self._fleet.publish_health(asdict(self.station.health()) | {"board": asdict(read_board())})
                if self._keeps_records and self.station.store is None and self._is_due("store", STORE_EVERY_S):
                    try:
                        self._open_store()
                    except StoreError as error:  # at the start it is told at once; now the live view goes on
                        self.station.stop_recording(str(error))
                if removal is not None and removal.done():
                    removal.result()
                    removal = None
                if self.station.store is not None and removal is None and self._is_due("retain", RETAIN_EVERY_S):
                    removal = aside.submit(self._look_after, self.station.store)
        service.notify("STOPPING=1")

    def _is_due(self, name: str, every_s: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(name, 0):
            return False
        self._due[name] = now + every_s
        return True

    def _open_camera(self, on_event: Callable[[str], None]) -> Camera:
        settings = self._settings
        source = settings.source
        if source is None:
            found = [camera for camera in list_cameras() if camera.problem is None]
            if not found:
                raise CameraError(
                    "no camera found: plug one in, or name a source with --source (demo: plays drawn frames)"
                )
            source = found[0].uri
            on_event(f"source: {source} ({found[0].name})")
            self.station.source = without_secrets(source)
        return open_camera(
            source,
            every_frame=settings.every_frame,
            open_timeout_s=settings.camera.open_timeout_s,
            read_timeout_s=settings.camera.read_timeout_s,
            on_event=on_event,
        )

    def _open_store(self) -> None:
        """Open the records; on a full disk the live view goes on without them, and they are tried again."""
        from edge_app.store import open_store

        records = self._settings.records
        try:
            store = open_store(
                records.folder,
                device=self._settings.device,
                database=records.database.get_secret_value() if records.database else None,
                min_free_bytes=records.min_free_mb * 1_000_000,
                outbox=self._settings.mqtt.host is not None,
            )
        except StoreFullError as error:
            self.station.stop_recording(str(error))
            return
        self._stack.enter_context(store)
        self.station.start_recording(store)
        if self._fleet is not None:
            self._fleet.outbox = store

    def _tell_broker(self) -> None:
        from edge_app.fleet import Fleet

        fleet = Fleet(self._settings.mqtt, self._settings.device, self.station.store, on_event=self.station.report)
        self._fleet = self._stack.enter_context(fleet)

    def _look_after(self, store: "Store") -> None:
        try:
            store.retain(self._retention())
        except StoreError as error:
            self.station.report(f"old records were not removed: {error}")

    def _retention(self) -> "Retention":
        from edge_app.store import Retention

        records = self._settings.records
        return Retention(
            max_age_days=records.max_age_days,
            max_bytes=None if records.max_gb is None else int(records.max_gb * 1e9),
        )

    def _serve(self) -> None:
        from edge_app.web.access import token_for
        from edge_app.web.app import create_app
        from edge_app.web.server import Server

        server = self._settings.server
        given = server.token.get_secret_value() if server.token else None
        token = token_for(server.address, given)
        app = create_app(self.station, device=self._settings.device, token=token, bundle_folder=self._bundle_folder)
        serving = self._stack.enter_context(
            Server(app, address=server.address, port=server.port, tls_cert=server.tls_cert, tls_key=server.tls_key)
        )
        self._on_event(f"page: {serving.url}" + (f"  token: {token}" if token != given else ""))

    def _judged(self, judged: Judged) -> None:
        if self._fleet is not None:
            self._fleet.publish_verdict(judged.verdict.as_json() | {"consensus": asdict(judged.consensus)})
        self._on_judged(judged)
