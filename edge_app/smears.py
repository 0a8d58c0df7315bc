"""Draws blood-smear fields: what the demo and the tests look at where no real image may be shipped.

A field is a map of optical density, one layer for each of B, G, R: red cells, platelets, smudges and nucleated cells
add to it, then light shines through (Beer and Lambert), the lens blurs, and the sensor adds noise. The densities,
sizes and counts in `edge_app/slides.py` were measured on real smears; no pixel of one is in here.

`python -m edge_app.smears FOLDER` writes the shipped demo frames.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import click
import cv2
import numpy as np
import numpy.typing as npt

from edge_app.cli import run_command
from edge_app.errors import InputError
from edge_app.preprocessing import Image
from edge_app.slides import BLAST, LYMPHOCYTE, MONOCYTE, NEUTROPHIL, SLIDES, CellType, Colour, Kind, Look, Slide

Plane = npt.NDArray[np.float32]
Part = tuple[slice, slice]


class Nucleated(NamedTuple):
    """Where a stained cell was drawn: centre and mean radius, in pixels of the frame."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Smear:
    """A drawn field.

    image: uint8 [height, width, 3], BGR.
    nucleated: the stained cells in it; each centre is in the frame, cells may be cut by its border.
    """

    image: Image
    nucleated: tuple[Nucleated, ...]


DEMO_SEEDS: dict[Kind, tuple[int, ...]] = {"healthy": (2, 4, 6, 8), "leukaemic": (1, 2, 3, 4)}


def draw_smear(
    seed: int,
    *,
    kind: Kind,
    height: int = 960,
    width: int = 1280,
    cell_px: float | None = None,
    look: Look = "bright",
) -> Smear:
    """Return a drawn field; the same arguments give the same pixels.

    cell_px is a red cell's diameter in pixels; by default a field is 17.5 red cells wide ("bright") or 22 ("dim").
    Nucleated cells are as dense as in the ALL image dataset ("bright") or ALL-IDB1 ("dim"): by default 5 to 30 of
    them, but one to three in a "dim" healthy field.

    Raises InputError when the seed is negative, the frame smaller than 64 × 64 pixels, or a red cell smaller than 6.
    """
    cell = cell_px if cell_px is not None else width / (17.5 if look == "bright" else 22.0)
    if seed < 0 or min(height, width) < 64 or not 6 <= cell <= max(height, width):
        raise InputError("draw a smear with a seed of 0 or more, at least 64 × 64 pixels and red cells of 6 pixels")
    rng = np.random.default_rng([seed, kind == "leukaemic", look == "dim"])
    slides = SLIDES[look, kind]
    slide = slides[int(rng.integers(len(slides)))]
    field = _Field(rng, height, width, cell, slide)
    count = max(1, round(rng.uniform(*slide.cells) * height * width / (230 * cell * cell)))
    cells = field.place_nucleated(count, clump=0.5 if kind == "leukaemic" else 0.1)
    field.draw_smudges(cells)
    field.draw_red_cells(cells)
    field.draw_platelets(cells)
    for index, spot in enumerate(cells):
        field.draw_nucleated(index, cells, _cell_type(rng, kind, spot.radius / cell))
    return Smear(field.photograph(), tuple(cells))


def write_demo(folder: Path) -> list[Path]:
    """Write the frames of `DEMO_SEEDS` into an existing folder as JPEG; return their paths.

    Raises InputError when the folder can't be written to.
    """
    paths = []
    for kind, seeds in DEMO_SEEDS.items():
        for number, seed in enumerate(seeds, 1):
            path = folder / f"{kind}-{number}.jpg"
            encoded = cv2.imencode(".jpg", draw_smear(seed, kind=kind).image, [cv2.IMWRITE_JPEG_QUALITY, 84])[1]
            try:
                path.write_bytes(encoded.tobytes())
            except OSError as error:
                raise InputError(f"{path} can't be written ({error.strerror}): name a folder of yours") from None
            paths.append(path)
    return paths


def _cell_type(rng: np.random.Generator, kind: Kind, size: float) -> CellType:
    """Return which cell to draw; size is its radius in red-cell diameters."""
    if kind == "leukaemic":
        return BLAST
    if size < 0.66:
        return LYMPHOCYTE
    return NEUTROPHIL if size < 1.0 and rng.random() < 0.8 else MONOCYTE


