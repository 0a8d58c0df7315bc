"""The application: what answers to which path."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Response
from starlette.responses import FileResponse, JSONResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from edge_app import __version__
from edge_app.manifest import INTENDED_USE
from edge_app.station import Station
from edge_app.web import live, login, records
from edge_app.web.access import Access, TokenCheck
from edge_app.web.choices import Choices
from edge_app.web.metrics import TEXT, Metrics
from edge_app.web.parts import NewestVerdict, Parts, Shared
from edge_app.web.problems import RESPONSES, add_handlers, refuse
from edge_app.web.shield import Shield
from edge_app.web.streams import Streams

STATIC = Path(__file__).parent / "static"
REVALIDATE = {"Cache-Control": "no-cache"}


def create_app(
    station: Station, *, device: str = "", token: str | None = None, bundle_folder: Path | None = None
) -> FastAPI:
    """Return the application that serves a station, which must be entered before the first request comes.

    device: this device's name. token: what must be shown; without one everybody is let in who comes under a name of
    this device itself, so serve it on such an address only (`server.Server` sees to it). bundle_folder: where the
    models are that may be switched to.
    """
    metrics = Metrics(station)
    choices = Choices(bundle_folder, station.bundle)
    parts = Parts(station, device, Access(token), Streams(), choices, NewestVerdict(station))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:  # noqa: ARG001
        with metrics.following():
            yield

    app = FastAPI(
        title="Leukoscope",
        version=__version__,
        description=INTENDED_USE,
        lifespan=lifespan,
        responses=RESPONSES,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.parts = parts
    add_handlers(app)
    for routes in (login.routes, live.routes, records.routes):
        app.include_router(routes)

    @app.get("/metrics", tags=["operation"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def get_metrics() -> Response:
        """Return figures for Prometheus."""
        board = await parts.board.read()
        text = await asyncio.to_thread(metrics.text, temperature_c=board.temperature_c, viewers=parts.streams.viewers)
        return Response(text, headers={"Content-Type": TEXT})

    app.add_api_route("/healthz", get_alive, tags=["operation"])
    app.add_api_route("/readiness", get_ready, tags=["operation"])
    app.mount("/static", _Revalidated(directory=STATIC), name="static")
    for path, name in {"/": "index.html", "/login": "login.html", "/favicon.ico": "favicon.svg"}.items():
        app.add_api_route(path, _page(name), include_in_schema=False)
    app.add_middleware(TokenCheck, access=parts.access)
    app.add_middleware(Shield, local_only=token is None)
    return app


async def get_alive() -> dict[str, bool]:
    """Return that the server is alive."""
    return {"alive": True}


async def get_ready(parts: Shared) -> JSONResponse:
    """Return whether frames are fresh and judged; 503 where they are not.

    It says no more than that, as it asks for no token: a source may have a password in it.
    """
    health = parts.station.health()
    if health.ready:
        return JSONResponse({"ready": True})
    if health.failure is not None:
        return refuse(503, "the station has given up; see its page, or what it printed")
    if not health.inferring:
        return refuse(503, "the model does not answer; it is started again if it stays so")
    return refuse(503, f"there are no fresh frames: the camera is {health.camera}; see the page")


class _Revalidated(StaticFiles):
    """Files that a browser asks for again each time, and that are sent again only where they have changed."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        answer.headers.update(REVALIDATE)
        return answer


def _page(name: str) -> Callable[[], Awaitable[FileResponse]]:
    async def get_page() -> FileResponse:
        return FileResponse(STATIC / name, headers=REVALIDATE)

    return get_page
