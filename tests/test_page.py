import os
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from edge_app.bundle import default_bundle_path, open_bundle, write_bundle
from edge_app.images import read_image
from edge_app.manifest import INTENDED_USE
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
    until,
    written,
)
from tests.bundles import with_scale


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
def station(started: tuple[Station, str]) -> Station:
    return started[0]


@pytest.fixture(scope="module")
def opened(browser: Browser, started: tuple[Station, str]) -> Iterator[Page]:
    with looking(browser, started[1]) as page:
        yield page


@pytest.fixture
def page(opened: Page, microscope: Microscope) -> Page:
    """The live view of the leukaemic field."""
    microscope.slide = LEUKAEMIC
    go_to(live(opened), "Live")
    expect(opened.locator("#answer-label")).to_have_text("Cancer")
    return opened


def kept(station: Station) -> int:
    assert station.store is not None
    return station.store.count(Filter())


def drawn(page: Page) -> float:
    """The mean level of the picture on the canvas."""
    levels = page.locator("#picture").evaluate(
        "canvas => { const { width, height } = canvas;"
        "const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);"
        "return data.filter((_, i) => i % 4 < 3).reduce((sum, each) => sum + each, 0) / (3 * width * height); }"
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
    assert page.locator("#picture").evaluate("canvas => [canvas.width, canvas.height]") == [640, 480]
    assert drawn(page) > 100
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
    assert float(width or 0) == pytest.approx(100)  # 0.2 µm a pixel


def test_a_frame_of_several_fields_shows_each_with_its_answer_and_the_measured_scale(
    browser: Browser, tmp_path: Path
) -> None:
    bundle = tmp_path / "scaled.leuko"
    write_bundle(bundle, with_scale(open_bundle(default_bundle_path())))
    microscope = Microscope()
    tiles = [cv2.resize(read_image(path), (640, 480), interpolation=cv2.INTER_AREA) for path in (HEALTHY, LEUKAEMIC)]
    microscope.slide = written(tmp_path / "two.png", np.hstack(tiles))
    microscope.size = (1280, 480)
    with (
        running(tmp_path, microscope, bundle=bundle, um_per_pixel=None) as (station, url),
        looking(browser, url) as page,
    ):
        live(page)
        expect(page.locator("#frame-fields")).to_contain_text("1 of 2 fields Cancer; worst")
        expect(page.locator("#fields g")).to_have_count(2)
        expect(page.locator("#fields g.positive.worst text")).to_contain_text("Cancer")
        expect(page.locator("#fields g.negative text")).to_contain_text("Normal")
        page.get_by_role("button", name="Fields").click()
        expect(page.locator("#fields")).to_be_hidden()
        until(page, lambda: station.ruler.steady)
        expect(page.locator("#readings")).to_contain_text("µm a pixel, measured")
        go_to(page, "Events")
        expect(page.locator("#event-list")).to_contain_text("a frame is cut into 2 fields")
        go_to(page, "Settings")
        expect(page.locator("#scale-hint")).to_contain_text("as measured in the first frames")
        page.get_by_role("button", name="Measure the red cells again").click()
        expect(page.locator("#toast")).to_contain_text("measured again")


def test_capture_by_button_and_by_space_keeps_records_and_undo_takes_one_back(page: Page, station: Station) -> None:
    before = kept(station)
    page.get_by_role("button", name="Capture").click()
    expect(page.locator("#toast")).to_contain_text("Kept: Cancer")
    assert kept(station) == before + 1
    page.keyboard.press(" ")
    until(page, lambda: kept(station) == before + 2)
    page.get_by_role("button", name="Undo").click()
    until(page, lambda: kept(station) == before + 1)


def test_the_session_goes_with_the_records_and_space_is_a_space_while_typing(page: Page, station: Station) -> None:
    before = kept(station)
    page.get_by_role("button", name="Name the slide").click()
    sheet = page.get_by_role("dialog")
    sheet.get_by_label("Slide").fill("S-2041")
    sheet.get_by_label("Operator").press_sequentially("Ana Lima")
    sheet.get_by_role("button", name="Save").click()
    expect(page.locator("#session-text")).to_have_text("S-2041 · Ana Lima")
    assert kept(station) == before
    page.keyboard.press(" ")
    expect(page.locator("#toast")).to_contain_text("slide S-2041")
    assert station.store is not None
    record = station.store.find(Filter(), 1)[0]
    assert (record.slide, record.operator, record.trigger) == ("S-2041", "Ana Lima", "button")


def test_each_steady_field_is_captured_once_when_that_is_switched_on(
    page: Page, station: Station, microscope: Microscope
) -> None:
    before = kept(station)
    switch = page.get_by_role("switch", name="Capture each steady field")
    page.get_by_text("Capture each steady field").click()
    expect(switch).to_be_checked()
    until(page, lambda: kept(station) == before + 1)
    microscope.slide = HEALTHY
    until(page, lambda: kept(station) == before + 2)
    page.get_by_text("Capture each steady field").click()
    expect(switch).not_to_be_checked()
    assert not station.auto_capture


@pytest.mark.parametrize("size", [PHONE, TOUCH, DESK], ids=["phone", "touch", "desk"])
def test_what_matters_is_seen_without_scrolling_on_every_screen(
    browser: Browser, started: tuple[Station, str], size: tuple[int, int]
) -> None:
    with looking(browser, started[1], size, has_touch=True) as page:
        live(page)
        for part in ("#picture", "#answer", "#focus", "#capture", ".research", ".tabs"):
            expect(page.locator(part)).to_be_in_viewport(ratio=0.99)
        for view in ("Live", "Records", "Settings", "Events"):
            go_to(page, view)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        small = "[...document.querySelectorAll('button, .button, .tabs a, input, select')]"
        small += ".filter(each => each.checkVisibility()).filter(each => each.getBoundingClientRect().height < 40)"
        go_to(page, "Live")
        assert page.evaluate(f"{small}.filter(each => each.type !== 'checkbox').map(each => each.outerHTML)") == []


def test_dark_follows_the_device_and_the_switch_is_remembered(browser: Browser, started: tuple[Station, str]) -> None:
    def brightness(page: Page) -> int:
        ground = page.locator(".top").evaluate("each => getComputedStyle(each).backgroundColor")
        return sum(int(level) for level in re.findall(r"\d+", ground)[:3])

    with looking(browser, started[1], color_scheme="dark") as page:
        assert brightness(page) < 200
        page.get_by_role("button", name="Light or dark").click()
        assert brightness(page) > 600
        page.reload()
        assert brightness(page) > 600


def test_a_lost_camera_is_shown_and_comes_back_by_itself(page: Page, microscope: Microscope) -> None:
    microscope.plugged = False
    expect(page.locator("#answer-label")).to_have_text("Camera lost")
    expect(page.locator("#state")).to_have_text("Camera lost")
    expect(page.locator("#stale")).to_have_text(re.compile(r"No picture for \d+ s"))
    expect(page.locator("#announce")).to_contain_text("Camera lost")
    microscope.plugged = True
    expect(page.locator("#stale")).to_be_hidden()
    expect(page.locator("#answer-label")).to_have_text("Cancer")
    go_to(page, "Events")
    expect(page.locator("#event-list")).to_contain_text("the plug is pulled")
    expect(page.locator("#event-list li").first).to_contain_text("is back")


def test_a_full_disk_is_told_and_the_picture_goes_on(browser: Browser, tmp_path: Path) -> None:
    with running(tmp_path, Microscope(), min_free_bytes=2**60) as (_, url), looking(browser, url) as page:
        live(page).get_by_role("button", name="Capture").click()
        expect(page.locator("#notices")).to_contain_text("Recording stopped")
        expect(page.locator("#toast")).to_contain_text("disk")
        expect(page.locator("#stale")).to_be_hidden()
        expect(page.locator("#state")).to_have_text("Live")


def test_a_board_that_is_slowed_down_is_told(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vcgencmd").write_text("#!/bin/sh\necho throttled=0x50001\n")
    (tmp_path / "vcgencmd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with running(tmp_path, Microscope()) as (_, url), looking(browser, url) as page:
        expect(live(page).locator("#notices")).to_contain_text("The board is slowed down: Under-voltage.")
        expect(page.locator("#readings")).to_contain_text("Under-voltage")


def test_a_device_that_was_switched_off_is_told(browser: Browser, tmp_path: Path) -> None:
    with looking(browser, "about:blank") as page:
        with running(tmp_path, Microscope()) as (_, url):
            page.goto(url)
            live(page)
        expect(page.locator("#state")).to_have_text("No connection")
        expect(page.locator("#answer-label")).to_have_text("Connecting")
        page.get_by_role("button", name="Capture").click()
        expect(page.locator("#toast")).to_contain_text("The device does not answer.")


def test_the_page_says_what_it_is_not_for(page: Page) -> None:
    expect(page.locator(".research")).to_have_text(INTENDED_USE)
