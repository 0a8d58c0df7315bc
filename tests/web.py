"""A running station with the `demo:` camera, and its page on a free port."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from edge_app.app import load_verified
from edge_app.bundle import default_bundle_path
from edge_app.cameras import Camera, open_camera
from edge_app.classifier import Classifier
from edge_app.station import Station
from edge_app.store import open_store
from edge_app.web.app import create_app
from edge_app.web.server import Server


@dataclass(frozen=True)
class Running:
    """A station, its server, and a client that asks it."""

    station: Station
    server: Server
    client: httpx.Client


def load(bundle: Path) -> Classifier:
    """Return the classifier of a bundle as the app loads it, on one thread."""
    return load_verified(bundle, threads=1)


@contextmanager
def running(
    folder: Path | None = None,
    *,
    source: str = "demo:?stay=1",
    camera: Callable[[Callable[[str], None]], Camera] | None = None,
    bundle: Path | None = None,
    bundle_folder: Path | None = None,
    token: str | None = None,
    um_per_pixel: float | None = None,
    min_free_bytes: int = 1_000_000,
    stalled_s: float = 20,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
) -> Iterator[Running]:
    """Run a station and its server; records are kept in `folder`, or not at all.

    camera: opens another camera than `source`, given what gets its events.
    """

    def open_source(on_event: Callable[[str], None]) -> Camera:
        return open_camera(source, on_event=on_event)

    store = open_store(folder, device="bench", min_free_bytes=min_free_bytes) if folder else None
    try:
        with (
            Station(
                camera or open_source,
                load,
                bundle or default_bundle_path(),
                source=source,
                store=store,
                um_per_pixel=um_per_pixel,
                on_event=lambda _: None,
            ) as station,
            Server(
                create_app(station, device="bench", token=token, bundle_folder=bundle_folder),
                port=0,
                tls_cert=tls_cert,
                tls_key=tls_key,
                stalled_s=stalled_s,
            ) as server,
            httpx.Client(base_url=server.url, timeout=20) as client,
        ):
            yield Running(station, server, client)
    finally:
        if store:
            store.close()
