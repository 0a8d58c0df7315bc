import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from edge_app.bundle import write_bundle
from edge_app.station import Station
from tests.browser import LEUKAEMIC, Microscope, chromium, go_to, live, looking, running, until, written
from tests.bundles import tiny_bundle
from tests.tiny_models import onnx_model

TOKEN = "one-that-only-these-tests-know"  # noqa: S105


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def microscope() -> Microscope:
    return Microscope()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a second bundle, a network that was not certified, and a broken one."""
    folder = tmp_path_factory.mktemp("models")
    model = onnx_model()
    gate = tiny_bundle(model).manifest.gate.replace(certified=False)
    write_bundle(folder / "tiny.leuko", tiny_bundle(model, gate=gate))
    (folder / "broken.leuko").mkdir()
    return folder


@pytest.fixture(scope="module")
def started(
    microscope: Microscope, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Station, str]]:
    with running(tmp_path_factory.mktemp("page"), microscope, bundle_folder=models, token=TOKEN) as parts:
        yield parts


@pytest.fixture
def station(started: tuple[Station, str], microscope: Microscope) -> Station:
    microscope.slide = LEUKAEMIC
    return started[0]


@pytest.fixture(scope="module")
def opened(browser: Browser, started: tuple[Station, str]) -> Iterator[Page]:
    with looking(browser, started[1]) as page:
        yield live(logged_in(page))


@pytest.fixture
def page(opened: Page) -> Page:
    """The settings' view."""
    go_to(opened, "Live")
    return go_to(opened, "Settings")


def logged_in(page: Page) -> Page:
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    return page


def test_nothing_is_shown_before_the_right_token_is(browser: Browser, started: tuple[Station, str]) -> None:
    _, url = started
    with looking(browser, url) as page:
        expect(page).to_have_url(url + "login")
        page.get_by_label("Token").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("This is not the token")
        live(logged_in(page))
        go_to(page, "Settings").get_by_role("button", name="Log out").click()
        expect(page).to_have_url(url + "login")
        page.goto(url)
        expect(page).to_have_url(url + "login")


def test_the_model_is_switched_and_the_page_says_that_it_is_not_certified(page: Page, station: Station) -> None:
    models = page.locator("#models button")
    expect(models).to_have_count(3)
    expect(page.locator("#models [aria-pressed=true]")).to_contain_text("yolo11n-scene-tflite-int8")
    expect(page.locator("#models button", has_text="broken")).to_be_disabled()
    page.locator("#models button", has_text="tiny").click()
    expect(page.locator("#models [aria-pressed=true]")).to_contain_text("not certified")
    assert station.classifier.manifest.name == "tiny"
    expect(page.locator("#notices")).to_contain_text("tiny is not certified")
    expect(page.locator("#threshold-card")).to_be_hidden()  # it names the likeliest class
    go_to(page, "Live")
    expect(page.locator("#answer-label")).to_have_text(re.compile("|".join(station.classifier.manifest.classes)))
    go_to(page, "Settings")
    page.locator("#models button", has_text="yolo11n").click()
    expect(page.locator("#notices")).not_to_contain_text("certified")
    assert station.classifier.manifest.name == "yolo11n-scene-tflite-int8"
    go_to(page, "Events")
    expect(page.locator("#event-list")).to_contain_text("the model is now tiny")


def test_the_threshold_is_moved_and_put_back(page: Page, station: Station) -> None:
    slider = page.get_by_role("slider", name="Decision threshold")
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#threshold-value")).to_have_text("54 %")
    until(page, lambda: station.classifier.decision.threshold == pytest.approx(0.54))
    expect(page.locator("#notices")).to_contain_text("The threshold is 54 %")
    box = slider.bounding_box()
    assert box is not None
    x, y = box["x"] + 0.54 * box["width"], box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for there in (x + 60, x):  # pulled away and put back: nothing was changed
        page.mouse.move(there, y)
    page.mouse.up()
    page.get_by_role("button", name="Use the model's own").click()
    expect(page.locator("#threshold-value")).to_have_text("50 %")
    until(page, lambda: station.classifier.decision.threshold == 0.5)
    expect(page.locator("#notices")).not_to_contain_text("threshold")


def test_the_threshold_stays_where_it_was_moved_until_the_device_has_answered(page: Page, station: Station) -> None:
    slider = page.get_by_role("slider", name="Decision threshold")
    held: list[Route] = []
    page.route("**/api/threshold", lambda route: held.append(route))
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    until(page, lambda: len(held) > 0)
    held.pop(0).continue_()
    until(page, lambda: station.classifier.decision.threshold == pytest.approx(0.51))
    page.wait_for_timeout(500)  # for what follows from this answer
    expect(page.locator("#threshold-value")).to_have_text("53 %")
    page.unroute("**/api/threshold")  # which lets those go that are held
    until(page, lambda: station.classifier.decision.threshold == pytest.approx(0.53))
    page.get_by_role("button", name="Use the model's own").click()
    until(page, lambda: station.classifier.decision.threshold == 0.5)
    expect(page.locator("#threshold-value")).to_have_text("50 %")


def test_the_cameras_own_controls_are_offered_and_locked_values_can_be_set(page: Page, microscope: Microscope) -> None:
    gain = page.get_by_role("spinbutton", name="Gain", exact=True)
    expect(gain).to_be_disabled()
    expect(page.locator(".control", has=gain)).to_contain_text("set by auto exposure")
    page.get_by_text("Auto exposure", exact=True).click()
    expect(gain).to_be_enabled()
    gain.fill("2.5")
    gain.press("Enter")
    until(page, lambda: {each.name: each.value for each in microscope.controls()}["gain"] == 2.5)
    exposure = page.get_by_role("slider", name="Exposure")
    exposure.focus()
    exposure.press("Home")
    until(page, lambda: {each.name: each.value for each in microscope.controls()}["exposure_us"] == 100)
    expect(page.get_by_role("spinbutton", name="Exposure")).to_have_value("100")
    gain.fill("99")
    gain.press("Enter")
    expect(page.locator("#toast")).to_contain_text("Gain can't be 99")
    page.get_by_role("spinbutton", name="Exposure").fill("")
    page.get_by_role("spinbutton", name="Exposure").press("Enter")
    expect(page.get_by_role("spinbutton", name="Exposure")).to_have_value("100")
    expect(page.locator("#toast")).to_contain_text("Gain can't be 99")
    page.get_by_text("Auto exposure (locked)").click()
    expect(gain).to_be_disabled()


def test_white_balance_is_measured_on_an_empty_field_only(
    page: Page, microscope: Microscope, station: Station, tmp_path: Path
) -> None:
    button = page.get_by_role("button", name="Measure white balance on an empty field")
    button.click()
    expect(page.locator("#toast")).to_contain_text("field")
    expect(page.get_by_role("switch", name="Auto white balance")).to_be_checked()
    microscope.slide = written(tmp_path / "empty.png", np.full((960, 1280, 3), (190, 200, 210), np.uint8))
    until(page, lambda: _level(station) == 190)
    button.click()
    expect(page.locator("#toast")).to_contain_text("White balance measured and locked")
    expect(page.get_by_role("switch", name="Auto white balance (locked)")).not_to_be_checked()
    until(page, lambda: _level(station) == 200)


def _level(station: Station) -> int:
    """The blue level of the frame at hand."""
    frame = station.frames.value
    return int(frame.image[0, 0, 0]) if frame else 0
