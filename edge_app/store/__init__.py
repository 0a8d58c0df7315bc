"""The record store: verdicts that were kept, each a row in a database and an image file that survive a power cut."""

from edge_app.store.exporting import export_csv, export_zip
from edge_app.store.reading import Records, read_records
from edge_app.store.record import Filter, Message, Record, Removed, Retention, Session
from edge_app.store.repair import Repaired
from edge_app.store.store import MIN_FREE_BYTES, Store, open_store

__all__ = [
    "MIN_FREE_BYTES",
    "Filter",
    "Message",
    "Record",
    "Records",
    "Removed",
    "Repaired",
    "Retention",
    "Session",
    "Store",
    "export_csv",
    "export_zip",
    "open_store",
    "read_records",
]
