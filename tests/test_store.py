import hashlib
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from edge_app.bundle import default_bundle_path, open_bundle
from edge_app.cameras import Frame
from edge_app.classifier import Classifier
from edge_app.errors import StoreError, StoreFullError
from edge_app.images import read_image
from edge_app.judging import Judgement
from edge_app.preprocessing import Image
from edge_app.quality import Quality
from edge_app.smears import draw_smear
from edge_app.store import Filter, Record, Retention, Session, Store, open_store, read_records
from tests.store_postgresql import Server, postgresql_server
from tests.store_verdicts import SimulatedClock, a_verdict, image_files, keep_one, picture

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgresql_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """None for SQLite in the folder, or the URL of an empty PostgreSQL database."""
    if request.param == "sqlite":
        yield None
        return
    server: Server = request.getfixturevalue("server")
    url = server.new_database()
    yield url
    server.drop_database(url)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
def store(tmp_path: Path, database: str | None, clock: SimulatedClock) -> Iterator[Store]:
    with open_store(tmp_path / "records", database=database, device="scope-1", outbox=True, clock=clock) as store:
        yield store


def told(store: Store) -> list[str]:
    """Return the ids of the records that the broker has to hear of."""
    return [json.loads(message.payload)["id"] for message in store.pending()]


def ids(found: list[Record]) -> list[str]:
    return [record.id for record in found]


def test_a_record_says_what_the_verdict_said_and_its_image_has_the_same_pixels(
    store: Store, clock: SimulatedClock
) -> None:
    image, verdict = picture(1), a_verdict(at=clock.now())
    session = Session(slide="A12", operator="Ada", note="first\nsecond")
    kept = store.keep(
        verdict, image, session=session, trigger="auto", monotonic_ns=clock.monotonic_ns(), um_per_pixel=0.25
    )
    assert store.get(kept.id) == kept
    assert store.find() == [kept]
    said, line = kept.as_json(), verdict.as_json()
    line.pop("captured_at")
    assert {name: said[name] for name in line} == line
    assert (kept.device, kept.order, kept.trigger, kept.um_per_pixel) == ("scope-1", 1, "auto", 0.25)
    assert Session(slide=kept.slide, operator=kept.operator, note=kept.note) == session
    assert kept.captured_at == clock.now()
    assert kept.clock_sure
    assert kept.boxes == ((8, 8, 32, 24),)
    assert kept.outline == (((8, 8), (8, 31), (39, 31), (39, 8)),)
    file = store.image_path(kept.id).read_bytes()
    assert (hashlib.sha256(file).hexdigest(), len(file)) == (kept.image_sha256, kept.image_bytes)
    assert np.array_equal(read_image(store.image_path(kept.id)), image)


def test_records_come_newest_first_and_page_by_page(store: Store, clock: SimulatedClock) -> None:
    kept = [keep_one(store, clock=clock) for _ in range(7)]
    wanted = ids(kept)[::-1]
    assert ids(store.find()) == wanted
    first = store.find(limit=3)
    assert ids(first) == wanted[:3]
    assert ids(store.find(limit=3, before=first[-1].id)) == wanted[3:6]
    assert ids(list(store.each())) == wanted
    assert store.count() == 7


def test_ids_and_numbers_go_on_when_the_clock_is_set_back(
    tmp_path: Path, database: str | None, clock: SimulatedClock
) -> None:
    kept = []
    for year in (2027, 2026, 1970, 2027):
        clock.wall = clock.wall.replace(year=year)
        with open_store(tmp_path, database=database, device="scope-1", clock=clock) as store:
            kept += [keep_one(store, clock=clock) for _ in range(2)]
            store.delete(kept[-1].id)
    assert [record.order for record in kept] == list(range(1, 9))
    assert ids(kept) == sorted(ids(kept))
    assert len(set(ids(kept))) == 8


