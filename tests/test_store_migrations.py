import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect

from edge_app.errors import StoreError
from edge_app.store import Record, open_store, read_records
from edge_app.store.tables import metadata
from tests.store_verdicts import keep_one

VERSION_1 = Path(__file__).with_name("store_version_1.sql")  # a database that version 1 made, with one record


def described(url: str) -> dict[str, Any]:
    """Return tables, columns, keys and indexes of a database, as far as they don't depend on its kind."""
    engine = create_engine(url)
    tables = inspect(engine)
    found = {
        name: {
            "columns": [(each["name"], str(each["type"]), each["nullable"]) for each in tables.get_columns(name)],
            "keys": sorted(
                (key["constrained_columns"], key["referred_table"], key["options"].get("ondelete"))
                for key in tables.get_foreign_keys(name)
            ),
            "primary": tables.get_pk_constraint(name)["constrained_columns"],
            "indexes": sorted((each["name"] or "", each["column_names"]) for each in tables.get_indexes(name)),
            "unique": sorted(each["column_names"] for each in tables.get_unique_constraints(name)),
        }
        for name in tables.get_table_names()
        if name != "alembic_version"
    }
    engine.dispose()
    return found


def test_migrations_make_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    with open_store(tmp_path, device="scope-1"):
        pass
    engine = create_engine(f"sqlite:///{tmp_path / 'made.sqlite'}")
    metadata.create_all(engine)
    engine.dispose()
    assert described(f"sqlite:///{tmp_path / 'records.sqlite'}") == described(f"sqlite:///{tmp_path / 'made.sqlite'}")


def test_every_field_of_a_record_has_a_column() -> None:
    columns = set(metadata.tables["record"].columns.keys())
    assert columns == {*Record.model_fields, "deleted_sure", "purging"}


def test_a_database_of_version_1_is_brought_up_to_date_with_its_records(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "records.sqlite")
    connection.executescript(VERSION_1.read_text())
    (stored,) = connection.execute("SELECT store FROM record").fetchone()
    connection.close()
    (tmp_path / "store-id").write_text(stored)
    with open_store(tmp_path, device="scope-1", outbox=True) as store:
        (old,) = store.find()
        assert (old.label, old.own_label, old.slide, old.order) == ("Cancer", "Blast", "Ä12", 1)
        assert old.image_missing
        new = keep_one(store)
        assert new.order == 2
        assert new.id > old.id
        assert len(store.pending()) == 2


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    with open_store(tmp_path, device="scope-1") as store:
        keep_one(store)
        with store.database.writing() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"newer Leukoscope .*9999"):
        open_store(tmp_path, device="scope-1")
    with pytest.raises(StoreError, match=r"newer Leukoscope .*9999"):
        read_records(tmp_path)


def test_readers_do_not_migrate(tmp_path: Path) -> None:
    with open_store(tmp_path, device="scope-1") as store, store.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM alembic_version")
    with pytest.raises(StoreError, match="start `leukoscope run` once"):
        read_records(tmp_path)


def test_records_that_are_up_to_date_are_opened_without_what_brings_them_up_to_date(tmp_path: Path) -> None:
    with open_store(tmp_path, device="scope-1"):
        pass
    code = (
        "import sys; from pathlib import Path; from edge_app.store import open_store\n"
        "with open_store(Path(sys.argv[1]), device='scope-1'): print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
