from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from edge_app.station import Station
from edge_app.store import Filter
from tests.browser import (
    DESK,
    HEALTHY,
    LEUKAEMIC,
    PHONE,
    TOUCH,
    Microscope,
    blurred,
    chromium,
    go_to,
    live,
    looking,
    running,
)

CAPTURED = "Kept: "


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def microscope() -> Microscope:
    return Microscope()


@pytest.fixture(scope="module")
def started(microscope: Microscope, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Station, str]]:
    with running(tmp_path_factory.mktemp("page"), microscope) as parts:
        yield parts


@pytest.fixture
def station(started: tuple[Station, str], microscope: Microscope) -> Station:
    microscope.slide = LEUKAEMIC
    return started[0]


@pytest.fixture
def url(station: Station, started: tuple[Station, str]) -> str:
    return started[1]


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    with looking(browser, url) as opened:
        yield live(opened)


def kept(station: Station) -> int:
    assert station.store is not None
    return station.store.count(Filter())


def drawn(page: Page) -> float:
    """The mean level of the picture on the canvas."""
    levels = page.locator("#picture").evaluate(
        "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.filter((_, i) => i % 4 < 3)"
        ".reduce((sum, level) => sum + level, 0) / (canvas.width * canvas.height * 3)"
    )
    return float(levels)


def test_the_answer_follows_what_lies_under_the_microscope(page: Page, microscope: Microscope, tmp_path: Path) -> None:
    answer, frame = page.locator("#answer-label"), page.locator("#frame-label")
    expect(answer).to_have_text("Cancer")
    expect(frame).to_have_text("Cancer")
    expect(page.locator("#frame-probability")).to_contain_text("%")
    microscope.slide = HEALTHY
    expect(page.locator("#moved")).to_be_visible()
    expect(answer).to_have_text("Normal")
    expect(page.locator("#announce")).to_have_text("Normal.")
    microscope.slide = blurred(tmp_path / "blurred.png")
    expect(answer).to_have_text("Indeterminate")
    expect(page.locator("#answer-why")).to_have_text("Out of focus: focus again.")
    expect(page.locator("#focus-text")).to_contain_text("too low")


def test_the_consensus_is_counted_in_blocks_of_which_so_many_are_needed(page: Page) -> None:
    expect(page.locator("#pips i.on")).to_have_count(5)
    expect(page.locator("#pips")).to_have_attribute("aria-label", "5 of 5 frames agree; 3 are needed")


def test_the_picture_is_what_the_camera_sees(page: Page, microscope: Microscope, tmp_path: Path) -> None:
    expect(page.locator("#stale")).to_be_hidden()
    assert page.locator("#picture").evaluate("canvas => [canvas.width, canvas.height]") == [1280, 960]
    assert drawn(page) > 100
    from tests.browser import written

    microscope.slide = written(tmp_path / "dark.png", np.full((960, 1280, 3), 20, np.uint8))
    expect(page.locator("#frame-probability")).to_have_text("too dark")
    assert drawn(page) == pytest.approx(20, abs=2)


def test_outlines_and_boxes_are_switched_on_and_off(page: Page) -> None:
    for button, shape in (("Outlines", "#outlines"), ("Cells", "#boxes")):
        assert page.locator(shape).get_attribute("d")
        expect(page.locator(shape)).to_be_visible()
        page.get_by_role("button", name=button).click()
        expect(page.locator(shape)).to_be_hidden()
    page.reload()
    live(page)
    expect(page.locator("#outlines")).to_be_hidden()
    page.get_by_role("button", name="Outlines").click()
    expect(page.locator("#outlines")).to_be_visible()


def test_the_scale_bar_is_as_long_as_it_says(page: Page) -> None:
    expect(page.locator("#scale text")).to_have_text("20 µm")
    width = page.locator("#scale rect").nth(1).get_attribute("width")
    assert float(width or 0) == pytest.approx(200)  # 0.1 µm a pixel


def test_capture_by_button_and_by_space_keeps_records_and_undo_takes_one_back(page: Page, station: Station) -> None:
    before = kept(station)
    page.get_by_role("button", name="Capture").click()
    expect(page.locator("#toast")).to_contain_text(CAPTURED)
    assert kept(station) == before + 1
    page.keyboard.press(" ")
    expect.soft(page.locator("#toast")).to_contain_text(CAPTURED)
    page.wait_for_function("document.querySelector('#toast').matches(':popover-open')")
    for _ in range(40):
        if kept(station) == before + 2:
            break
        page.wait_for_timeout(50)
    assert kept(station) == before + 2
    page.get_by_role("button", name="Undo").click()
    for _ in range(40):
        if kept(station) == before + 1:
            break
        page.wait_for_timeout(50)
    assert kept(station) == before + 1
