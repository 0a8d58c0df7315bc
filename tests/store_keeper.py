"""A process that keeps records at full rate until it is killed."""

import itertools
import os
from pathlib import Path

from edge_app.store import Retention, open_store
from tests.store_verdicts import keep_one


def keep_until_killed(folder: Path, database: str | None, log: Path, max_bytes: int | None) -> None:
    """Keep records; once `keep` has returned, log `+ID`, and once `retain` has, `-ID` for each that is gone.

    max_bytes: what `retain` gets, after each record. What was logged survives the kill: it is the kernel's.
    """
    with open_store(folder, database=database, device="scope-1", outbox=True) as store:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for seed in itertools.count():
            os.write(file, f"+{keep_one(store, seed=seed).id}\n".encode())
            if max_bytes is not None:
                before = {record.id for record in store.each()}
                store.retain(Retention(max_bytes=max_bytes))
                gone = before - {record.id for record in store.each()}
                os.write(file, "".join(f"-{each}\n" for each in gone).encode())
