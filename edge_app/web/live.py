"""What the microscope shows now: verdicts and pictures as streams, the station's state, and what may be changed."""

import asyncio
import json
import time
from collections import deque
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import Field
from starlette.responses import JSONResponse

from edge_app import __version__
from edge_app.cameras import Control
from edge_app.errors import StationError
from edge_app.frozen import Frozen
from edge_app.judging import REASONS
from edge_app.manifest import INTENDED_USE
from edge_app.overlay import scale_bar
from edge_app.station import Station
from edge_app.status import Event, Health
from edge_app.store import Session
from edge_app.view import picture_of
from edge_app.web.choices import Choice
from edge_app.web.parts import NewestVerdict, Shared
from edge_app.web.streams import Chunks, Stream, Wake
from edge_app.web.uploads import judge_upload

HEALTH_EVERY_S = 1.0
VERDICT_EVERY_S = 1 / 15  # a person reads no faster

BINARY = {"type": "string", "format": "binary"}
BOUNDARY = "leukoscope-frame"

routes = APIRouter(prefix="/api", tags=["live"])


class ModelName(Frozen):
    """Which model is wanted, by its name in the list of models."""

    name: str = Field(max_length=200)


class Threshold(Frozen):
    """The decision threshold; null for the bundle's own."""

    threshold: float | None


class Switch(Frozen):
    """On or off."""

    on: bool


class ControlValue(Frozen):
    """What a camera's control is to be set to."""

    value: bool | int | float | str


@routes.get("/status")
async def get_status(parts: Shared) -> JSONResponse:
    """Return all that the page shows, but the picture: the newest verdict, health, model, session, board, events."""
    station = parts.station
    classifier = station.classifier
    manifest = classifier.manifest
    frame = station.frames.value
    ruler = station.ruler
    bar = scale_bar(frame.image.shape[1], ruler.um_per_pixel) if frame and ruler.um_per_pixel else None
    board = await parts.board.read()
    return JSONResponse(
        {
            "verdict": parts.verdict.get().content,
            "health": health_json(station),
            "model": {
                "name": manifest.name,
                "model": manifest.model,
                "format": manifest.format,
                "precision": manifest.precision,
                "certified": manifest.gate.certified,
                "gate": manifest.gate.model_dump(),
                "classes": manifest.classes,
                "positive": manifest.decision.positive,
                "threshold": classifier.decision.threshold,
                "bundle_threshold": manifest.decision.threshold,
                "executed": str(classifier.runtime.describe()),
                "bundle": classifier.bundle_sha256,
                "measured": [each.model_dump() for each in manifest.measured],
                "limits": manifest.limits.model_dump(),
                "scale": manifest.scale.model_dump() if manifest.scale else None,
            },
            "reasons": REASONS,
            "consensus": dict(zip(("frames", "needed"), station.consensus, strict=True)),
            "login": parts.access.token is not None,
            "session": station.session.model_dump(),
            "auto_capture": station.auto_capture,
            "um_per_pixel": station.um_per_pixel,
            "scale": {
                "um_per_pixel": ruler.um_per_pixel,
                "red_cell_px": ruler.red_cells.width if ruler.red_cells else None,
                "given": ruler.given,
                "steady": ruler.steady,
            },
            "scale_bar": asdict(bar) if bar else None,
            "board": asdict(board),
            "events": [event_json(event) for event in reversed(station.events.copy())],
            "version": __version__,
            "intended_use": INTENDED_USE,
            "device": parts.device,
            "clock_sure": parts.clock.sure(),
        }
    )


@routes.get("/verdicts", response_class=Response, responses={200: {"content": {"text/event-stream": {}}}})
async def get_verdicts(parts: Shared) -> Stream:
    """Follow the verdicts, as server-sent events: `verdict`, `event` and, each second, `health`.

    Each event's data is JSON. A client that is slow misses verdicts, never the newest.
    """
    parts.streams.check_room()
    return Stream(_verdicts(parts.station, parts.verdict), "text/event-stream", parts.streams, endless=True)


@routes.get("/view.mjpeg", response_class=Response, responses={200: {"content": {"multipart/x-mixed-replace": {}}}})
async def get_view(parts: Shared) -> Stream:
    """Follow the picture, as JPEGs one after the other (multipart/x-mixed-replace).

    Headers of each part: X-Frame-Id, X-Age-Ms (the frame's age as it is sent), X-Frame-Width and X-Frame-Height (of the
    frame; the JPEG may be smaller). A client that is slow misses frames, never the newest.
    """
    parts.streams.check_room()
    media_type = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
    return Stream(_pictures(parts.station), media_type, parts.streams, endless=True)


