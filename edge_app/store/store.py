"""Keeps records: the image file first and the row after, so that what was acknowledged survives a power cut.

    FOLDER/images/ID.png     one a record, with the record in it (see `edge_app.store.images`)
    FOLDER/records.sqlite    the rows, unless a database is named
    FOLDER/orphans/          files that were in images/ and are no records; never deleted
    FOLDER/store-id, lock    tells this folder from others; one app at a time writes to it

With PostgreSQL several devices share one database; the images stay on the device that made them.
"""

import fcntl
import hashlib
import json
import re
import shutil
import threading
import uuid
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, case, delete, insert, select, update

from edge_app.classifier import Verdict
from edge_app.errors import StoreError, StoreFullError
from edge_app.frozen import Frozen
from edge_app.preprocessing import Image
from edge_app.store.clock import Clock
from edge_app.store.database import Database, open_database
from edge_app.store.facts import facts_of
from edge_app.store.ids import id_at, tick_at
from edge_app.store.images import encode, in_words, with_text, write_durably
from edge_app.store.reading import IMAGES, Records, canonical, not_found
from edge_app.store.record import DEVICE, Kept, Line, Lines, Message, Record, Removed, Retention, Session, Trigger
from edge_app.store.repair import Repaired, repair
from edge_app.store.retention import remove_old
from edge_app.store.rows import COLUMNS, add_row, as_record, change_rows, tell
from edge_app.store.tables import messages, records, stores

MIN_FREE_BYTES = 500_000_000
CLOCK_WAS_SET = timedelta(seconds=2)  # a frame's date and its monotonic time are never this far apart otherwise
TOPIC = "records"


class Annotation(Frozen):
    """A person's own label and comment."""

    own_label: Line | None
    comment: Lines