@pytest.fixture
def records_a_to_f(store: Store, clock: SimulatedClock) -> Store:
    """Records a to e, a day apart, and f, which is deleted."""
    sessions = {
        "a": Session(slide="A12", operator="Ada"),
        "b": Session(slide="A12"),
        "c": Session(slide="a12"),
        "d": Session(note="von Zürich"),
        "e": Session(note="100% blasts? 100_"),
        "f": Session(),
    }
    labels = {"a": "Cancer", "b": "Normal", "c": None, "d": "Normal", "e": "Cancer", "f": "Cancer"}
    for name, session in sessions.items():
        kept = keep_one(store, clock=clock, session=session, label=labels[name], source=name)
        if name == "b":
            store.annotate(kept.id, "Blast", "two smudges")
        if name == "f":
            store.delete(kept.id)
        clock.pass_by(days=1)
    return store


def test_filters_find_what_they_name(records_a_to_f: Store) -> None:
    third_day = datetime(2027, 3, 3, 12, tzinfo=UTC)
    for where, wanted in (
        (Filter(), "edcba"),
        (Filter(label="Cancer"), "ea"),
        (Filter(indeterminate=True), "c"),
        (Filter(indeterminate=False), "edba"),
        (Filter(own_label="Blast"), "b"),
        (Filter(slide="A12"), "ba"),
        (Filter(operator="Ada"), "a"),
        (Filter(device="scope-2"), ""),
        (Filter(text="ZÜRICH"), "d"),
        (Filter(text="100%"), "e"),
        (Filter(text="bLASt"), "eb"),
        (Filter(text="smudge"), "b"),
        (Filter(since=third_day), "edc"),
        (Filter(until=third_day), "ba"),
        (Filter(slide="A12", label="Normal"), "b"),
        (Filter(deleted=True), "f"),
    ):
        assert "".join(record.source for record in records_a_to_f.find(where)) == wanted, where
        assert records_a_to_f.count(where) == len(wanted)


def test_a_persons_label_and_comment_stand_beside_the_models(store: Store, clock: SimulatedClock) -> None:
    kept = keep_one(store, clock=clock)
    clock.pass_by(minutes=1)
    changed = store.annotate(kept.id, " Blast ", "sure\r\nof it")
    assert changed == store.get(kept.id)
    assert changed == kept.replace(own_label="Blast", comment="sure\nof it", annotated_at=clock.now())
    assert store.annotate(kept.id, "", "").own_label is None
    for label, comment in (("a\nb", ""), ("x" * 201, ""), ("\0", ""), ("", "\x1b[2J"), ("", "\ud800"), ("\u202e", "")):
        with pytest.raises(StoreError, match="can't be kept"):
            store.annotate(kept.id, label, comment)


def test_delete_is_undone_by_restore(store: Store, clock: SimulatedClock) -> None:
    kept = keep_one(store, clock=clock)
    deleted = store.delete(kept.id)
    assert deleted.deleted_at == clock.now()
    assert (store.find(), store.find(Filter(deleted=True))) == ([], [deleted])
    assert store.image_path(kept.id).exists()
    assert store.restore(kept.id) == kept
    assert store.find() == [kept]


@pytest.mark.parametrize("wrong", ["", "x", "../../etc/passwd", "0" * 32, "\0", "\ud800", "%00", "a" * 10_000])
def test_an_id_that_is_none_is_refused_whatever_it_is(wrong: str, store: Store) -> None:
    for ask in (store.get, store.image_path, store.delete, store.restore, lambda each: store.annotate(each, None, "")):
        with pytest.raises(StoreError, match="there is no record"):
            ask(wrong)
    assert store.count() == 0


def test_dates_of_an_unset_clock_are_corrected_once_it_is_set(
    tmp_path: Path, database: str | None, clock: SimulatedClock
) -> None:
    true_time, clock.wall, clock.is_set = clock.wall, datetime(2025, 1, 1, tzinfo=UTC), False
    folder = tmp_path / "records"
    with open_store(folder, database=database, device="scope-1", clock=clock) as store:
        earlier_boot = keep_one(store, clock=clock)
    clock.boot = "boot-2"
    with open_store(folder, database=database, device="scope-1", outbox=True, clock=clock) as store:
        first = keep_one(store, clock=clock)
        clock.pass_by(minutes=10)
        second = keep_one(store, clock=clock)
        assert not first.clock_sure
        assert store.settle_clock() == 0
        clock.wall, clock.is_set = true_time + timedelta(minutes=10), True
        third = keep_one(store, clock=clock)  # notices by itself
        assert third.clock_sure
        for record, minutes in ((first, 0), (second, 10)):
            now = store.get(record.id)
            assert now.captured_at == true_time + timedelta(minutes=minutes)
            assert now.captured_at_first == record.captured_at
            assert now.clock_sure
        assert store.get(earlier_boot.id) == earlier_boot
        assert set(told(store)) == {first.id, second.id, third.id}


