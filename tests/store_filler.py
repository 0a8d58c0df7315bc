"""Fills the small disk that a folder is on, keeps records at every degree of fullness, and tells what came of it."""

import json
import os
import sys
from collections import Counter
from pathlib import Path

from edge_app.errors import StoreFullError
from edge_app.store import Filter, Record, Store, open_store
from tests.store_verdicts import image_files, keep_one

BLOCK = 4096
DEGREES = 24  # blocks left, from none to so many: a record needs a few for its image and a few for its row


def main(disk: Path) -> None:
    """Print one JSON object: which step met a full disk how often."""
    met: Counter[str] = Counter()
    acknowledged: list[Record] = []
    ballast = disk / "ballast"
    folder = disk / "records"

    def attempt(store: Store, step: str) -> None:
        try:
            acknowledged.append(keep_one(store, seed=len(acknowledged)))
            met[f"{step} went well"] += 1
        except StoreFullError:
            met[f"{step} found it full"] += 1

    with open_folder(folder) as store:
        acknowledged.append(keep_one(store))
        for free in range(DEGREES):
            leave_free(ballast, free)
            store.min_free_bytes = 0
            attempt(store, "keep")
            leave_free(ballast, free)
            store.min_free_bytes = -(2**40)  # as if the room had gone after it was looked at
            attempt(store, "write")
            leave_free(ballast, free)
            try:
                store.annotate(acknowledged[0].id, "Blast", "x" * 4000)
                met["annotate went well"] += 1
            except StoreFullError:
                met["annotate found it full"] += 1
            check(store, acknowledged)
        ballast.unlink()
        attempt(store, "keep with room")
        store.annotate(acknowledged[0].id, "", "")
    for free in range(0, DEGREES, 2):
        leave_free(ballast, free)
        try:
            with open_folder(folder) as store:
                met["open went well"] += 1
                attempt(store, "keep after open")
                check(store, acknowledged)
        except StoreFullError:
            met["open found it full"] += 1
    ballast.unlink()
    with open_folder(folder) as store:
        assert store.repaired.missing == store.repaired.set_aside == 0, store.repaired
        attempt(store, "keep with room")
        check(store, acknowledged)
        with store.database.reading() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
    assert not (folder / "orphans").exists()
    print(json.dumps(met))


def open_folder(folder: Path) -> Store:
    return open_store(folder, device="scope-1", min_free_bytes=0, outbox=True)


def leave_free(ballast: Path, blocks: int) -> None:
    """Make the disk so full that only so many blocks are left."""
    ballast.unlink(missing_ok=True)
    disk = os.statvfs(ballast.parent)
    with ballast.open("wb") as file:
        file.write(bytes(max(0, disk.f_bavail * disk.f_frsize - blocks * BLOCK)))


def check(store: Store, acknowledged: list[Record]) -> None:
    """Rows and files are the acknowledged records, and nothing else is there."""
    assert [record.id for record in store.each()] == [record.id for record in acknowledged][::-1]
    assert image_files(store.folder) == {record.image for record in acknowledged}
    assert store.count(Filter(deleted=True)) == 0
    newest = acknowledged[-1]
    assert store.image_path(newest.id).stat().st_size == newest.image_bytes


if __name__ == "__main__":
    main(Path(sys.argv[1]))