@routes.get("/frame.jpg", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
def get_frame(parts: Shared) -> Response:
    """Return the newest frame."""
    frame = parts.station.frames.value
    if frame is None:
        raise StationError("there is no picture yet; see that the camera is plugged in")
    picture = parts.station.view.pictures.value
    if picture is None or picture.frame_id != frame.sequence:
        picture = picture_of(frame)
    return Response(picture.jpeg, media_type="image/jpeg", headers={"X-Frame-Id": str(picture.frame_id)})


@routes.get("/session")
def get_session(parts: Shared) -> Session:
    """Return what is known of the work at hand; it goes into each record."""
    return parts.station.session


@routes.put("/session")
def put_session(parts: Shared, session: Session) -> Session:
    """Say which slide is looked at, and by whom. No patient's name belongs here."""
    parts.station.session = session
    return session


@routes.get("/models")
def get_models(parts: Shared) -> list[Choice]:
    """Return the models that can be switched to."""
    return parts.choices.list(parts.station.bundle)


@routes.put("/model")
def put_model(parts: Shared, wanted: ModelName) -> list[Choice]:
    """Judge with another model, once its answers to the golden inputs are right; otherwise all stays as it is."""
    path = parts.choices.path(wanted.name)
    if not parts.changing.acquire(blocking=False):
        raise StationError("another model is being opened; try again in a moment")
    try:
        parts.station.use_bundle(path)
    finally:
        parts.changing.release()
    return parts.choices.list(parts.station.bundle)


@routes.put("/threshold")
def put_threshold(parts: Shared, wanted: Threshold) -> Threshold:
    """Judge with another decision threshold; returns the one in force."""
    parts.station.use_threshold(wanted.threshold)
    return Threshold(threshold=parts.station.classifier.decision.threshold)


@routes.put("/auto-capture")
def put_auto_capture(parts: Shared, wanted: Switch) -> Switch:
    """Keep a record of each field by itself once it is steady, or not."""
    parts.station.auto_capture = wanted.on
    return wanted


@routes.get("/controls")
def get_controls(parts: Shared) -> tuple[Control, ...]:
    """Return what of the camera can be set, and to what; empty while it is not open."""
    return parts.station.controls()


@routes.put("/controls/{name}")
def put_control(parts: Shared, name: str, wanted: ControlValue) -> tuple[Control, ...]:
    """Set one of the camera's controls; returns all, as one may govern others."""
    parts.station.set_control(name, wanted.value)
    return parts.station.controls()


@routes.post("/white-balance")
def balance_white(parts: Shared) -> tuple[Control, ...]:
    """Measure the white balance on the empty field that is seen now, and lock it."""
    return parts.station.balance_white()


@routes.post("/scale", status_code=204)
def measure_scale(parts: Shared) -> None:
    """Measure the red cells anew, from the next frame on; a scale that was set in the settings stays."""
    parts.station.ruler.forget()


@routes.post(
    "/classify",
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": BINARY}}}},
)
async def classify(parts: Shared, request: Request) -> JSONResponse:
    """Judge an image file, sent as the body; nothing is kept. One at a time, and a few a second at most."""
    async with parts.uploads.turn():
        data = await request.body()
        verdict = await asyncio.to_thread(judge_upload, parts.station.classifier, data)
    return JSONResponse(verdict.as_json())


def health_json(station: Station) -> dict[str, Any]:
    """Return the station's health as JSON."""
    health: Health = station.health()
    return asdict(health) | {"ready": health.ready}


def event_json(event: Event) -> dict[str, str]:
    """Return an event as JSON."""
    return {"at": event.at.isoformat(timespec="milliseconds"), "text": event.text}


async def _verdicts(station: Station, verdict: NewestVerdict) -> Chunks:
    wake = Wake()
    told = station.events[-1] if station.events else None
    sent, health_due_s = None, 0.0
    with station.judged.subscribed(wake):
        while True:
            lines = []
            shown = verdict.get()
            if shown.judged is not sent:
                sent = shown.judged
                lines.append(_event("verdict", shown.text))
            for event in _after(told, station.events):
                told = event
                lines.append(_event("event", json.dumps(event_json(event))))
            if (now := time.monotonic()) >= health_due_s:
                health_due_s = now + HEALTH_EVERY_S
                lines.append(_event("health", json.dumps(health_json(station))))
            if lines:
                yield "".join(lines).encode()
                await asyncio.sleep(VERDICT_EVERY_S)
            await wake.wait(HEALTH_EVERY_S)


def _after(told: Event | None, events: deque[Event]) -> list[Event]:
    """Return the events after one, oldest first; all when that one is long gone."""
    found: list[Event] = []
    for event in reversed(events.copy()):
        if event is told:
            break
        found.insert(0, event)
    return found


def _event(name: str, data: str) -> str:
    return f"event: {name}\ndata: {data}\n\n"


async def _pictures(station: Station) -> Chunks:
    wake = Wake()
    pictures = station.view.pictures
    before = pictures.value
    yield f"--{BOUNDARY}\r\n".encode()
    with station.view.watched(wake):
        shown = None
        while True:
            picture = pictures.value
            frame = station.frames.value
            # what was encoded for those who looked before may be minutes old
            is_old = picture is before and (frame is None or picture is None or picture.frame_id != frame.sequence)
            if picture is None or picture is shown or is_old:
                await wake.wait(HEALTH_EVERY_S)
                continue
            shown = picture
            head = (
                "Content-Type: image/jpeg\r\n"
                f"Content-Length: {len(picture.jpeg)}\r\n"
                f"X-Frame-Id: {picture.frame_id}\r\n"
                f"X-Age-Ms: {(time.monotonic_ns() - picture.monotonic_ns) / 1e6:.1f}\r\n"
                f"X-Frame-Width: {picture.width}\r\n"
                f"X-Frame-Height: {picture.height}\r\n\r\n"
            )
            # the boundary comes at once, as a browser shows a part when it sees its end
            yield b"".join((head.encode(), picture.jpeg, f"\r\n--{BOUNDARY}\r\n".encode()))
