import csv
import json
from collections.abc import Iterator
from functools import partial
from io import StringIO
from pathlib import Path
from zipfile import ZipFile

import pytest
from playwright.sync_api import Browser, Download, Locator, Page, expect

from edge_app.manifest import INTENDED_USE
from edge_app.station import Station
from edge_app.store import Filter, Record, Session, Store
from tests.browser import HEALTHY, LEUKAEMIC, Microscope, chromium, go_to, looking, running, until
from tests.store_verdicts import a_verdict, picture

HOSTILE = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>"


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


@pytest.fixture(scope="module")
def store(started: tuple[Station, str]) -> Store:
    store = started[0].store
    assert store is not None
    return store


@pytest.fixture(scope="module")
def opened(browser: Browser, started: tuple[Station, str]) -> Iterator[Page]:
    with looking(browser, started[1] + "#records") as page:
        expect(page.locator("#state")).to_have_text("Live")
        yield page


@pytest.fixture
def page(opened: Page, store: Store) -> Page:
    """The records' view, without a record or a filter."""
    for record in store.find(Filter()):
        store.delete(record.id)
    if opened.locator("dialog[open]").count():
        opened.keyboard.press("Escape")
    opened.get_by_role("button", name="Clear").click()
    expect(opened.locator("#count")).to_have_text("0 records")
    return opened


@pytest.fixture
def two(page: Page, started: tuple[Station, str], microscope: Microscope) -> dict[str, Record]:
    """A leukaemic and a healthy field, kept on slides of their own."""
    station, _ = started
    records = {}
    for label, slide in (("Cancer", LEUKAEMIC), ("Normal", HEALTHY)):
        microscope.slide = slide
        station.session = Session(slide=f"slide of {label}", operator="Ana")
        until(page, partial(_shows, station, label))
        records[label] = station.capture()
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#count")).to_have_text("2 records")
    return records


def _shows(station: Station, label: str) -> bool:
    judged = station.judged.value
    return judged is not None and judged.verdict.judgement.label == label


def saved(download: Download, folder: Path) -> Path:
    path = folder / download.suggested_filename
    download.save_as(path)
    return path


def field(page: Page, name: str) -> Locator:
    return page.locator(f"#filters [name={name}]")


def cards(page: Page, text: str = "") -> int:
    return page.locator(".record-card", has_text=text).count()


def test_own_label_and_comment_are_saved_beside_the_models(page: Page, two: dict[str, Record], store: Store) -> None:
    page.locator(".record-card", has_text="slide of Cancer").click()
    sheet = page.get_by_role("dialog")
    expect(sheet.get_by_role("heading")).to_have_text("Cancer > 99.9 %")
    sheet.get_by_role("button", name="Normal").click()
    sheet.get_by_label("Comment").fill("reactive\nlymphocytes")
    sheet.get_by_role("button", name="Save").click()
    expect(page.locator(".record-card .own")).to_have_text("Normal")
    record = store.get(two["Cancer"].id)
    assert (record.label, record.own_label, record.comment) == ("Cancer", "Normal", "reactive\nlymphocytes")


def test_the_image_is_shown_with_and_without_what_was_found(page: Page, two: dict[str, Record]) -> None:
    page.locator(".record-card", has_text="slide of Cancer").click()
    image = page.locator("#record-image")

    def green() -> float:
        levels = image.evaluate(
            "async image => { await image.decode();"
            "const canvas = new OffscreenCanvas(640, 480).getContext('2d');"
            "canvas.drawImage(image, 0, 0);"
            "const { data } = canvas.getImageData(0, 0, 640, 480);"
            "const isGreen = (level, i) => i % 4 === 1 && level > data[i - 1] + 50 && level > data[i + 1] + 50;"
            "return data.filter(isGreen).length; }"
        )
        return float(levels)

    assert green() > 100
    page.get_by_text("Outlines and cells").click()
    expect(image).to_have_attribute("src", f"/api/records/{two['Cancer'].id}/image?overlay=false")
    assert green() == 0