def test_a_frame_from_just_before_the_clock_was_set_gets_its_true_date(store: Store, clock: SimulatedClock) -> None:
    verdict, taken_ns = a_verdict(at=datetime(2025, 1, 1, tzinfo=UTC)), clock.monotonic_ns()
    clock.pass_by(seconds=1)
    kept = store.keep(verdict, picture(), session=Session(), trigger="button", monotonic_ns=taken_ns)
    assert not kept.clock_sure
    assert store.settle_clock() == 1
    assert store.get(kept.id).captured_at == clock.now() - timedelta(seconds=1)


def test_old_records_go_but_never_those_that_a_person_labelled(store: Store, clock: SimulatedClock) -> None:
    old, labelled, commented = (keep_one(store, clock=clock) for _ in range(3))
    store.annotate(labelled.id, "Blast", "")
    store.annotate(commented.id, None, "look again")
    clock.pass_by(days=2)
    young = keep_one(store, clock=clock)
    removed = store.retain(Retention(max_age_days=1))
    assert (removed.records, removed.bytes) == (1, old.image_bytes)
    assert set(ids(store.find())) == {labelled.id, commented.id, young.id}
    assert image_files(store.folder) == {labelled.image, commented.image, young.image}
    assert set(told(store)) == {labelled.id, commented.id, young.id}
    assert store.retain(Retention(max_bytes=0)).records == 1
    assert set(ids(store.find())) == {labelled.id, commented.id}
    assert store.retain(Retention(max_age_days=1, max_bytes=0)).records == 0


def test_above_the_size_deleted_ones_go_first_then_the_oldest(store: Store, clock: SimulatedClock) -> None:
    kept = [keep_one(store, clock=clock, seed=seed) for seed in range(6)]
    store.delete(kept[4].id)
    assert store.retain(Retention(max_bytes=sum(record.image_bytes for record in kept))).records == 0
    size = sum(record.image_bytes for record in (kept[2], kept[3], kept[5]))
    assert store.retain(Retention(max_bytes=size)).records == 3
    assert ids(store.find()) == [kept[5].id, kept[3].id, kept[2].id]
    assert store.find(Filter(deleted=True)) == []


def test_deleted_records_are_purged_after_the_days_of_grace(store: Store, clock: SimulatedClock) -> None:
    early, late = keep_one(store, clock=clock), keep_one(store, clock=clock)
    store.annotate(early.id, "Blast", "")
    store.delete(early.id)
    clock.pass_by(days=20)
    store.delete(late.id)
    clock.pass_by(days=11)
    assert store.retain(Retention()).records == 1
    with pytest.raises(StoreError, match="there is no record"):
        store.restore(early.id)
    assert store.restore(late.id).deleted_at is None
    assert image_files(store.folder) == {late.image}


def test_an_unset_clock_makes_nothing_old(store: Store, clock: SimulatedClock) -> None:
    now, clock.wall, clock.is_set = clock.wall, datetime(2025, 1, 1, tzinfo=UTC), False
    clock.boot = ""  # nothing tells this boot: its dates stay unsure
    kept, deleted = keep_one(store, clock=clock), keep_one(store, clock=clock)
    store.delete(deleted.id)
    rule = Retention(max_age_days=1, deleted_days=1)
    clock.wall = now + 100 * DAY
    assert store.retain(rule).records == 0
    clock.is_set = True
    assert store.retain(rule).records == 0  # when they were taken and deleted nobody knows
    clock.pass_by(days=2)
    assert store.retain(rule).records == 1
    assert ids(store.find()) == [kept.id]


