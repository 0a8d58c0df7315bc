"""Frames for benchmarks, as a camera gives them: one after the other in memory, read from a file of raw pixels.

A reel stands on the disk, so that a process that is measured holds one frame at a time, as beside a camera.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_app.errors import InputError
from edge_app.preprocessing import Image

DRAWN = 4  # of each size, healthy and leukaemic by turns; drawing one takes seconds
SMALLEST_WIDTH = 112  # pixels, of drawn frames: below it a red cell would have fewer than 6
SMALLEST_HEIGHT = 64
MOST_PIXELS = 20_000_000  # drawing takes some hundred bytes a pixel


@dataclass(frozen=True)
class Reel:
    """A file with the pixels of some frames of one size, BGR, one after the other."""

    path: Path
    width: int
    height: int
    frames: int

    def __iter__(self) -> Iterator[Image]:
        """Yield the frames again and again, uint8 [height, width, 3], always in the same memory."""
        frame = np.empty((self.height, self.width, 3), np.uint8)
        with self.path.open("rb") as file:
            while True:
                file.seek(0)
                for _ in range(self.frames):
                    file.readinto(frame.data.cast("B"))
                    yield frame


def draw_reels(
    folder: Path, sizes: Sequence[tuple[int, int]], on_frame: Callable[[int, int], None] = lambda *_: None
) -> list[Reel]:
    """Write a reel of drawn fields of each size (width, height in pixels) to a folder and return them,
    the smallest first.

    on_frame: called with the frames done and their number. Raises InputError for a size that can't be drawn.
    """
    from edge_app.slides import Kind
    from edge_app.smears import draw_smear

    for size in sizes:
        check_size(*size)
    kinds: tuple[Kind, ...] = ("healthy", "leukaemic")
    reels = [Reel(_file(folder, size), *size, DRAWN) for size in sorted(set(sizes), key=_pixels)]
    for number, reel in enumerate(reels):
        for index in range(DRAWN):
            kind = kinds[index % len(kinds)]
            _append(reel.path, draw_smear(index, kind=kind, width=reel.width, height=reel.height).image)
            on_frame(number * DRAWN + index + 1, DRAWN * len(reels))
    return reels


def check_size(width: int, height: int) -> None:
    """Raise InputError for a size, in pixels, of which no frame can be drawn."""
    if width < SMALLEST_WIDTH or height < SMALLEST_HEIGHT or width * height > MOST_PIXELS:
        raise InputError(
            f"no frame of {width}x{height} pixels is drawn; take {SMALLEST_WIDTH}x{SMALLEST_HEIGHT} or more and "
            f"at most {MOST_PIXELS // 10**6} megapixels, or frames of yours"
        )


def reels_of_files(
    folder: Path, images: Sequence[Path], on_frame: Callable[[int, int], None] = lambda *_: None
) -> list[Reel]:
    """Write the pictures of image files to a folder, a reel a size, and return them, the smallest size first.

    on_frame: as in `draw_reels`. Raises InputError for a file that can't be read.
    """
    from edge_app.images import read_image

    counts: dict[tuple[int, int], int] = {}
    for index, path in enumerate(images):
        frame = read_image(path)
        size = frame.shape[1], frame.shape[0]
        _append(_file(folder, size), frame)
        counts[size] = counts.get(size, 0) + 1
        on_frame(index + 1, len(images))
    return [Reel(_file(folder, size), *size, counts[size]) for size in sorted(counts, key=_pixels)]


def _pixels(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _append(path: Path, frame: Image) -> None:
    try:
        with path.open("ab") as file:
            file.write(frame.data)
    except OSError as error:
        raise InputError(
            f"the frames can't be kept in the temporary folder ({error.strerror}); set TMPDIR to one with more room, "
            "or measure fewer"
        ) from None


def _file(folder: Path, size: tuple[int, int]) -> Path:
    return folder / f"{size[0]}x{size[1]}.bgr"
