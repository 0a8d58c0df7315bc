"""The live picture: one JPEG a frame for all who look, none when nobody does."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2

from edge_app.cameras import Frame
from edge_app.newest import Newest

HIGHEST_FPS = 15  # enough to focus by; each picture costs milliseconds that the model could have
LONGEST_SIDE = 1440  # pixels
QUALITY = 80


@dataclass(frozen=True)
class Picture:
    """An encoded frame. width, height: of the frame, not of the JPEG, which may be smaller by a whole factor."""

    jpeg: bytes
    frame_id: int
    monotonic_ns: int
    width: int
    height: int


class View:
    """Encodes the newest frame in a thread of its own, as long as somebody watches."""

    def __init__(self, frames: Newest[Frame]) -> None:
        self._frames = frames
        self._stopped = threading.Event()
        self._wanted = threading.Event()
        self.pictures: Newest[Picture] = Newest()
        self._thread = threading.Thread(target=self._run, name="view", daemon=True)
        self._thread.start()

    @contextmanager
    def watched(self, wake: Callable[[], None]) -> Iterator[Newest[Picture]]:
        """Have pictures made, and `wake` called after each: in another thread, so it must return at once."""
        with self.pictures.subscribed(wake), self._frames.subscribed(self._wanted.set):
            self._wanted.set()
            yield self.pictures

    def close(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._wanted.set()
        self.pictures.close()
        self._thread.join()

    def _run(self) -> None:
        shown = -1
        while not self._stopped.is_set():
            self._wanted.wait()
            self._wanted.clear()
            frame = self._frames.value
            if frame is None or frame.sequence == shown or not self.pictures.watched:
                continue
            shown = frame.sequence
            self.pictures.put(picture_of(frame))
            self._stopped.wait(1 / HIGHEST_FPS)


def picture_of(frame: Frame) -> Picture:
    """Return a frame as a JPEG of at most `LONGEST_SIDE` pixels."""
    height, width = frame.image.shape[:2]
    factor = -(-max(height, width) // LONGEST_SIDE)
    image: cv2.typing.MatLike = frame.image
    if factor > 1:
        image = cv2.resize(image, (width // factor or 1, height // factor or 1), interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))[1].tobytes()
    return Picture(jpeg, frame.sequence, frame.monotonic_ns, width, height)
