"""Lets old records go; a person's own label or comment keeps a record until a person deletes it."""

from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, func, select, update

from edge_app.store.database import Database
from edge_app.store.images import in_words
from edge_app.store.record import Removed, Retention
from edge_app.store.repair import BATCH, finish_purging
from edge_app.store.tables import records

UNTOUCHED = (records.c.own_label.is_(None), records.c.comment == "")


def remove_old(database: Database, images: Path, store: str, rule: Retention, now: datetime | None) -> Removed:
    """Remove what the rule lets go of a folder's records, and return how much that was.

    now: the time, or None while the clock is not set: then nothing has an age. A record whose date is not sure has
    none either; a size counts always. Raises StoreError; what was to go then goes the next time, or when the store is
    opened again.
    """
    ours = records.c.store == store
    sizes: list[int] = []
    with database.writing() as connection:
        if now is not None:
            # Deleted while the clock was not set: their time to be restored begins now.
            undated = (ours, records.c.deleted_at.is_not(None), ~records.c.deleted_sure)
            connection.execute(update(records).where(*undated).values(deleted_at=now, deleted_sure=True))
            sizes += _mark(connection, ours, records.c.deleted_at <= now - timedelta(days=rule.deleted_days))
        if now is not None and rule.max_age_days is not None:
            old = records.c.captured_at <= now - timedelta(days=rule.max_age_days)
            sizes += _mark(connection, ours, *UNTOUCHED, records.c.deleted_at.is_(None), records.c.clock_sure, old)
        if rule.max_bytes is not None:
            surplus = iter(_surplus(connection, ours, rule.max_bytes))
            while batch := list(islice(surplus, BATCH)):
                sizes += _mark(connection, ours, *UNTOUCHED, records.c.id.in_(batch))
    try:
        finish_purging(database, images, store)
    except OSError as error:
        raise in_words(error, images) from error
    return Removed(records=len(sizes), bytes=sum(sizes))


def _mark(connection: Connection, *which: ColumnElement[bool]) -> list[int]:
    """Mark records to be removed, and return the bytes of each one's image."""
    marked = update(records).where(*which, ~records.c.purging).values(purging=True).returning(records.c.image_bytes)
    return list(connection.execute(marked).scalars())


def _surplus(connection: Connection, ours: ColumnElement[bool], max_bytes: int) -> list[str]:
    """Return the ids of the records that have to go for the others to fit: deleted ones first, then the oldest."""
    total = select(func.coalesce(func.sum(records.c.image_bytes), 0)).where(ours, ~records.c.purging)
    surplus = int(connection.execute(total).scalar_one()) - max_bytes
    candidates = (
        select(records.c.id, records.c.image_bytes)
        .where(ours, *UNTOUCHED, ~records.c.purging)
        .order_by(records.c.deleted_at.is_(None), records.c.order)
    )
    ids = []
    for record_id, size in connection.execute(candidates):
        if surplus <= 0:
            break
        ids.append(record_id)
        surplus -= size
    return ids
