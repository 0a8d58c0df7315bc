"""A process that keeps records at full rate until it is killed."""

import os
from pathlib import Path

from edge_app.store import Retention, open_store
from tests.store_verdicts import keep_one


def keep_until_killed(folder: Path, database: str | None, acknowledged: Path, max_bytes: int | None) -> None:
    """Keep records, and write each one's id to a file once `keep` has returned.

    max_bytes: remove the oldest above it, after every fifth record. What was written survives the kill: it is the
    kernel's, not the process's.
    """
    with open_store(folder, database=database, device="scope-1", outbox=True) as store:
        file = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        seed = 0
        while True:
            kept = keep_one(store, seed=seed)
            os.write(file, f"{kept.id}\n".encode())
            seed += 1
            if max_bytes is not None and seed % 5 == 0:
                store.retain(Retention(max_bytes=max_bytes))
