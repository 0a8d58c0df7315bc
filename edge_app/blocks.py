"""A strip of a frame worked off in blocks: what can't be stained is left alone, and the result is that of the whole.

Three facts carry it:
- An opened mask consists of squares as large as the kernel. Samples that are no further apart meet each of them, so
  where no sample is stained, nothing is left after the opening.
- OpenCV's area resize adds up each row in float32, then the rows. The two sums can be asked for one after the other, of
  blocks that are packed side by side, and black pixels add nothing to either.
- Cuts lie where frame and result both have a whole pixel, so the resize of a piece is that piece of the resize.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from edge_app.preprocessing import Preprocessing

Image = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.intp]

NARROWEST_TILE = 24  # pixels: more tiles than that cost more to look after than they save
BLOCK_HEIGHT = 15  # pixels, or as near to it as may be: lower ones are more to look after, taller ones less black


@dataclass(frozen=True)
class Grid:
    """How frames of one size are cut, in pixels.

    height, width: of a block. stack: how many blocks one above the other are a tile, the smallest piece that becomes
    whole pixels of the result. small_height, small_width: of what a tile becomes. down, across: samples a block.
    """

    height: int
    width: int
    stack: int
    small_height: int
    small_width: int
    down: int
    across: int

    @property
    def tile_height(self) -> int:
        """Height of a tile."""
        return self.stack * self.height


@dataclass(frozen=True)
class Stain:
    """The stain of a strip.

    mask: uint8 [h, w], opened. rows, columns: positions of all blocks that may be stained; no others are. pixels: uint8
    [n, height, width, 3], BGR: these blocks of the strip.
    """

    mask: Image
    rows: Indices
    columns: Indices
    pixels: Image


@lru_cache(maxsize=32)
def cut(height: int, width: int, record: "Preprocessing") -> Grid:
    """Return the grid for frames of that size. One that is smaller than the result stays whole: it is interpolated."""
    tiles_down, tiles_across = 1, 1
    if height >= record.height and width >= record.width:
        tiles_down, tiles_across = _pieces(height, record.height), _pieces(width, record.width)
    tile_height, tile_width = height // tiles_down, width // tiles_across
    # where one side shrinks by a whole factor, OpenCV computes both sums together in one order, each alone in another
    in_two_sums = height > record.height and width > record.width and height % record.height and width % record.width
    block = _nearest_divisor(tile_height, BLOCK_HEIGHT) if in_two_sums else tile_height
    # an odd distance, measured from the middle: then no square that the frame's border cuts is missed either
    apart = max(1, record.opening - 1 + record.opening % 2)
    return Grid(
        height=block,
        width=tile_width,
        stack=tile_height // block,
        small_height=record.height // tiles_down,
        small_width=record.width // tiles_across,
        down=-(-block // apart),
        across=-(-tile_width // apart),
    )


def find_stain(strip: Image, record: "Preprocessing", grid: Grid) -> Stain:
    """Return the stain of a strip (uint8 [h, w, 3], BGR, contiguous, h a multiple of the blocks' height)."""
    rows, columns = _where_samples_are_stained(strip, record, grid)
    pixels = _in_blocks(strip, grid)[rows, :, columns]
    mask = np.zeros(strip.shape[:2], np.uint8)
    if len(rows):
        raw = _in_range(pixels.reshape(len(rows), -1, 3), record)
        _in_blocks(mask, grid)[rows, :, columns] = raw.reshape(pixels.shape[:3])
        if record.opening > 1:
            cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((record.opening, record.opening), np.uint8), dst=mask)
    return Stain(mask, rows, columns, pixels)


