"""Lets old records go; a person's own label or comment keeps a record until a person deletes it."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Row, func, select, update

from edge_app.store.database import Database
from edge_app.store.images import in_words
from edge_app.store.record import Removed, Retention
from edge_app.store.repair import finish_purging
from edge_app.store.tables import records

BATCH = 200

_WHAT = (records.c.id, records.c.image_bytes)
_UNTOUCHED = (records.c.own_label.is_(None), records.c.comment == "")


def remove_old(database: Database, images: Path, store: str, rule: Retention, now: datetime | None) -> Removed:
    """Remove what the rule lets go of a folder's records, and return how much that was.

    now: the time, or None while the clock is not set: then nothing has an age. A record whose date is not sure has
    none either; a size counts always. Raises StoreError; what was removed until then is removed.
    """
    ours = (records.c.store == store, ~records.c.purging)
    doomed: list[Row[Any]] = []
    if now is not None:
        with database.writing() as connection:
            # Deleted while the clock was not set: their time to be restored begins now.
            undated = (*ours, records.c.deleted_at.is_not(None), ~records.c.deleted_sure)
            connection.execute(update(records).where(*undated).values(deleted_at=now, deleted_sure=True))
            expired = records.c.deleted_at <= now - timedelta(days=rule.deleted_days)
            doomed += connection.execute(select(*_WHAT).where(*ours, expired)).all()
            if rule.max_age_days is not None:
                oldest = now - timedelta(days=rule.max_age_days)
                aged = (records.c.deleted_at.is_(None), records.c.clock_sure, records.c.captured_at <= oldest)
                doomed += connection.execute(select(*_WHAT).where(*ours, *_UNTOUCHED, *aged)).all()
    removed = _purge(database, images, store, doomed)
    if rule.max_bytes is not None:
        with database.reading() as connection:
            total = select(func.coalesce(func.sum(records.c.image_bytes), 0)).where(*ours)
            surplus = int(connection.execute(total).scalar_one()) - rule.max_bytes
            order = (records.c.deleted_at.is_(None), records.c.order)  # deleted ones first, then the oldest
            candidates = connection.execute(select(*_WHAT).where(*ours, *_UNTOUCHED).order_by(*order))
            doomed = []
            while surplus > 0 and (row := candidates.fetchone()) is not None:
                doomed.append(row)
                surplus -= row.image_bytes
        more = _purge(database, images, store, doomed)
        removed = Removed(records=removed.records + more.records, bytes=removed.bytes + more.bytes)
    return removed


def _purge(database: Database, images: Path, store: str, doomed: Iterable[Row[Any]]) -> Removed:
    """Remove records for good: marked first, so that a power cut leaves none half removed."""
    count = size = 0
    rows = iter(doomed)
    while batch := list(islice(rows, BATCH)):
        marked = update(records).where(records.c.id.in_([row.id for row in batch])).values(purging=True)
        with database.writing() as connection:
            connection.execute(marked)
        try:
            finish_purging(database, images, store)
        except OSError as error:
            raise in_words(error, images) from error
        count += len(batch)
        size += sum(row.image_bytes for row in batch)
    return Removed(records=count, bytes=size)