def test_records_are_filtered_by_verdict_own_label_slide_text_and_day(
    page: Page, two: dict[str, Record], store: Store
) -> None:
    store.annotate(two["Normal"].id, "Cancer", "look again")
    count = page.locator("#count")
    for name, value, found in (("verdict", "Cancer", "Cancer"), ("own_label", "Cancer", "Normal")):
        field(page, name).select_option(label=value)
        expect(count).to_have_text("1 record")
        assert cards(page, f"slide of {found}") == 1
        page.get_by_role("button", name="Clear").click()
        expect(count).to_have_text("2 records")
    for name, value, expected in (  # each finds another number than the one before
        ("slide", "slide of Cancer", "1 record"),
        ("text", "nowhere", "0 records"),
        ("text", "AGAIN", "1 record"),
        ("since", "2999-01-01", "0 records"),
        ("until", "2999-01-01", "2 records"),
    ):
        field(page, name).fill(value)
        expect(count).to_have_text(expected)
        field(page, name).fill("")


def test_a_deleted_record_comes_back_with_undo(page: Page, two: dict[str, Record], store: Store) -> None:
    page.locator(".record-card", has_text="slide of Normal").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#count")).to_have_text("1 record")
    assert store.get(two["Normal"].id).deleted_at
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#count")).to_have_text("2 records")
    assert store.get(two["Normal"].id).deleted_at is None


def test_what_is_filtered_is_exported_as_csv_and_zip(page: Page, two: dict[str, Record], tmp_path: Path) -> None:
    field(page, "slide").fill("slide of Cancer")
    expect(page.locator("#count")).to_have_text("1 record")
    with page.expect_download() as table:
        page.get_by_role("link", name="CSV").click()
    rows = list(csv.DictReader(StringIO(saved(table.value, tmp_path).read_text("utf-8-sig"))))
    assert [row["id"] for row in rows] == [two["Cancer"].id]
    with page.expect_download() as archive:
        page.get_by_role("link", name="ZIP").click()
    with ZipFile(saved(archive.value, tmp_path)) as opened:
        names = opened.namelist()
        manifest = json.loads(opened.read(next(name for name in names if name.endswith("manifest.json"))))
        image = next(name for name in names if two["Cancer"].id in name)
        assert not any(two["Normal"].id in name for name in names)
        assert two["Cancer"].image_sha256 in json.dumps(manifest)
        assert INTENDED_USE in json.dumps(manifest)
        assert len(opened.read(image)) == two["Cancer"].image_bytes


def test_more_records_than_a_page_holds_are_shown_page_by_page(page: Page, store: Store) -> None:
    for number in range(26):
        label = "Cancer" if number % 2 else None
        store.keep(a_verdict(label=label), picture(), session=Session(), trigger="auto", monotonic_ns=number)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".record-card")).to_have_count(24)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".record-card")).to_have_count(26)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()
    field(page, "verdict").select_option(label="Indeterminate")
    expect(page.locator("#count")).to_have_text("13 records")
    expect(page.locator(".record-card").first).to_contain_text("Indeterminate (out of focus)")


def test_markup_in_what_people_write_is_shown_as_text(
    page: Page, two: dict[str, Record], store: Store, started: tuple[Station, str]
) -> None:
    store.annotate(two["Cancer"].id, HOSTILE, HOSTILE)
    started[0].session = Session(slide=HOSTILE, note=HOSTILE)
    page.reload()
    expect(page.locator(".record-card .own")).to_have_text(HOSTILE)
    page.locator(".record-card .own").click()
    expect(page.get_by_role("dialog").get_by_label("Comment")).to_have_value(HOSTILE)
    page.keyboard.press("Escape")
    go_to(page, "Live")
    expect(page.locator("#session-text")).to_have_text(HOSTILE)
    assert page.title() == "Leukoscope"
    assert page.locator("script:not([src]), img[src=x]").count() == 0
    go_to(page, "Records")