def shrink(stain: Stain, grid: Grid, first: int, result: Image) -> None:
    """Write the area resize of a strip with all black but its stain.

    first: the strip's row of blocks that is the result's first; what lies above it, and below its last, is left out.
    result: uint8 [h, w, 3], BGR, black, contiguous.
    """
    rows, columns = stain.rows - first, stain.columns
    masks = _in_blocks(stain.mask, grid)[stain.rows, :, columns]
    wanted = (rows >= 0) & (rows < len(result) // grid.small_height * grid.stack)
    chosen = np.flatnonzero(wanted & masks.reshape(len(rows), grid.height * grid.width).any(axis=1))
    if len(chosen) == 0:
        return
    pixels, masks, rows, columns = stain.pixels[chosen], masks[chosen], rows[chosen], columns[chosen]
    count, height, width = masks.shape
    stained = np.asarray(cv2.copyTo(pixels.reshape(count, -1, 3), masks.reshape(count, -1)))
    tiles = result.reshape(-1, grid.small_height, result.shape[1] // grid.small_width, grid.small_width * 3)
    if grid.stack == 1:
        size = grid.small_width, count * grid.small_height
        small = cv2.resize(stained.reshape(-1, width, 3), size, interpolation=cv2.INTER_AREA)
        tiles[rows, :, columns] = np.asarray(small).reshape(count, grid.small_height, -1)
    else:
        abreast = stained.reshape(count, height, -1).transpose(1, 0, 2).astype(np.float32, order="C")
        size = count * grid.small_width, height
        narrow = cv2.resize(abreast.reshape(height, -1, 3), size, interpolation=cv2.INTER_AREA)
        _shrink_down(np.asarray(narrow, np.float32).reshape(height, count, -1), rows, columns, grid, tiles)


def _shrink_down(
    blocks: npt.NDArray[np.float32], rows: Indices, columns: Indices, grid: Grid, tiles: npt.NDArray[np.uint8]
) -> None:
    """Write what becomes of blocks that have the result's width already: the second of the two sums.

    blocks: [height, n, values a row], at rows and columns of the strip. tiles: [rows, small_height, columns, values].
    """
    tile_rows, in_stack = np.divmod(rows, grid.stack)
    numbers = np.zeros((len(tiles), tiles.shape[2]), np.intp)
    numbers[tile_rows, columns] = 1
    at_row, at_column = np.nonzero(numbers)
    numbers[at_row, at_column] = np.arange(len(at_row))
    side_by_side = np.zeros((grid.stack, grid.height, len(at_row), blocks.shape[2]), np.float32)
    side_by_side[in_stack, :, numbers[tile_rows, columns]] = blocks.transpose(1, 0, 2)
    size = len(at_row) * grid.small_width, grid.small_height
    sums = cv2.resize(side_by_side.reshape(grid.tile_height, -1, 3), size, interpolation=cv2.INTER_AREA)
    small = np.rint(sums).astype(np.uint8).reshape(grid.small_height, len(at_row), -1)
    tiles[at_row, :, at_column] = small.transpose(1, 0, 2)


def _where_samples_are_stained(strip: Image, record: "Preprocessing", grid: Grid) -> tuple[Indices, Indices]:
    """Return rows and columns of the blocks with a pixel in a square of the kernel's size that has a stained sample."""
    rows, columns = len(strip) // grid.height, strip.shape[1] // grid.width
    size = columns * grid.across, rows * grid.down
    samples = cv2.resize(strip, size, interpolation=cv2.INTER_NEAREST_EXACT)
    reach = [
        math.ceil(record.opening * count / side - 0.5)
        for count, side in ((grid.down, grid.height), (grid.across, grid.width))
    ]
    near = cv2.dilate(_in_range(samples, record), np.ones([2 * each + 1 for each in reach], np.uint8))
    by_row = np.bitwise_or.reduce(near.reshape(rows, grid.down, -1), axis=1)
    found = by_row.reshape(rows, columns, grid.across).any(axis=2).nonzero()
    return found[0], found[1]


def _in_range(picture: cv2.typing.MatLike, record: "Preprocessing") -> cv2.typing.MatLike:
    return cv2.inRange(cv2.cvtColor(picture, cv2.COLOR_BGR2HSV), record.hsv_low, record.hsv_high)


def _in_blocks(strip: Image, grid: Grid) -> Image:
    """Return a view [rows, height, columns, width, …] of a strip."""
    return strip.reshape(-1, grid.height, strip.shape[1] // grid.width, grid.width, *strip.shape[2:])


def _pieces(source: int, target: int) -> int:
    """Return into how many pieces a side is cut."""
    common = math.gcd(source, target)
    return max(n for n in range(1, common + 1) if common % n == 0 and (n == 1 or source // n >= NARROWEST_TILE))


def _nearest_divisor(number: int, wanted: int) -> int:
    """Return the divisor of a number that is nearest to another one, in proportion."""
    divisors = (each for each in range(1, number + 1) if number % each == 0)
    return min(divisors, key=lambda each: max(each / wanted, wanted / each))
