"""Rows and the messages that tell of them, written together."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, update

from edge_app.store.record import Record
from edge_app.store.tables import messages, records

COLUMNS = [records.c[name] for name in Record.model_fields]


def as_record(row: Row[Any]) -> Record:
    """Return a row that has the columns of `COLUMNS` as a record."""
    return Record.model_validate({name: row._mapping[name] for name in Record.model_fields})


def add_row(connection: Connection, record: Record) -> None:
    """Write the row of a new record."""
    connection.execute(insert(records).values(**record.model_dump(), deleted_sure=False, purging=False))


def change_rows(connection: Connection, which: ColumnElement[bool], **values: object) -> list[Record]:
    """Change rows that are not about to be removed; return them as they are then."""
    changed = update(records).where(which, ~records.c.purging).values(**values).returning(*COLUMNS)
    return [as_record(row) for row in connection.execute(changed)]


def tell(connection: Connection, store: str, record_id: str) -> None:
    """Leave a message that a record is new or has changed, in the place of one that was not sent yet."""
    connection.execute(delete(messages).where(messages.c.record == record_id))
    connection.execute(insert(messages).values(store=store, record=record_id))
