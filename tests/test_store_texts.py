"""Whatever people type: it is refused with a sentence, or comes back as it was."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_app.errors import StoreError
from edge_app.store import Filter, Session, Store, export_csv, open_store
from edge_app.store.images import encode, text_of, with_text
from tests.store_verdicts import keep_one, picture

ANY_TEXT = st.text(st.characters(), max_size=250) | st.sampled_from(["=1+1", "%", "_", "\\", "'; DROP TABLE record;--"])
MOMENTS = st.datetimes(timezones=st.just(UTC)) | st.none()
quick = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(tmp_path_factory.mktemp("records"), device="scope-1", outbox=True, min_free_bytes=0) as store:
        yield store


@given(slide=ANY_TEXT, operator=ANY_TEXT, note=ANY_TEXT)
@quick
def test_a_sessions_texts_are_kept_and_found_or_refused(slide: str, operator: str, note: str, store: Store) -> None:
    try:
        session = Session(slide=slide, operator=operator, note=note)
    except ValidationError:
        return
    assert (session.slide, session.operator) == (slide.strip(), operator.strip())
    kept = keep_one(store, session=session)
    assert store.get(kept.id) == kept
    assert (kept.slide, kept.operator, kept.note) == (session.slide, session.operator, session.note)
    assert kept.id in {record.id for record in store.find(Filter(slide=slide, operator=operator), limit=1000)}
    if operator.strip():
        assert kept.id in {record.id for record in store.find(Filter(text=operator), limit=1000)}
    file = store.image_path(kept.id).read_bytes()
    assert json.loads(text_of(file) or "")["note"] == session.note


@given(label=ANY_TEXT | st.none(), comment=ANY_TEXT)
@quick
def test_a_persons_label_comes_back_in_table_and_message_or_is_refused(
    label: str | None, comment: str, store: Store
) -> None:
    kept = keep_one(store)
    try:
        changed = store.annotate(kept.id, label, comment)
    except StoreError:
        assert store.get(kept.id) == kept
        return
    assert changed.own_label == ((label or "").strip() or None)
    assert store.get(kept.id) == changed
    message = store.pending(10_000)[-1]
    assert json.loads(message.payload) == changed.as_json()
    if changed.own_label:
        assert kept.id in {record.id for record in store.find(Filter(own_label=label), limit=1000)}
    text = io.StringIO(newline="")
    assert export_csv(store, Filter(), text) == store.count()
    text.seek(0)
    row = next(csv.DictReader(text))
    assert row["id"] == kept.id
    for name, value in (("own_label", changed.own_label or ""), ("comment", changed.comment)):
        assert row[name].removeprefix("'") == value.removeprefix("'")
        assert not row[name].startswith(("=", "+", "-", "@"))


@given(label=ANY_TEXT | st.none(), text=ANY_TEXT, since=MOMENTS, until=MOMENTS, before=st.uuids() | st.none())
@quick
def test_any_filter_is_answered_or_refused(
    label: str | None, text: str, since: datetime | None, until: datetime | None, before: object, store: Store
) -> None:
    try:
        where = Filter(label=label, text=text, since=since, until=until)
    except ValidationError:
        return
    found = store.find(where, limit=5, before=str(before) if before else None)
    assert len(found) <= store.count(where)


@given(text=st.text(max_size=2000))
@quick
def test_a_text_in_an_image_comes_back(text: str) -> None:
    assert text_of(with_text(encode(picture()), text)) == text


@given(data=st.binary(max_size=300), at=st.integers(0, 10**6), cut=st.booleans())
@quick
def test_a_damaged_image_has_no_text_and_is_no_error(data: bytes, at: int, cut: bool) -> None:
    assert text_of(data) is None
    whole = with_text(encode(picture()), "text")
    at %= len(whole)
    assert text_of(whole[:at] if cut else whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :]) is None
