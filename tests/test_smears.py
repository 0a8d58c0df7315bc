from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_app.cameras.demo import FOLDER
from edge_app.errors import InputError
from edge_app.images import read_image
from edge_app.preprocessing import Image, Preprocessing, stain_mask
from edge_app.slides import Kind, Look
from edge_app.smears import DEMO_SEEDS, Smear, draw_smear, write_demo

KINDS: tuple[Kind, ...] = ("healthy", "leukaemic")
LOOKS: tuple[Look, ...] = ("bright", "dim")


def small(seed: int, kind: Kind, look: Look = "bright") -> Smear:
    return draw_smear(seed, kind=kind, look=look, height=480, width=640)


def stained(image: Image) -> np.ndarray:
    return stain_mask(image, Preprocessing()) > 0


def disc(smear: Smear, index: int, share: float) -> np.ndarray:
    """The pixels within a share of a cell's radius."""
    y, x = np.ogrid[: smear.image.shape[0], : smear.image.shape[1]]
    cell = smear.nucleated[index]
    return np.asarray(np.hypot(x - cell.x, y - cell.y) < share * cell.radius)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_draws_the_same_field_and_another_seed_does_not(kind: Kind) -> None:
    first, again, other = small(3, kind), small(3, kind), small(4, kind)
    assert np.array_equal(first.image, again.image)
    assert first.nucleated == again.nucleated
    assert not np.array_equal(first.image, other.image)
    assert first.image.shape == (480, 640, 3)
    assert first.image.dtype == np.uint8


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("seed", range(4))
def test_every_blast_is_in_the_stain_mask(seed: int, look: Look) -> None:
    smear = small(seed, "leukaemic", look)
    mask = stained(smear.image)
    for index in range(len(smear.nucleated)):
        assert mask[disc(smear, index, 0.7)].mean() > 0.85


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("seed", range(4))
def test_every_healthy_cell_has_a_nucleus_in_the_stain_mask(seed: int, look: Look) -> None:
    smear = small(seed, "healthy", look)
    mask = stained(smear.image)
    for index in range(len(smear.nucleated)):
        assert mask[disc(smear, index, 1.0)].mean() > 0.1


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("kind", KINDS)
def test_red_cells_and_background_stay_out_of_the_stain_mask(kind: Kind, look: Look) -> None:
    for seed in range(4):
        smear = small(seed, kind, look)
        rest = ~np.any([disc(smear, k, 1.3) for k in range(len(smear.nucleated))], axis=0)
        assert stained(smear.image)[rest].mean() < 0.006  # platelets and shreds of crushed cells


@pytest.mark.parametrize("look", LOOKS)
def test_leukaemic_fields_hold_more_and_larger_cells(look: Look) -> None:
    healthy = [small(seed, "healthy", look).nucleated for seed in range(6)]
    leukaemic = [small(seed, "leukaemic", look).nucleated for seed in range(6)]
    assert np.mean([len(cells) for cells in leukaemic]) > np.mean([len(cells) for cells in healthy])
    area = [np.mean([c.radius**2 for cells in fields for c in cells]) for fields in (healthy, leukaemic)]
    assert area[1] > area[0]


def test_a_dim_healthy_field_holds_one_to_three_cells() -> None:
    assert {len(small(seed, "healthy", "dim").nucleated) for seed in range(12)} <= {1, 2, 3}


def test_red_cells_of_half_the_width_leave_room_for_more_nucleated_cells_of_half_the_radius() -> None:
    wide = draw_smear(1, kind="leukaemic", height=480, width=640, cell_px=40).nucleated
    narrow = draw_smear(1, kind="leukaemic", height=480, width=640, cell_px=20).nucleated
    assert len(narrow) > 2 * len(wide)
    assert np.mean([c.radius for c in narrow]) == pytest.approx(np.mean([c.radius for c in wide]) / 2, rel=0.15)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (200, 1000), (333, 97)])
def test_any_frame_size_is_drawn(height: int, width: int) -> None:
    smear = draw_smear(0, kind="healthy", height=height, width=width, cell_px=12)
    assert smear.image.shape == (height, width, 3)
    assert all(0 <= c.x < width and 0 <= c.y < height for c in smear.nucleated)


@pytest.mark.parametrize(
    "wrong", [{"seed": -1}, {"height": 63}, {"width": 10}, {"cell_px": 2.0}, {"cell_px": 5000.0}, {"cell_px": np.nan}]
)
def test_what_cant_be_drawn_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="at least 64"):
        draw_smear(**{"seed": 0, "kind": "healthy", **wrong})  # type: ignore[arg-type]


def test_the_shipped_frames_are_the_generators() -> None:
    names = {f"{kind}-{number}.jpg" for kind in KINDS for number in range(1, 5)}
    assert {path.name for path in FOLDER.glob("*.jpg")} == names
    assert sum(path.stat().st_size for path in FOLDER.glob("*.jpg")) < 1_600_000
    for kind in KINDS:
        shipped = read_image(FOLDER / f"{kind}-2.jpg")
        drawn = draw_smear(DEMO_SEEDS[kind][1], kind=kind).image
        assert shipped.shape == drawn.shape == (960, 1280, 3)
        assert cv2.norm(shipped, drawn, cv2.NORM_L1) / drawn.size < 2.5  # what JPEG takes away


def test_a_folder_that_cant_be_written_to_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be written"):
        write_demo(tmp_path / "missing")


@pytest.mark.parametrize(("kind", "classes"), [("healthy", ("Benign",)), ("leukaemic", ("Early", "Pre", "Pro"))])
def test_drawn_fields_have_the_stain_of_real_ones(smears: Path, kind: Kind, classes: tuple[str, ...]) -> None:
    """Share, green and red of what is stained lie, on average, within the middle nine tenths of real images."""
    paths = [path for name in classes for path in sorted((smears / "all" / "Original" / name).glob("*.jpg"))[::20]]
    real = np.array([_stain(read_image(path)) for path in paths])
    drawn = np.mean([_stain(small(seed, kind).image) for seed in range(8)], axis=0)
    low, high = np.percentile(real, [5, 95], axis=0)
    assert np.all(low < drawn), (low, drawn)
    assert np.all(drawn < high), (drawn, high)


def _stain(image: Image) -> tuple[float, float, float]:
    mask = stained(image)
    _, green, red = image[mask].mean(axis=0) if mask.any() else (0, 0, 0)
    return float(mask.mean()), float(green), float(red)
