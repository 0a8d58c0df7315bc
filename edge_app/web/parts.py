"""What the routes share, and how they get it."""

import asyncio
import json
import threading
import time
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request

from edge_app.board import Board, read_board
from edge_app.errors import StationError
from edge_app.station import Station
from edge_app.status import Judged
from edge_app.store import Store
from edge_app.store.clock import Clock
from edge_app.web.access import Access
from edge_app.web.choices import Choices
from edge_app.web.streams import Streams
from edge_app.web.uploads import Uploads

BOARD_EVERY_S = 5


@dataclass(frozen=True)
class Shown:
    """A verdict as it is shown: as a JSON object, and as its text."""

    judged: Judged | None = None
    content: dict[str, Any] | None = None
    text: str = "null"


class NewestVerdict:
    """Makes the newest verdict's JSON once for all who look; used in the server's event loop only."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._shown = Shown()

    def get(self) -> Shown:
        """Return the newest verdict."""
        judged = self._station.judged.value
        if judged is not None and judged is not self._shown.judged:
            content = judged.as_json()
            self._shown = Shown(judged, content, json.dumps(content, allow_nan=False, separators=(",", ":")))
        return self._shown


class BoardReader:
    """The board's condition, read at most every few seconds: it takes a program's start to ask."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._at_s = 0.0
        self._board: Board | None = None

    async def read(self) -> Board:
        """Return the board's condition of the last few seconds."""
        async with self._lock:
            if self._board is None or time.monotonic() - self._at_s >= BOARD_EVERY_S:
                self._board = await asyncio.to_thread(read_board)
                self._at_s = time.monotonic()
            return self._board


@dataclass(frozen=True)
class Parts:
    """What an application serves; changing: held while a model is opened."""

    station: Station
    device: str
    access: Access
    streams: Streams
    choices: Choices
    verdict: NewestVerdict
    uploads: Uploads = field(default_factory=Uploads)
    clock: Clock = field(default_factory=Clock)
    board: BoardReader = field(default_factory=BoardReader)
    changing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def store(self) -> Store:
        """The records; raises StationError when none are kept."""
        if self.station.store is None:
            problem = self.station.health().recording_problem
            raise StationError(problem or "no records are kept; start the app with its page or with --auto-capture")
        return self.station.store


async def _parts(request: Request) -> Parts:
    parts = request.app.state.parts
    assert isinstance(parts, Parts)  # noqa: S101
    return parts


Shared = Annotated[Parts, Depends(_parts)]
