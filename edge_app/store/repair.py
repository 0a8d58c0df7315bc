"""Brings images and rows together again after a power cut, when a store is opened."""

import hashlib
import logging
import uuid
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import Connection, delete, select, update

from edge_app.disk import sync_folder
from edge_app.store.database import Database
from edge_app.store.ids import tick_of
from edge_app.store.images import PARTIAL, in_words, text_of
from edge_app.store.record import Kept, Record, image_name
from edge_app.store.rows import add_row, tell
from edge_app.store.tables import records, stores

ORPHANS = "orphans"
BATCH = 500
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Repaired:
    """What was found at the start: how many of each.

    imported: images whose record was in no row, and is now. set_aside: files that are no records, now in orphans/.
    missing: records whose image is gone. unfinished: files that were being written when the power went.
    """

    imported: int = 0
    set_aside: int = 0
    missing: int = 0
    unfinished: int = 0


def repair(database: Database, images: Path, store: str, *, outbox: bool) -> Repaired:
    """Finish what was begun, and return what was done; only one app may be at work in the folder.

    Raises StoreError, and StoreFullError when there is no room for a row.
    """
    try:
        finish_purging(database, images, store)
        names = {entry.name for entry in images.iterdir() if entry.is_file() or entry.is_symlink()}
        unfinished = {name for name in names if name.endswith(PARTIAL)}
        for name in unfinished:
            (images / name).unlink()
        names -= unfinished
        missing = _mark_missing(database, names, store)
        imported = set_aside = 0
        strangers = iter(_without_row(database, names))
        while batch := list(islice(strangers, BATCH)):
            with database.writing() as connection:
                whole = [name for name in batch if _import(connection, images / name, store, outbox=outbox)]
            imported += len(whole)
            for name in batch:
                if name not in whole:
                    _set_aside(images / name)
                    set_aside += 1
    except OSError as error:
        raise in_words(error, images) from error
    repaired = Repaired(imported, set_aside, missing, len(unfinished))
    if repaired != Repaired():
        _logger.warning("records: %s", repaired)
    return repaired


def finish_purging(database: Database, images: Path, store: str) -> None:
    """Remove the images, then the rows, of the records that are marked for it; may be begun again at any point.

    Raises StoreError and OSError.
    """
    with database.reading() as connection:
        marked = connection.execute(select(records.c.id).where(records.c.store == store, records.c.purging)).scalars()
        doomed = list(marked)
    for record_id in doomed:
        (images / image_name(record_id)).unlink(missing_ok=True)
    if not doomed:
        return
    sync_folder(images)  # else an image could be back after a power cut, and become a record again
    with database.writing() as connection:
        connection.execute(delete(records).where(records.c.store == store, records.c.purging))


def _mark_missing(database: Database, names: set[str], store: str) -> int:
    """Mark the records whose image is gone, and those whose image is back; return how many are gone."""
    with database.reading() as connection:
        rows = connection.execute(select(records.c.id, records.c.image_missing).where(records.c.store == store)).all()
    gone = {record_id for record_id, _ in rows if image_name(record_id) not in names}
    changed = [record_id for record_id, marked in rows if marked != (record_id in gone)]
    if changed:
        with database.writing() as connection:
            for record_id in changed:
                change = update(records).where(records.c.id == record_id).values(image_missing=record_id in gone)
                connection.execute(change)
    return len(gone)


def _without_row(database: Database, names: set[str]) -> list[str]:
    """Return the names of files that belong to no row, in the order of keeping."""
    ids = {name: record_id for name in names if (record_id := _id_in(name))}
    known: set[str] = set()
    wanted = iter(ids.values())
    while batch := list(islice(wanted, BATCH)):
        with database.reading() as connection:
            known.update(connection.execute(select(records.c.id).where(records.c.id.in_(batch))).scalars())
    return sorted(name for name in names if ids.get(name) not in known)


def _id_in(name: str) -> str | None:
    stem = Path(name).stem
    try:
        return stem if image_name(str(uuid.UUID(stem))) == name else None
    except ValueError:
        return None


def _import(connection: Connection, path: Path, store: str, *, outbox: bool) -> bool:
    """Write the row of an image that has its record in it, and return whether it has."""
    data = b"" if path.is_symlink() else path.read_bytes()
    text = text_of(data)
    if text is None:
        return False
    try:
        kept = Kept.model_validate_json(text)
    except ValidationError:
        return False
    if kept.id != _id_in(path.name):
        return False
    last = connection.execute(select(stores.c.last_order, stores.c.last_tick).where(stores.c.id == store)).one()
    order = max(kept.order, last.last_order + 1)  # another record may have got its number meanwhile
    tick = max(tick_of(kept.id), last.last_tick)
    connection.execute(update(stores).where(stores.c.id == store).values(last_order=order, last_tick=tick))
    fields = dict(kept) | {"store": store, "order": order}
    add_row(connection, Record(**fields, image_sha256=hashlib.sha256(data).hexdigest(), image_bytes=len(data)))
    if outbox:
        tell(connection, store, kept.id)
    return True


def _set_aside(path: Path) -> None:
    folder = path.parent.parent / ORPHANS
    folder.mkdir(exist_ok=True)
    target = folder / path.name
    if target.exists() or target.is_symlink():
        target = folder / f"{uuid.uuid4()}-{path.name}"
    path.rename(target)