class _Field:
    """The optical density of a field while it is drawn."""

    def __init__(self, rng: np.random.Generator, height: int, width: int, cell: float, slide: Slide) -> None:
        self.rng, self.height, self.width, self.cell, self.slide = rng, height, width, cell, slide
        self.density = np.zeros((height, width, 3), np.float32)
        self.fine = self._texture(0.030)
        self.grain = self._texture(0.065)
        self.coarse = self._texture(0.16)

    def place_nucleated(self, count: int, clump: float) -> list[Nucleated]:
        """Return places of nucleated cells; a share `clump` of them touches an earlier one."""
        cells: list[Nucleated] = []
        for _ in range(40 * count):
            radius = self.cell * float(self.rng.uniform(*self.slide.radius))
            x, y = self.rng.uniform(0, self.width), self.rng.uniform(0, self.height)
            if cells and self.rng.random() < clump:
                near = cells[int(self.rng.integers(len(cells)))]
                turn, apart = self.rng.uniform(0, 2 * np.pi), 0.95 * (near.radius + radius)
                x, y = near.x + apart * np.cos(turn), near.y + apart * np.sin(turn)
            inside = 0 <= x < self.width and 0 <= y < self.height
            if inside and all(math.hypot(x - c.x, y - c.y) > 0.93 * (radius + c.radius) for c in cells):
                cells.append(Nucleated(float(x), float(y), radius))
            if len(cells) == count:
                break
        return cells

    def draw_red_cells(self, cells: list[Nucleated]) -> None:
        """Draw red cells, half of them in rows and heaps, around the nucleated ones."""
        rng, cell = self.rng, self.cell
        wanted = round(rng.uniform(0.48, 0.72) * self.height * self.width / cell**2)
        crowd = self._texture(2.2)
        places: list[tuple[float, float]] = []
        for _ in range(12 * wanted):
            x, y = rng.uniform(-cell / 2, self.width + cell / 2), rng.uniform(-cell / 2, self.height + cell / 2)
            touching = bool(places) and rng.random() < 0.5
            if touching:
                near = places[int(rng.integers(len(places)))]
                turn, apart = rng.uniform(0, 2 * np.pi), cell * rng.uniform(0.6, 1.0)
                x, y = near[0] + apart * np.cos(turn), near[1] + apart * np.sin(turn)
            if rng.random() > 0.75 + 0.35 * crowd[_inside(y, self.height), _inside(x, self.width)]:
                continue
            if any(math.hypot(x - c.x, y - c.y) < c.radius + 0.42 * cell for c in cells):
                continue
            if all(math.hypot(x - a, y - b) > cell * (0.58 if touching else 0.95) for a, b in places):
                places.append((float(x), float(y)))
            if len(places) == wanted:
                break
        thickness = np.zeros((self.height, self.width), np.float32)
        heaps = self._texture(1.5)
        for x, y in places:
            self._red_cell(thickness, x, y, float(heaps[_inside(y, self.height), _inside(x, self.width)]))
        self.density += thickness[..., np.newaxis] * np.asarray(self.slide.red_cell, np.float32)

    def draw_platelets(self, cells: list[Nucleated]) -> None:
        """Draw platelets: small granular bodies, now and then in a clump."""
        for _ in range(int(self.rng.integers(3, 12))):
            x, y = self.rng.uniform(0, self.width), self.rng.uniform(0, self.height)
            if any(math.hypot(x - c.x, y - c.y) < 1.3 * c.radius for c in cells):
                continue
            for _ in range(int(self.rng.integers(1, 6)) if self.rng.random() < 0.2 else 1):
                x, y = x + self.rng.normal(0, 0.2 * self.cell), y + self.rng.normal(0, 0.2 * self.cell)
                radius = self.cell * self.rng.uniform(0.06, 0.15)
                where, dx, dy = self._patch(x, y, 2 * radius + 4)
                body = _cover(self._outline(dx, dy, radius, 0.12), 0.5 * radius)
                stain = body * (0.55 + 0.30 * self.grain[where] + 0.2 * self.fine[where]).clip(0.1, 1.2)
                self._add(where, stain, self.slide.nucleus)

    def draw_smudges(self, cells: list[Nucleated]) -> None:
        """Draw crushed cells: pale, pink, fibrous patches without an outline."""
        for _ in range(int(self.rng.integers(0, self.slide.smudges + 1))):
            x, y = self.rng.uniform(0, self.width), self.rng.uniform(0, self.height)
            radius = self.cell * self.rng.uniform(0.7, 1.3)
            if any(math.hypot(x - c.x, y - c.y) < c.radius + radius for c in cells):
                continue
            where, dx, dy = self._patch(x, y, 2.0 * radius)
            depth = self._outline(dx, dy, radius, 0.16) + 0.16 * radius * self.coarse[where]
            turn = self.rng.uniform(0, np.pi)
            fibres = np.sin((dx * np.cos(turn) + dy * np.sin(turn)) * 14 / self.cell + 2.0 * self.coarse[where])
            stain = _cover(depth, 0.5 * radius) * (0.75 + 0.14 * self.grain[where] + 0.12 * fibres).clip(0, 1.1)
            self._add(where, stain, self.slide.granules)

    def draw_nucleated(self, index: int, cells: list[Nucleated], kind: CellType) -> None:
        """Draw one nucleated cell, flattened where it touches another."""
        rng, (x, y, radius) = self.rng, cells[index]
        where, dx, dy = self._patch(x, y, 1.35 * radius)
        body = self._outline(dx, dy, radius, kind.wobble)
        for other in (*cells[:index], *cells[index + 1 :]):
            apart = math.hypot(other.x - x, other.y - y)
            if apart < 1.3 * (radius + other.radius):
                border = (apart**2 + radius**2 - other.radius**2) / (2 * apart)
                body = np.minimum(body, border - (dx * (other.x - x) + dy * (other.y - y)) / apart)
        if kind is NEUTROPHIL:
            nucleus = self._lobes(dx, dy, radius)
        else:
            right, down = kind.eccentricity * radius * rng.normal(size=2).astype(np.float32)
            nucleus = self._outline(dx - right, dy - down, radius * rng.uniform(*kind.nucleus), kind.wobble)
            if rng.random() < kind.indented[0]:
                nucleus = self._indent(nucleus, dx, dy, radius, rng.uniform(*kind.indented[1:]))
        self._stain(where, body, np.minimum(nucleus, body - 0.02 * radius), kind)
        if kind is BLAST:
            self._nucleoli(x, y, radius)

    def photograph(self) -> Image:
        """Return the frame: light through the density, lens, sensor."""
        rng, shape = self.rng, (self.height, self.width)
        down, across = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j].astype(np.float32)
        tilt = rng.normal(0, 0.012, 2).astype(np.float32)
        edge = (across - rng.normal(0, 0.15)) ** 2 + (down - rng.normal(0, 0.15)) ** 2
        shade = 1 + 0.006 * self._texture(3.0) + 0.002 * self.coarse + tilt[0] * across + tilt[1] * down
        dark = rng.uniform(0.02, 0.05)
        # a lens focuses blue a little worse; the camera's own sharpening puts faint halos back around edges
        focus = self.cell * rng.uniform(0.014, 0.024)
        planes = []
        for k, (fall_off, blur) in enumerate(((0.7, 1.25), (1.0, 1.0), (1.1, 1.1))):
            light = self.slide.light[k] * rng.normal(1, 0.006) * (shade - fall_off * dark * edge)
            planes.append(cv2.GaussianBlur(np.exp(-self.density[..., k]) * light, (0, 0), focus * blur))
        frame = cv2.merge(planes)
        frame += 0.35 * (frame - cv2.GaussianBlur(frame, (0, 0), 2.2 * focus))
        noise = rng.standard_normal((*shape, 3), np.float32)
        noise = 1.6 * cv2.GaussianBlur(noise, (0, 0), 0.7)
        frame += noise * np.sqrt(frame.clip(1, 255) / 90)
        return np.asarray(np.rint(frame.clip(0, 255)), np.uint8)

    def _red_cell(self, thickness: Plane, x: float, y: float, heap: float) -> None:
        """Add a red cell to the layer's thickness; the higher the heap, the fuller and the less in focus it is."""
        rng, radius = self.rng, self.cell * self.rng.normal(0.5, 0.04)
        where, dx, dy = self._patch(x, y, 1.4 * radius)
        depth = self._outline(dx, dy, radius, 0.045)
        if rng.random() < 0.06:  # crenated
            angle = np.arctan2(dy, dx)
            spines = np.cos(int(rng.integers(8, 13)) * angle + 1.2 * np.cos(2 * angle + rng.uniform(0, 2 * np.pi)))
            depth += radius * rng.uniform(0.02, 0.05) * spines * (1 + 0.5 * np.cos(angle))
        out = np.maximum(1 - depth / radius, 0)
        pallor = np.clip(self.slide.pallor + rng.normal(0, 0.2) - 0.15 * heap, 0, 0.92)
        hollow = pallor * np.exp(-((out / rng.uniform(0.35, 0.6)) ** rng.uniform(2.5, 5)))
        rim = rng.uniform(0.05, 0.3) * np.exp(-(((out - 0.82) / 0.1) ** 2))
        soft = self.cell * np.clip(0.08 + 0.03 * heap + rng.normal(0, 0.025), 0.04, 0.2)
        body = _cover(depth, float(soft)) * (1 - hollow + rim) * rng.normal(1 + 0.1 * heap, 0.12)
        body *= 1 + 0.07 * self.coarse[where] + 0.035 * self.grain[where]
        halo = 0.08 * np.exp(-(((depth + 0.07 * self.cell) / (0.04 * self.cell)) ** 2))
        # cells that lie on each other make room, so the layer is thinner than their sum
        below = thickness[where]
        thickness[where] = below + body - 0.5 * np.minimum(below.clip(0), body) - halo

    def _stain(self, where: Part, body: Plane, nucleus: Plane, kind: CellType) -> None:
        """Lay cytoplasm and nucleus over what is there; body and nucleus are depths in pixels."""
        rng, slide, edge = self.rng, self.slide, 0.05 * self.cell
        fine, grain, coarse = self.fine[where], self.grain[where], self.coarse[where]
        covered, inner = _cover(body, edge), _cover(nucleus, 0.7 * edge)
        self.density[where] *= 1 - 0.9 * covered[..., np.newaxis]
        around = (covered - inner).clip(0, 1)
        if kind is NEUTROPHIL:
            self._add(where, around * (0.75 + 0.22 * fine + 0.18 * grain).clip(0.2, 1.8), slide.granules)
        else:
            self._add(where, around * (1 + 0.12 * coarse + 0.10 * grain) * rng.uniform(0.75, 1.1), slide.cytoplasm)
        membrane = 0.12 * np.exp(-((nucleus / edge - 0.8) ** 2))
        texture = slide.chromatin * (0.055 * fine + 0.075 * grain + kind.clots * coarse + membrane)
        slope = 0.12 * rng.normal() * np.tanh(nucleus / self.cell)
        blue, green, red = slide.nucleus
        red *= rng.normal(1, kind.tint)
        stain = inner * rng.uniform(*kind.strength)
        self._add(where, stain * (1 + texture + slope), (blue, green, red))
        # the gaps between chromatin strands are pinker than the strands
        self._add(where, stain * grain, (0, 0, 0.06 * red * slide.chromatin))

    def _nucleoli(self, x: float, y: float, radius: float) -> None:
        for _ in range(int(self.rng.integers(0, 4))):
            turn, out = self.rng.uniform(0, 2 * np.pi), radius * self.rng.uniform(0.1, 0.6)
            size = radius * self.rng.uniform(0.08, 0.16)
            where, dx, dy = self._patch(x + out * np.cos(turn), y + out * np.sin(turn), 2.2 * size)
            spot = _cover(self._outline(dx, dy, size, 0.08), 0.9 * size)
            ring = np.exp(-(((np.hypot(dx, dy) - size) / (0.4 * size)) ** 2))
            self.density[where] *= (1 - self.slide.chromatin * (0.2 * spot - 0.05 * ring))[..., np.newaxis]

    def _lobes(self, dx: Plane, dy: Plane, radius: float) -> Plane:
        """Return the depth of a nucleus of two to five lobes on a bent thread."""
        rng, count = self.rng, int(self.rng.integers(2, 6))
        start, span = rng.uniform(0, 2 * np.pi), 2 * np.pi if count > 2 else 4.0
        step = span / (count + 1) * rng.uniform(0.85, 1.15)
        depth = np.full_like(dx, -radius)
        last: tuple[float, float] | None = None
        for k in range(count):
            out = radius * rng.uniform(0.38, 0.5)
            here = (out * np.cos(start + k * step), out * np.sin(start + k * step))
            size = radius * rng.uniform(*NEUTROPHIL.nucleus) * (1.25 if count < 4 else 1.0)
            depth = np.maximum(depth, self._outline(dx - here[0], dy - here[1], size, 0.07))
            if last is not None:
                depth = np.maximum(depth, 0.09 * radius - _distance(dx, dy, last, here))
            last = here
        return depth

    def _indent(self, depth: Plane, dx: Plane, dy: Plane, radius: float, size: float) -> Plane:
        """Return the depth with a bite taken out of the border; its radius is `size` of the cell's."""
        turn, out, round_off = self.rng.uniform(0, 2 * np.pi), radius * (0.95 + 0.35 * size), 0.05 * radius
        bite = self._outline(dx - out * np.cos(turn), dy - out * np.sin(turn), size * radius, 0.08)
        return np.asarray(-round_off * np.logaddexp(-depth / round_off, bite / round_off), np.float32)

    def _outline(self, dx: Plane, dy: Plane, radius: float, wobble: float) -> Plane:
        """Return how deep (pixels, negative outside) each point lies in an irregular disc around 0, 0."""
        turn, stretch = self.rng.uniform(0, np.pi), 1 + abs(self.rng.normal(0, 1.6 * wobble))
        along = (dx * np.cos(turn) + dy * np.sin(turn)) / stretch
        across = (dy * np.cos(turn) - dx * np.sin(turn)) * stretch
        angle = np.arctan2(across, along)
        edge = np.ones_like(angle)
        for k in range(2, 7):
            edge += wobble / (k - 1) * self.rng.normal() * np.cos(k * angle + self.rng.uniform(0, 2 * np.pi))
        return np.asarray(radius * edge - np.hypot(along, across), np.float32)

    def _patch(self, x: float, y: float, reach: float) -> tuple[Part, Plane, Plane]:
        """Return the part of the frame within reach of a point, and its pixels' distances from it in x and y."""
        left, right = np.clip([int(x - reach), int(x + reach) + 2], 0, self.width)
        top, bottom = np.clip([int(y - reach), int(y + reach) + 2], 0, self.height)
        dy, dx = np.mgrid[top:bottom, left:right].astype(np.float32)
        return (slice(top, bottom), slice(left, right)), dx - np.float32(x), dy - np.float32(y)

    def _add(self, where: Part, amount: npt.NDArray[np.floating], colour: Colour) -> None:
        self.density[where] += amount[..., np.newaxis] * np.asarray(colour, np.float32)

    def _texture(self, scale: float) -> Plane:
        """Return noise of mean 0 and deviation 1 whose grains are `scale` of a red cell."""
        sigma = max(0.5, scale * self.cell)
        shrink = max(1, int(sigma / 2))  # coarse noise is made small and enlarged: a wide blur takes seconds
        noise = self.rng.standard_normal((self.height // shrink + 8, self.width // shrink + 8), np.float32)
        small = cv2.GaussianBlur(noise, (0, 0), sigma / shrink)
        large = cv2.resize(small, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_CUBIC)
        noise = np.asarray(large[: self.height, : self.width], np.float32)
        return np.asarray((noise - float(np.mean(noise))) / float(np.std(noise)), np.float32)


def _inside(position: float, size: int) -> int:
    """Return the nearest pixel's index along an axis of that size."""
    return min(max(int(position), 0), size - 1)


def _cover(depth: Plane, softness: float) -> Plane:
    """Return how much of each pixel lies inside, 0 to 1, with an edge `softness` pixels wide."""
    share = np.clip(depth / max(softness, 1.0) + 0.5, 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def _distance(dx: Plane, dy: Plane, a: tuple[float, float], b: tuple[float, float]) -> Plane:
    """Return each point's distance in pixels from the line between a and b."""
    ux, uy = b[0] - a[0], b[1] - a[1]
    share = np.clip(((dx - a[0]) * ux + (dy - a[1]) * uy) / (ux * ux + uy * uy + 1e-6), 0, 1)
    return np.asarray(np.hypot(dx - a[0] - share * ux, dy - a[1] - share * uy), np.float32)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def command(folder: Path) -> None:
    """Write the demo frames into FOLDER."""
    for path in write_demo(folder):
        click.echo(f"{path} {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    run_command(command, "smears")