def open_store(
    folder: Path,
    *,
    device: str,
    database: str | None = None,
    min_free_bytes: int = MIN_FREE_BYTES,
    outbox: bool = False,
    clock: Clock | None = None,
) -> "Store":
    """Open a folder of records to keep more in it, made if need be, and repair what a power cut left; for a `with`.

    device: this device's name, which its records carry: letters, digits, dots, hyphens and underscores.
    database: a URL (postgresql+psycopg://…); without it SQLite in the folder.
    min_free_bytes: as much of the folder's disk stays free.
    outbox: leave a message for the broker with each new or changed record, for `Store.pending`.

    Raises StoreError, among others when another app has the folder open, and StoreFullError.
    """
    if not re.fullmatch(DEVICE, device):
        raise StoreError(
            f"{device[:80]!r} can't be a device's name; write letters, digits, dots, hyphens or underscores"
        )
    with ExitStack() as stack:
        try:
            (folder / IMAGES).mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context((folder / "lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            store_id = _store_id(folder)
        except BlockingIOError:
            raise StoreError(f"another Leukoscope keeps records in {folder}; stop it, or name another folder") from None
        except OSError as error:
            raise in_words(error, folder) from error
        opened = open_database(folder, database)
        stack.callback(opened.engine.dispose)
        opened.migrate()
        with opened.reading() as connection:
            known = connection.execute(select(stores.c.id).where(stores.c.id == store_id)).first()
        if known is None:
            with opened.writing() as connection:
                connection.execute(insert(stores).values(id=store_id, last_order=0, last_tick=0))
        repaired = repair(opened, folder / IMAGES, store_id, outbox=outbox)
        store = Store(
            opened,
            folder,
            store_id=store_id,
            device=device,
            min_free_bytes=min_free_bytes,
            outbox=outbox,
            clock=clock or Clock(),
            repaired=repaired,
            resources=stack.pop_all(),
        )
    store.settle_clock()
    return store


class Store(Records):
    """A folder of records that is open for keeping; one app at a time, any number of its threads."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        *,
        store_id: str,
        device: str,
        min_free_bytes: int,
        outbox: bool,
        clock: Clock,
        repaired: Repaired,
        resources: ExitStack,
    ) -> None:
        """Use `open_store`."""
        super().__init__(database, folder)
        self.id = store_id
        self.device = device
        self.min_free_bytes = min_free_bytes
        self.repaired = repaired
        self._outbox = outbox
        self._clock = clock
        self._resources = resources
        self._keeping = threading.Lock()
        self._removing = threading.Lock()
        self._unsettled = True  # whether there may be records of this boot whose date is not sure

    def keep(
        self,
        verdict: Verdict,
        image: Image,
        *,
        session: Session,
        trigger: Trigger,
        monotonic_ns: int,
        um_per_pixel: float | None = None,
    ) -> Record:
        """Keep a verdict and its frame (uint8 [h, w, 3], BGR); when it returns, they survive a power cut.

        monotonic_ns: `Frame.monotonic_ns`.

        Raises StoreFullError when too little room is left, and StoreError; nothing is kept then, save where the
        connection to a database was lost at that very moment: such a record may be there after the next start.
        """
        if image.shape != (*verdict.mask.shape, 3) or image.dtype != verdict.mask.dtype:
            raise StoreError("the image is not the one that was judged; keep a verdict with its own frame")
        png = encode(image)
        facts = facts_of(verdict) | dict(session)
        facts |= {"trigger": trigger, "um_per_pixel": um_per_pixel, "device": self.device, "store": self.id}
        with self._keeping:
            if self._unsettled:
                self.settle_clock()
            self._check_room(len(png))
            facts |= self._dates(verdict, monotonic_ns)
            record_id = None
            try:
                with self.database.writing() as connection:
                    order, record_id = self._next(connection)
                    kept = Kept(id=record_id, order=order, **facts)
                    data = with_text(png, kept.model_dump_json())
                    sha256 = hashlib.sha256(data).hexdigest()
                    record = Record(**dict(kept), image_sha256=sha256, image_bytes=len(data))
                    write_durably(self.path_of(record_id), data)
                    add_row(connection, record)
                    self._tell(connection, [record])
            except ValidationError as error:
                raise StoreError(f"the verdict can't be kept: {_first(error)}") from None
            except BaseException:
                if record_id is not None:
                    self._withdraw(record_id)
                raise
            self._unsettled |= not record.clock_sure
        return record

    def annotate(self, record_id: str, own_label: str | None, comment: str) -> Record:
        """Set a person's own label (None or "" for none) and comment, and return the record; raises StoreError."""
        try:
            said = Annotation(own_label=own_label, comment=comment)
        except ValidationError as error:
            raise StoreError(f"the label or comment can't be kept: {_first(error)}") from None
        now = self._clock.now()
        return self._change(record_id, own_label=said.own_label or None, comment=said.comment, annotated_at=now)

    def delete(self, record_id: str) -> Record:
        """Mark a record as deleted, and return it; `restore` undoes it until `retain` purges it. Raises StoreError."""
        return self._change(record_id, deleted_at=self._clock.now(), deleted_sure=self._clock.sure())

    def restore(self, record_id: str) -> Record:
        """Undo `delete`, and return the record; raises StoreError."""
        return self._change(record_id, deleted_at=None, deleted_sure=False)

    def retain(self, rule: Retention) -> Removed:
        """Remove what the rule lets go of this folder's records for good, and return how much; raises StoreError."""
        self.settle_clock()
        with self._removing:
            now = self._clock.now() if self._clock.sure() else None
            return remove_old(self.database, self.folder / IMAGES, self.id, rule, now)

    def settle_clock(self) -> int:
        """Correct the dates of the records that were kept in this boot before the clock was set; return how many.

        Does nothing while the clock is not set; `keep` and `retain` call it, too. Raises StoreError.
        """
        boot_id = self._clock.boot_id()
        if not boot_id or not self._clock.sure():
            return 0
        unsure = (records.c.store == self.id, records.c.boot_id == boot_id, ~records.c.clock_sure)
        query = select(records.c.id, records.c.captured_at, records.c.monotonic_ns).where(*unsure)
        with self.database.reading() as connection:
            rows = connection.execute(query).all()
        if rows:
            with self.database.writing() as connection:
                for record_id, first, monotonic_ns in rows:
                    known = {"captured_at": self._clock.at(monotonic_ns), "captured_at_first": first}
                    changed = change_rows(connection, records.c.id == record_id, **known, clock_sure=True)
                    self._tell(connection, changed)
        self._unsettled = False
        return len(rows)

    def free_bytes(self) -> int:
        """Return the bytes that are free on the folder's disk; raises StoreError."""
        try:
            return shutil.disk_usage(self.folder).free
        except OSError as error:
            raise in_words(error, self.folder) from error

    def room(self) -> int:
        """Return the bytes that records may still fill; raises StoreError."""
        return max(0, self.free_bytes() - self.min_free_bytes)

    def pending(self, limit: int = 100) -> list[Message]:
        """Return the oldest messages that were not `sent` yet, each with its record as it is now; raises StoreError."""
        query = (
            select(messages.c.id.label("message_id"), *COLUMNS)
            .join(records, records.c.id == messages.c.record)
            .where(messages.c.store == self.id, ~records.c.purging)
            .order_by(messages.c.id)
            .limit(limit)
        )
        with self.database.reading() as connection:
            rows = connection.execute(query).all()
        return [
            Message(id=row.message_id, topic=TOPIC, payload=json.dumps(as_record(row).as_json(), ensure_ascii=False))
            for row in rows
        ]

    def sent(self, ids: Iterable[int]) -> None:
        """Forget messages that the broker has; raises StoreError.

        A record that changed after its message was read has a new message, which stays.
        """
        with self.database.writing() as connection:
            connection.execute(delete(messages).where(messages.c.store == self.id, messages.c.id.in_(list(ids))))

    def close(self) -> None:
        """Let the database and the folder go."""
        self._resources.close()

    def _check_room(self, size: int) -> None:
        if size > self.room():
            raise StoreFullError(
                f"{self.free_bytes() / 1e6:.0f} MB are free on the disk of {self.folder}, and "
                f"{self.min_free_bytes / 1e6:.0f} MB have to stay free; delete records, or other files on that disk"
            )

    def _dates(self, verdict: Verdict, monotonic_ns: int) -> dict[str, Any]:
        """Return when the frame was taken, and whether that is sure."""
        was_set = abs(self._clock.at(monotonic_ns) - verdict.captured_at) > CLOCK_WAS_SET
        return {
            "captured_at": verdict.captured_at,
            "clock_sure": self._clock.sure() and not was_set,
            "boot_id": self._clock.boot_id(),
            "monotonic_ns": monotonic_ns,
        }

    def _next(self, connection: Connection) -> tuple[int, str]:
        """Return the order and the id of the next record; no other gets them once the transaction is through."""
        now = tick_at(self._clock.now())
        following = case((stores.c.last_tick >= now, stores.c.last_tick + 1), else_=now)
        taken = (
            update(stores)
            .where(stores.c.id == self.id)
            .values(last_order=stores.c.last_order + 1, last_tick=following)
            .returning(stores.c.last_order, stores.c.last_tick)
        )
        order, tick = connection.execute(taken).one()
        return order, id_at(tick)

    def _withdraw(self, record_id: str) -> None:
        """Remove the image of a record that could not be kept, once it is certain that it has no row."""
        try:
            with self.database.reading() as connection:
                # A server that we lost may still be committing: it holds this row until it is through.
                connection.execute(select(stores.c.id).where(stores.c.id == self.id).with_for_update())
                kept = connection.execute(select(records.c.id).where(records.c.id == record_id)).first()
            if kept is None:
                self.path_of(record_id).unlink(missing_ok=True)
        except (StoreError, OSError):
            pass  # it is looked at again when the store is opened

    def _change(self, record_id: str, **values: object) -> Record:
        with self.database.writing() as connection:
            changed = change_rows(connection, records.c.id == canonical(record_id), **values)
            self._tell(connection, changed)
        if not changed:
            raise not_found(record_id)
        return changed[0]

    def _tell(self, connection: Connection, changed: list[Record]) -> None:
        if self._outbox:
            for record in changed:
                tell(connection, self.id, record.id)


def _store_id(folder: Path) -> str:
    """Return what tells this folder from all others, made up at the first opening."""
    path = folder / "store-id"
    if not path.exists():
        write_durably(path, str(uuid.uuid4()).encode())
    text = path.read_text().strip()
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise StoreError(f"{path} is damaged; restore it, or name another folder") from None


def _first(error: ValidationError) -> str:
    """Return what is wrong with the first field that is."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
