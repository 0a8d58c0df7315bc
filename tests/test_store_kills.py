"""Power cuts, as far as a process can be given one: SIGKILL at random moments, at start and while keeping."""

import hashlib
import multiprocessing
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_app.store import Retention, Store, open_store, read_records
from tests.store_keeper import keep_until_killed
from tests.store_postgresql import postgresql_server
from tests.store_verdicts import image_files

MAX_BYTES = 25_000  # room for two records


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest) -> Iterator[str | None]:
    if request.param == "sqlite":
        yield None
    else:
        with postgresql_server() as server:
            yield server.new_database()


@pytest.mark.parametrize("rounds", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_a_kill_loses_no_acknowledged_record(rounds: int, database: str | None, tmp_path: Path) -> None:
    folder, log = tmp_path / "records", tmp_path / "log"
    kill_again_and_again(rounds, folder, database, log, None)
    with open_store(folder, database=database, device="scope-1") as store:
        check(store)
        found, promised = {record.id for record in store.each()}, logged(log, "+")
        assert promised <= found
        assert len(promised) >= rounds * 3 // 4
        # at most the one that was being kept at each kill is there without a word
        assert len(found) - len(promised) <= rounds


@pytest.mark.parametrize("rounds", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_a_kill_while_old_records_go_leaves_none_half_removed(rounds: int, tmp_path: Path) -> None:
    folder, log = tmp_path / "records", tmp_path / "log"
    kill_again_and_again(rounds, folder, None, log, MAX_BYTES)
    with open_store(folder, device="scope-1") as store:
        check(store)
        found = {record.id for record in store.each()}
        assert max(logged(log, "+")) in found
        assert logged(log, "-").isdisjoint(found)  # what went did not come back
        store.retain(Retention(max_bytes=MAX_BYTES))
        check(store)
        assert store.count() == 2


def kill_again_and_again(rounds: int, folder: Path, database: str | None, log: Path, max_bytes: int | None) -> None:
    """Start a process that keeps records, and kill it at a random moment."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.store_keeper", "alembic.command", "psycopg"])
    moments = random.Random(5)
    for turn in range(rounds):
        keeper = context.Process(target=keep_until_killed, args=(folder, database, log, max_bytes))
        keeper.start()
        if turn % 4:  # at work
            written = size_of(log)
            deadline_s = time.monotonic() + 60
            while size_of(log) == written and time.monotonic() < deadline_s:
                time.sleep(0.001)
            time.sleep(moments.uniform(0, 0.1))
        else:  # starting, making the tables, or repairing
            time.sleep(moments.uniform(0, 0.3))
        assert keeper.is_alive()
        keeper.kill()
        keeper.join()
        keeper.close()
        if (folder / "records.sqlite").exists() and turn % 10 == 1:
            with read_records(folder) as records:  # nothing is repaired by it
                assert all(records.path_of(record.id).is_file() for record in records.each())


def logged(log: Path, sign: str) -> set[str]:
    """Return the ids behind a sign."""
    return {line[1:] for line in log.read_text().splitlines() if line[0] == sign}


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def check(store: Store) -> None:
    """Rows and files are the same records, each file is whole, and nothing was set aside or left over."""
    assert store.repaired.set_aside == 0
    assert store.repaired.missing == 0
    assert not (store.folder / "orphans").exists()
    found = list(store.each())
    assert image_files(store.folder) == {record.image for record in found}
    for record in found:
        assert hashlib.sha256(store.image_path(record.id).read_bytes()).hexdigest() == record.image_sha256
    numbers = [record.order for record in found]
    assert numbers == sorted(set(numbers), reverse=True)
    if store.database.engine.dialect.name == "sqlite":
        with store.database.reading() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
