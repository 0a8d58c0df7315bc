"""The database of the records: SQLite in their folder, or PostgreSQL for several devices; migrated when opened."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, inspect, make_url, text

from edge_app.errors import StoreError, StoreFullError
from edge_app.store.images import has_room

FILE_NAME = "records.sqlite"
MIGRATIONS = Path(__file__).with_name("migrations")
VERSIONS = sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
MIGRATING = 0x4C65756B  # the key of PostgreSQL's lock while one device brings the database up to date
TIMEOUT_S = 10

PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": "full",
    "foreign_keys": "on",
    "busy_timeout": str(1000 * TIMEOUT_S),
}
POSTGRESQL = {
    "connect_timeout": TIMEOUT_S,
    # a server or network that is gone must not hold the app for the hours that TCP may wait
    "tcp_user_timeout": 1000 * TIMEOUT_S,
    "options": f"-c synchronous_commit=on -c statement_timeout={3000 * TIMEOUT_S} -c lock_timeout={1000 * TIMEOUT_S}",
}


@dataclass(frozen=True)
class Database:
    """An open database, and how it is called in messages; errors in `reading` and `writing` are StoreErrors."""

    engine: Engine
    folder: Path
    name: str

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection in a transaction that sees one state of the database."""
        with self._errors_in_words(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in a transaction; what it wrote is durable when the block ends without an error."""
        with self._errors_in_words(), self.engine.execution_options(writing=True).begin() as connection:
            yield connection

    def migrate(self) -> None:
        """Bring the tables up to date; raises StoreError when a newer version has made them."""
        with self.writing() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATING})
            if self._version(connection) != VERSIONS[-1]:
                from alembic import command  # a tenth of the start, and seldom needed
                from alembic.config import Config

                config = Config(attributes={"connection": connection})
                config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
                command.upgrade(config, "head")

    def check(self) -> None:
        """Raise StoreError unless the tables are those of this version."""
        with self.reading() as connection:
            if self._version(connection) != VERSIONS[-1]:
                raise StoreError(
                    f"the records in {self.name} were kept by an older Leukoscope, or there are none yet; "
                    "start `leukoscope run` once, which brings them up to date"
                )

    def _version(self, connection: Connection) -> str | None:
        """Return the version that made the tables, None where there are none; raises StoreError for a newer one."""
        if not inspect(connection).has_table("alembic_version"):
            return None
        version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        if version is not None and version not in VERSIONS:
            raise StoreError(
                f"the records in {self.name} were kept by a newer Leukoscope (their version is {version}); "
                "install that one, or name another folder or database"
            )
        return version

    @contextmanager
    def _errors_in_words(self) -> Iterator[None]:
        try:
            yield
        except exc.SQLAlchemyError as error:
            raise self._in_words(error) from error

    def _in_words(self, error: exc.SQLAlchemyError) -> StoreError:
        cause = error.orig if isinstance(error, exc.DBAPIError) else None
        said = str(cause or error).strip().split("\n")[0]
        full = StoreFullError(f"no room is left for {self.name}; delete records, or other files on that disk")
        if isinstance(cause, sqlite3.Error):
            code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
            if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and not has_room(self.folder)):
                return full
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                return StoreError(
                    f"{self.name} is damaged ({said}); move it away: at the next start its records are made again from "
                    "their images, without the labels and comments of people"
                )
            return StoreError(f"{self.name} can't be used ({said}); see that it is yours to write to, on a sound disk")
        if getattr(cause, "sqlstate", None) == "53100":
            return full
        return StoreError(f"the database {self.name} does not answer ({said}); see that it is there and running")


def open_database(folder: Path, url: str | None) -> Database:
    """Return the database at a URL, or without one that in the folder; raises StoreError for a URL of another form."""
    address = _address(url) if url else URL.create("sqlite", database=str(folder / FILE_NAME))
    name = address.database if address.drivername == "sqlite" else address.render_as_string(hide_password=True)
    if address.drivername == "sqlite":
        engine = create_engine(address, connect_args={"timeout": TIMEOUT_S})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        try:
            engine = create_engine(address, connect_args=POSTGRESQL, pool_pre_ping=True)
        except ImportError:
            raise StoreError("PostgreSQL needs psycopg: pip install 'leukoscope[postgresql]'") from None
    return Database(engine, folder, str(name))


def _address(url: str) -> URL:
    forms = "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE or sqlite:////PATH"
    try:
        address = make_url(url)
    except (exc.ArgumentError, ValueError):
        # not chained, nor quoted: there may be a password in it
        raise StoreError(f"the database's URL can't be read; write {forms}") from None
    if address.drivername in ("postgresql", "postgresql+psycopg") and address.database:
        return address.set(drivername="postgresql+psycopg")
    if address.drivername == "sqlite" and address.database and address.database != ":memory:":
        return address
    raise StoreError(f"the database's URL names {address.drivername!r}; write {forms}")


def _prepare_sqlite(connection: Any, record: Any) -> None:  # noqa: ARG001
    connection.isolation_level = None  # Python's own would begin transactions late; see `_begin_sqlite`
    for name, value in PRAGMAS.items():
        answer = connection.execute(f"PRAGMA {name} = {value}").fetchone()
        if name == "journal_mode" and answer[0] != value:
            raise StoreError("the records' folder does not take SQLite's WAL; name one on a local disk with --folder")
    # SQLite's own knows ASCII only
    connection.create_function("lower", 1, lambda value: value and str(value).lower(), deterministic=True)


def _begin_sqlite(connection: Connection) -> None:
    """Take the lock at once where there will be writing: later on it may be refused."""
    writing = connection.get_execution_options().get("writing")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
