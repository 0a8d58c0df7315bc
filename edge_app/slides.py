"""How slides and cells look that `edge_app.smears` draws: figures measured on real smears, per slide and cell type."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["healthy", "leukaemic"]
Look = Literal["bright", "dim"]
Colour = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Slide:
    """How one slide looks under one camera; colours are B, G, R.

    light: values of the empty background (above 255 is over-exposed).
    red_cell, nucleus, cytoplasm, granules: optical densities, in natural units.
    cells: range of the number of nucleated cells in 17.5 × 13.1 red cells (a "bright" field, by default).
    radius: range of a nucleated cell's radius, in red-cell diameters.
    pallor: how much thinner red cells are at their centre, 0 to 1.
    chromatin: contrast of the nuclei's texture.
    smudges: most crushed cells in a field.
    """

    light: Colour
    red_cell: Colour
    nucleus: Colour
    cytoplasm: Colour
    granules: Colour
    cells: tuple[float, float]
    radius: tuple[float, float]
    pallor: float
    chromatin: float = 1.0
    smudges: int = 0


# "bright" is like the over-exposed camera of the ALL image dataset, whose malignant stages differ in colour and count;
# "dim" is like ALL-IDB1.
SLIDES: dict[tuple[Look, Kind], tuple[Slide, ...]] = {
    ("bright", "healthy"): (
        Slide(
            light=(249, 259, 251), red_cell=(0.09, 0.19, 0.19), nucleus=(0.025, 0.72, 0.54),
            cytoplasm=(0.01, 0.20, 0.21), granules=(0.03, 0.34, 0.21), cells=(7, 12), radius=(0.44, 1.2), pallor=0.5,
            chromatin=1.25,
        ),
        Slide(
            light=(248, 258, 247), red_cell=(0.10, 0.24, 0.28), nucleus=(0.02, 0.62, 0.50),
            cytoplasm=(0.01, 0.19, 0.21), granules=(0.03, 0.35, 0.24), cells=(8, 14), radius=(0.44, 1.2), pallor=0.45,
            chromatin=1.25,
        ),
    ),
    ("bright", "leukaemic"): (
        Slide(
            light=(251, 259, 248), red_cell=(0.10, 0.23, 0.26), nucleus=(0.02, 0.66, 0.47),
            cytoplasm=(0.02, 0.32, 0.34), granules=(0.03, 0.20, 0.09), cells=(8, 13), radius=(0.76, 0.95), pallor=0.4,
            smudges=1,
        ),
        Slide(
            light=(250, 258, 243), red_cell=(0.04, 0.29, 0.36), nucleus=(0.01, 0.59, 0.41),
            cytoplasm=(0.01, 0.33, 0.35), granules=(0.03, 0.20, 0.09), cells=(20, 31), radius=(0.62, 1.02), pallor=0.7,
            chromatin=0.5, smudges=3,
        ),
        Slide(
            light=(251, 262, 257), red_cell=(0.07, 0.16, 0.19), nucleus=(0.0, 0.40, 0.16),
            cytoplasm=(0.02, 0.20, 0.21), granules=(0.02, 0.18, 0.05), cells=(5, 10), radius=(0.66, 0.86), pallor=0.75,
            chromatin=0.3, smudges=1,
        ),
    ),
    ("dim", "healthy"): (
        Slide(
            light=(147, 160, 166), red_cell=(0.21, 0.23, 0.13), nucleus=(0.16, 1.02, 0.52),
            cytoplasm=(0.03, 0.18, 0.22), granules=(0.06, 0.26, 0.12), cells=(0.7, 1.9), radius=(0.55, 0.95),
            pallor=0.45,
        ),
    ),
    ("dim", "leukaemic"): (
        Slide(
            light=(152, 162, 166), red_cell=(0.20, 0.23, 0.14), nucleus=(0.20, 1.25, 0.64),
            cytoplasm=(0.05, 0.38, 0.42), granules=(0.10, 0.45, 0.22), cells=(9, 16), radius=(0.66, 0.9), pallor=0.3,
        ),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class CellType:
    """What tells a type of nucleated cell from the others; radii are shares of the cell's own.

    wobble: how irregular its outlines are.
    nucleus: range of the nucleus' radius.
    eccentricity: how far the nucleus lies from the centre.
    strength: range of the stain, where 1 is the slide's own.
    clots: contrast of the chromatin's coarse clots.
    indented: share of the cells whose nucleus is indented, and range of the dent's radius.
    tint: deviation of the nucleus' hue.
    """

    wobble: float
    nucleus: tuple[float, float]
    eccentricity: float
    strength: tuple[float, float]
    clots: float
    indented: tuple[float, float, float]
    tint: float = 0.12


BLAST = CellType(0.05, (0.90, 0.98), 0.025, (0.72, 1.20), 0.033, (0.4, 0.1, 0.35), tint=0.07)
LYMPHOCYTE = CellType(0.035, (0.84, 0.93), 0.05, (1.0, 2.4), 0.066, (0.1, 0.1, 0.2))
MONOCYTE = CellType(0.06, (0.80, 0.93), 0.07, (0.5, 1.1), 0.055, (1.0, 0.3, 0.75))
NEUTROPHIL = CellType(0.03, (0.24, 0.31), 0.0, (0.68, 1.15), 0.06, (0.0, 0.0, 0.0))  # its nucleus: one of the lobes
