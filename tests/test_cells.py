from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_app.cells import find_cells
from edge_app.images import read_image
from edge_app.preprocessing import Image, Preprocessing, stain_mask

MATCH_PX = 100  # about half the width of a blast in an ALL-IDB1 image of 2592 pixels


def discs(*centres: tuple[int, int], radius: int = 40, shape: tuple[int, int] = (960, 1280)) -> Image:
    mask = np.zeros(shape, np.uint8)
    for centre in centres:
        cv2.circle(mask, centre, radius, 255, -1)
    return mask


def test_separate_cells_are_found_where_they_are() -> None:
    cells = sorted(find_cells(discs((200, 300), (900, 700))), key=lambda cell: cell.x)
    assert [(round(cell.x, -1), round(cell.y, -1)) for cell in cells] == [(200, 300), (900, 700)]
    for cell in cells:
        assert cell.area == pytest.approx(np.pi * 40**2, rel=0.1)
        left, top, width, height = cell.box
        assert left < cell.x < left + width
        assert top < cell.y < top + height
        assert width == pytest.approx(81, abs=8)


def test_touching_cells_are_counted_apart() -> None:
    cells = find_cells(discs((300, 300), (370, 300), (440, 310), (1000, 800)))
    assert len(cells) == 4
    assert sum(cell.area for cell in cells) == pytest.approx(
        np.count_nonzero(discs((300, 300), (370, 300), (440, 310), (1000, 800))), rel=0.05
    )


def test_debris_is_no_cell() -> None:
    mask = discs((400, 400), (800, 500))
    mask |= discs((100, 100), (640, 800), radius=9)
    assert len(find_cells(mask)) == 2


@pytest.mark.parametrize("shape", [(1, 1), (3, 2000), (224, 224), (1944, 2592)])
def test_an_empty_mask_of_any_size_has_no_cells(shape: tuple[int, int]) -> None:
    assert find_cells(np.zeros(shape, np.uint8)) == []


def test_a_mask_that_is_stained_all_over_is_no_error() -> None:
    assert len(find_cells(np.full((480, 640), 255, np.uint8))) >= 1


def test_the_blasts_of_all_idb1_are_found(smears: Path) -> None:
    """Recall of the blast centroids; healthy cells are not marked there, so there is no precision to measure."""
    found = marked = 0
    for points in sorted((smears / "all_idb1" / "xyc").glob("*_1.xyc")):
        centroids = [tuple(map(float, line.split())) for line in points.read_text().splitlines() if line.strip()]
        frame = read_image(smears / "all_idb1" / "im" / f"{points.stem}.jpg")
        cells = [(cell.x, cell.y) for cell in find_cells(stain_mask(frame, Preprocessing()))]
        limit = MATCH_PX * frame.shape[1] / 2592
        for x, y in centroids:
            near = [cell for cell in cells if np.hypot(cell[0] - x, cell[1] - y) < limit]
            marked += 1
            if near:
                found += 1
                cells.remove(min(near, key=lambda cell: float(np.hypot(cell[0] - x, cell[1] - y))))
    assert marked > 400
    assert found / marked > 0.97
