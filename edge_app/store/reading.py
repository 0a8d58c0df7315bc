"""Finds records."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import ColumnElement, func, or_, select

from edge_app.errors import RecordNotFoundError, StoreError
from edge_app.store.database import FILE_NAME, Database, open_database
from edge_app.store.record import Filter, Record, image_name
from edge_app.store.rows import COLUMNS, as_record
from edge_app.store.tables import records

IMAGES = "images"
PAGE = 200
EVERYTHING = Filter()


class Records:
    """Records that can be read; a context manager, and safe to use from several threads."""

    def __init__(self, database: Database, folder: Path) -> None:
        """Take an open database, and the folder of the images."""
        self.database = database
        self.folder = folder

    def get(self, record_id: str) -> Record:
        """Return a record, a deleted one too; raises RecordNotFoundError when there is none of that id, StoreError."""
        wanted = canonical(record_id)
        with self.database.reading() as connection:
            row = connection.execute(select(*COLUMNS).where(records.c.id == wanted, ~records.c.purging)).first()
        if row is None:
            raise not_found(wanted)
        return as_record(row)

    def find(self, where: Filter = EVERYTHING, limit: int = 50, before: str | None = None) -> list[Record]:
        """Return records, the newest first; `before`, the id of the last one, goes on from there.

        Those of one device come in the order of keeping, those of several by their clocks.
        Raises StoreError.
        """
        query = select(*COLUMNS).where(*_conditions(where)).order_by(records.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(records.c.id < canonical(before))
        with self.database.reading() as connection:
            return [as_record(row) for row in connection.execute(query)]

    def each(self, where: Filter = EVERYTHING) -> Iterator[Record]:
        """Yield all records, the newest first; a few at a time are in memory. Raises StoreError."""
        page = self.find(where, PAGE)
        while page:
            yield from page
            page = self.find(where, PAGE, before=page[-1].id)

    def count(self, where: Filter = EVERYTHING) -> int:
        """Return how many records there are; raises StoreError."""
        with self.database.reading() as connection:
            return connection.execute(select(func.count()).select_from(records).where(*_conditions(where))).scalar_one()

    def image_path(self, record_id: str) -> Path:
        """Return the path of a record's image file: made from the id alone, so it never leaves the folder.

        Raises RecordNotFoundError when there is no such record, or its image is not in this folder, and StoreError.
        """
        record = self.get(record_id)
        path = self.path_of(record.id)
        if not path.is_file():
            raise RecordNotFoundError(
                f"the image of record {record.id} is not here; look for it on the device {record.device}"
            )
        return path

    def path_of(self, record_id: str) -> Path:
        """Return where a record's image file is, if it is here."""
        return self.folder / IMAGES / image_name(canonical(record_id))

    def close(self) -> None:
        """Let the database go."""
        self.database.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def read_records(folder: Path, *, database: str | None = None) -> Records:
    """Open the records of a folder, or a database's, to read them beside a running app.

    Raises StoreError when there are none, or they were not kept by this version.
    """
    if database is None and not (folder / FILE_NAME).is_file():
        raise StoreError(f"there are no records in {folder}; name their folder with --folder")
    opened = Records(open_database(folder, database), folder)
    try:
        opened.database.check()
    except BaseException:
        opened.close()
        raise
    return opened


def canonical(record_id: str) -> str:
    """Return an id as records carry it; raises RecordNotFoundError for a text that is none."""
    try:
        return str(uuid.UUID(record_id))
    except ValueError:
        raise not_found(record_id) from None


def not_found(record_id: str) -> RecordNotFoundError:
    """Return the error for an id that no record has."""
    return RecordNotFoundError(f"there is no record {record_id[:60]!r}; `leukoscope records list` shows them")


def _conditions(where: Filter) -> list[ColumnElement[bool]]:
    columns = records.c
    found = [~columns.purging, columns.deleted_at.is_not(None) if where.deleted else columns.deleted_at.is_(None)]
    for name in ("label", "own_label", "slide", "operator", "device"):
        value = getattr(where, name)
        if value is not None:
            found.append(columns[name] == value)
    if where.indeterminate is not None:
        found.append(columns.label.is_(None) if where.indeterminate else columns.label.is_not(None))
    if where.since is not None:
        found.append(columns.captured_at >= where.since)
    if where.until is not None:
        found.append(columns.captured_at < where.until)
    if where.text:
        texts = (columns.slide, columns.operator, columns.note, columns.own_label, columns.comment)
        found.append(or_(*(text.icontains(where.text, autoescape=True) for text in texts)))
    return found
