"""Images that are sent to be judged: one at a time, and not too often, as the frames come first."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from starlette.exceptions import HTTPException

from edge_app.cameras import Frame
from edge_app.classifier import Classifier, Verdict
from edge_app.errors import InputError
from edge_app.images import decode_image

BURST = 10
PER_SECOND = 1.0
MAX_PIXELS = 30_000_000


class Uploads:
    """Admits an upload now and then; used in the server's event loop only."""

    def __init__(self) -> None:
        self._busy = False
        self._left = float(BURST)
        self._at_s = time.monotonic()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold the one turn there is; raises 429 when it is taken, or there were too many of late."""
        now = time.monotonic()
        self._left = min(BURST, self._left + (now - self._at_s) * PER_SECOND)
        self._at_s = now
        if self._busy or self._left < 1:
            said = "another upload is being judged" if self._busy else "too many uploads of late"
            raise HTTPException(429, f"{said}; try again in a second", {"Retry-After": "1"})
        self._busy = True
        self._left -= 1
        try:
            yield
        finally:
            self._busy = False


def judge_upload(classifier: Classifier, data: bytes) -> Verdict:
    """Return the verdict on an image file's bytes; raises InputError."""
    if not data:
        raise InputError("the body is empty; send an image file as the body")
    monotonic_ns, captured_at = time.monotonic_ns(), datetime.now(UTC)
    image = decode_image(data, "the upload", max_pixels=MAX_PIXELS)
    grab_ms = (time.monotonic_ns() - monotonic_ns) / 1e6
    return classifier.judge(Frame(image, 0, monotonic_ns, captured_at, "upload", grab_ms, {}))
