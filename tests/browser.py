"""A station with a microscope that shows what a test puts under it, and a browser that looks at its page."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from playwright.sync_api import Browser, Page, expect, sync_playwright

from edge_app.bundle import default_bundle_path, open_bundle
from edge_app.cameras.demo import FOLDER, DrawnScene
from edge_app.cameras.reading import LiveCamera
from edge_app.classifier import Classifier
from edge_app.errors import CameraError
from edge_app.preprocessing import Image
from edge_app.station import Station
from edge_app.store import MIN_FREE_BYTES, open_store
from edge_app.web.app import create_app
from edge_app.web.server import Server

LEUKAEMIC, HEALTHY = FOLDER / "leukaemic-1.jpg", FOLDER / "healthy-1.jpg"
DESK, TOUCH, PHONE = (1440, 900), (800, 480), (390, 844)  # pixels, of the screens the page is made for


class Microscope(DrawnScene):
    """A simulated camera of `size` pixels, whose slide can be changed and whose plug can be pulled."""

    def __init__(self) -> None:
        super().__init__([LEUKAEMIC], fps=8, rounds=None)
        self.slide = LEUKAEMIC
        self.size = (640, 480)
        self.plugged = True

    def connect(self) -> "Microscope":
        if not self.plugged:
            raise CameraError("the plug is pulled")
        return self

    def grab(self) -> bool:
        self.connect()
        self.source = str(self.slide)
        return True

    def retrieve(self) -> Image:
        return np.asarray(cv2.resize(super().retrieve(), self.size, interpolation=cv2.INTER_AREA), np.uint8)


@contextmanager
def running(folder: Path, microscope: Microscope, **options: Any) -> Iterator[tuple[Station, str]]:
    """Run a station and its server, and yield the station and its page's address.

    options: bundle, um_per_pixel, min_free_bytes, and those of `create_app`.
    """
    with ExitStack() as stack:
        store = stack.enter_context(
            open_store(folder / "records", device="bench", min_free_bytes=options.pop("min_free_bytes", MIN_FREE_BYTES))
        )
        station = Station(
            lambda on_event: LiveCamera(
                "microscope", microscope.connect, open_timeout_s=3, read_timeout_s=2, on_event=on_event
            ),
            lambda bundle: Classifier(open_bundle(bundle), threads=1),
            options.pop("bundle", default_bundle_path()),
            source="microscope",
            store=store,
            um_per_pixel=options.pop("um_per_pixel", 0.2),
            consensus_frames=5,
            consensus_needed=3,
            read_timeout_s=2,
        )
        stack.enter_context(station)
        server = stack.enter_context(Server(create_app(station, **options), port=0))
        yield station, server.url


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium."""
    path = shutil.which("chromium")
    assert path, "the page is tested in a browser: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def looking(browser: Browser, url: str, size: tuple[int, int] = DESK, **options: Any) -> Iterator[Page]:
    """Open the page in a browser of its own; fails when a script fails or the page breaks its security policy."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    page = context.new_page()
    page.set_default_timeout(8_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda message: problems.append(message.text) if "Content Security Policy" in message.text else None,
    )
    page.goto(url)
    yield page
    context.close()
    assert not problems


def live(page: Page) -> Page:
    """Wait until the page shows a picture and an answer."""
    expect(page.locator("#state")).to_have_text("Live")
    expect(page.locator("#pips i")).to_have_count(5)
    expect(page.locator("#frame-label")).not_to_have_text("–")
    return page


def until(page: Page, condition: Callable[[], bool]) -> None:
    """Wait until something that the page does not show has come about."""
    for _ in range(160):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not come about")


def go_to(page: Page, view: str) -> Page:
    """Choose a view as a person does."""
    page.get_by_role("navigation").get_by_role("link", name=view).click()
    return page


def blurred(path: Path) -> Path:
    """Write the leukaemic field out of focus."""
    return written(path, cv2.GaussianBlur(np.asarray(cv2.imread(str(LEUKAEMIC)), np.uint8), (0, 0), 9))


def written(path: Path, image: cv2.typing.MatLike | Image) -> Path:
    assert cv2.imwrite(str(path), image)
    return path