def test_the_broker_hears_of_each_new_and_changed_record(store: Store, clock: SimulatedClock) -> None:
    first, second = keep_one(store, clock=clock), keep_one(store, clock=clock)
    messages = store.pending()
    assert [json.loads(message.payload) for message in messages] == [first.as_json(), second.as_json()]
    assert {message.topic for message in messages} == {"records"}
    store.annotate(first.id, "Blast", "")  # after it was read, before it was sent
    store.sent([message.id for message in messages])
    (message,) = store.pending()
    assert json.loads(message.payload)["own_label"] == "Blast"
    store.sent([message.id])
    store.delete(second.id)
    store.restore(second.id)
    assert told(store) == [second.id]  # one message a record, with its last state
    assert len(store.pending(limit=1)) == 1


def test_messages_wait_while_the_app_is_off(tmp_path: Path, database: str | None) -> None:
    with open_store(tmp_path, database=database, device="scope-1", outbox=True) as store:
        kept = keep_one(store)
    with open_store(tmp_path, database=database, device="scope-1", outbox=True) as store:
        assert told(store) == [kept.id]


def test_without_an_outbox_nothing_piles_up(tmp_path: Path, database: str | None) -> None:
    with open_store(tmp_path, database=database, device="scope-1") as store:
        keep_one(store)
        assert store.pending() == []


def test_devices_share_a_database_and_keep_their_images(tmp_path: Path, server: Server, clock: SimulatedClock) -> None:
    url = server.new_database()
    with (
        open_store(tmp_path / "a", database=url, device="raspberrypi", outbox=True, clock=clock) as one,
        open_store(tmp_path / "b", database=url, device="raspberrypi", outbox=True, clock=clock) as two,
    ):
        mine, other = keep_one(one, clock=clock), keep_one(two, clock=clock)
        assert (mine.order, other.order) == (1, 1)
        assert one.find() == two.find()
        assert one.count() == 2
        assert (told(one), told(two)) == ([mine.id], [other.id])
        assert one.annotate(other.id, "Blast", "").own_label == "Blast"
        with pytest.raises(StoreError, match="look for it on the device raspberrypi"):
            one.image_path(other.id)
        assert one.retain(Retention(max_bytes=0)).records == 1
        assert two.image_path(other.id).exists()
    with open_store(tmp_path / "b", database=url, device="scope-2", clock=clock) as two:
        assert (two.repaired.missing, two.repaired.imported) == (0, 0)
        assert ids(two.find(Filter(device="raspberrypi"))) == [other.id]


def test_a_verdict_is_kept_with_its_own_frame_only(store: Store, clock: SimulatedClock) -> None:
    with pytest.raises(StoreError, match="its own frame"):
        keep_one(store, clock=clock, height=32)
    grey = picture()[..., 0]
    with pytest.raises(StoreError, match="its own frame"):
        store.keep(a_verdict(), grey, session=Session(), trigger="button", monotonic_ns=0)
    for changes in ({"judgement": Judgement("Cancer", {"Cancer": float("nan")}, None)}, {"bundle": "none"}):
        with pytest.raises(StoreError, match="can't be kept"):
            keep_one(store, clock=clock, **changes)
    assert (store.count(), image_files(store.folder)) == (0, set())


def test_what_drivers_and_paths_hold_does_not_stop_a_record(store: Store, clock: SimulatedClock) -> None:
    odd = {"gain": float("inf"), "name": "UVC\0\0", "fps": float("nan"), "iso": 100, "shutter": 0.5}
    kept = keep_one(store, clock=clock, settings=odd, source="/media/\udcff.png")
    assert kept.settings == {"gain": "inf", "name": "UVC\\x00\\x00", "fps": "nan", "iso": 100, "shutter": 0.5}
    assert kept.source == "/media/\\udcff.png"
    assert store.get(kept.id) == kept


def test_too_little_room_is_said_before_anything_is_written(tmp_path: Path, database: str | None) -> None:
    with open_store(tmp_path, database=database, device="scope-1", outbox=True) as store:
        kept = keep_one(store)
        assert store.room() > 0
        store.min_free_bytes = 2**60
        assert store.room() == 0
        with pytest.raises(StoreFullError, match=r"MB are free .* delete records"):
            keep_one(store)
        assert (image_files(tmp_path), told(store)) == ({kept.image}, [kept.id])
        store.annotate(kept.id, "Blast", "")  # what needs no room goes on
        store.min_free_bytes = 0
        assert keep_one(store).order == 2


def test_one_app_keeps_in_a_folder_while_others_read(tmp_path: Path, database: str | None) -> None:
    with open_store(tmp_path, database=database, device="scope-1") as store:
        kept = keep_one(store)
        with pytest.raises(StoreError, match="another Leukoscope keeps records"):
            open_store(tmp_path, database=database, device="scope-1")
        with read_records(tmp_path, database=database) as readers:
            assert readers.find() == [kept]
    with open_store(tmp_path, database=database, device="scope-1") as store:
        assert store.find() == [kept]


def test_threads_keep_read_and_change_at_the_same_time(store: Store) -> None:
    problems: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                kept = keep_one(store)
                store.annotate(kept.id, "Blast", "")
                assert store.find(limit=3)
                store.sent([message.id for message in store.pending(2)])
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert [record.order for record in store.each()] == list(range(20, 0, -1))
    assert len(image_files(store.folder)) == 20


def test_a_server_that_is_killed_loses_nothing_that_was_acknowledged(tmp_path: Path, server: Server) -> None:
    url = server.new_database()
    with open_store(tmp_path, database=url, device="scope-1") as store:
        kept = [keep_one(store)]
        server.kill()
        with pytest.raises(StoreError, match="see that it is there and running"):
            keep_one(store)
        with pytest.raises(StoreError):
            store.find()
        server.start()
        kept += [keep_one(store) for _ in range(3)]
    with open_store(tmp_path, database=url, device="scope-1") as store:
        assert set(ids(kept)) <= set(ids(store.find()))
        assert image_files(tmp_path) == {record.image for record in store.each()}
        assert not any(record.image_missing for record in store.each())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://user:hunter2@host/db", "names 'mysql'"),
        ("sqlite://", "names 'sqlite'"),
        ("hunter2", "can't be read"),
        ("postgresql://", "names 'postgresql'"),
        ("postgresql+psycopg://user:hunter2@127.0.0.1:1/db", "does not answer"),
        ("sqlite:////proc/none/records.sqlite", "can't be used"),
    ],
)
def test_a_database_that_cant_be_used_is_a_sentence_without_its_password(url: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=words) as caught:
        open_store(tmp_path, database=url, device="scope-1")
    assert "hunter2" not in str(caught.value)


def test_a_folder_that_cant_be_used_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="can't be written"):
        open_store(tmp_path / "file" / "records", device="scope-1")
    with pytest.raises(StoreError, match="there are no records"):
        read_records(tmp_path / "none")
    with pytest.raises(StoreError, match="there are no records"):
        read_records(tmp_path)
    assert not (tmp_path / "records.sqlite").exists()
    for device in ("", "a b", "x" * 65, "a/b", "a\n"):
        with pytest.raises(StoreError, match="can't be a device's name"):
            open_store(tmp_path, device=device)
    (tmp_path / "records.sqlite").write_bytes(b"no database, but long enough to look like one" * 100)
    with pytest.raises(StoreError, match="move it away"):
        open_store(tmp_path, device="scope-1")


def test_the_stored_image_gets_the_very_verdict_that_is_stored_with_it(tmp_path: Path) -> None:
    classifier = Classifier(open_bundle(default_bundle_path()), threads=1)
    image = draw_smear(3, kind="leukaemic", height=480, width=640).image

    def frame(image: Image) -> Frame:
        return Frame(image, 0, time.monotonic_ns(), datetime.now(UTC), "drawn", 0.0, {})

    taken = frame(image)
    with open_store(tmp_path, device="scope-1") as store:
        kept = store.keep(
            classifier.judge(taken), image, session=Session(), trigger="auto", monotonic_ns=taken.monotonic_ns
        )
        again = classifier.judge(frame(read_image(store.image_path(kept.id))))
    assert (again.judgement.label, again.judgement.probabilities) == (kept.label, kept.probabilities)
    assert {name: getattr(kept, name) for name in Quality.model_fields} == again.quality.model_dump()
    assert len(again.cells) == kept.cells > 0
