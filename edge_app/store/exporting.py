"""Records as CSV, and as ZIP with their images; written as they are read, so any number of them needs little memory."""

import csv
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from io import RawIOBase, TextIOWrapper
from tempfile import SpooledTemporaryFile
from typing import IO, Any, TextIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import cv2

from edge_app import __version__
from edge_app.errors import InputError
from edge_app.images import decode_image
from edge_app.manifest import INTENDED_USE
from edge_app.overlay import draw
from edge_app.store.reading import Records
from edge_app.store.record import Filter, Record

FIELDS = ("image", *(name for name in Record.model_fields if name != "outline"), "intended_use")
ENTERED = ("source", "label", "slide", "operator", "note", "own_label", "comment")  # text from outside
FORMULA = ("=", "+", "-", "@", "\t")
IN_MEMORY = 1 << 20  # bytes of a table that is being written; beyond, it is in a temporary file
OVERLAY_QUALITY = 90


def export_csv(store: Records, where: Filter, file: TextIO, *, on_record: Callable[[], object] = lambda: None) -> int:
    """Write records, the newest first, as CSV with a heading (RFC 4180); return how many.

    file: open for text with newline="". Lists and tables stand as JSON in their cell. Entered text that a spreadsheet
    would run as a formula (`=`, `+`, `-`, `@`) has an apostrophe before it. on_record: called after
    each record. Raises StoreError.
    """
    table = _table(file)
    count = 0
    for record in store.each(where):
        table.writerow(_row(record))
        count += 1
        on_record()
    return count


def export_zip(
    store: Records,
    where: Filter,
    file: IO[bytes] | RawIOBase,
    *,
    with_overlay: bool = False,
    on_record: Callable[[], object] = lambda: None,
) -> int:
    """Write records as ZIP, and return how many: `images/ID.png`, `records.csv` and `manifest.json`.

    The manifest has the sha256 of each file, and names the records whose image is elsewhere (`missing`) or is not what
    was kept (`damaged`). with_overlay: also `overlays/ID.jpg`, with the stain's outline, cells and fields on it.
    file: open for binary writing; need not be seekable. on_record: called after each record. Raises StoreError.
    """
    head = {
        "intended_use": INTENDED_USE,
        "leukoscope": __version__,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "filter": where.model_dump(mode="json", exclude_defaults=True),
    }
    missing: list[str] = []
    damaged: list[str] = []
    with (
        ZipFile(file, "w") as archive,
        SpooledTemporaryFile(IN_MEMORY) as rows,
        SpooledTemporaryFile(IN_MEMORY) as sums,
    ):

        def add(name: str, data: bytes) -> None:
            archive.writestr(_entry(name), data)
            sums.write(f"{json.dumps(name)}: {json.dumps(hashlib.sha256(data).hexdigest())},\n".encode())

        text = TextIOWrapper(rows, "utf-8", newline="", write_through=True)
        table = _table(text)
        count = 0
        for record in store.each(where):
            table.writerow(_row(record))
            try:
                data = store.path_of(record.id).read_bytes()
            except OSError:
                missing.append(record.id)
            else:
                if hashlib.sha256(data).hexdigest() != record.image_sha256:
                    damaged.append(record.id)
                add(f"images/{record.image}", data)
                if with_overlay and (picture := _overlay(record, data)):
                    add(f"overlays/{record.id}.jpg", picture)
            count += 1
            on_record()
        digest = hashlib.sha256()
        rows.seek(0)
        with archive.open(_entry("records.csv"), "w", force_zip64=True) as member:
            while part := rows.read(IN_MEMORY):
                digest.update(part)
                member.write(part)
        text.detach()
        tail = head | {"records": count, "missing": missing, "damaged": damaged}
        sums.seek(0)
        with archive.open(_entry("manifest.json"), "w", force_zip64=True) as member:
            member.write(json.dumps(tail, indent=2).removesuffix("\n}").encode() + b',\n  "files": {\n')
            for line in sums:
                member.write(b"    " + line)
            member.write(f'    "records.csv": "{digest.hexdigest()}"\n  }}\n}}\n'.encode())
    return count


def _table(file: TextIO) -> Any:
    table = csv.writer(file)
    table.writerow(FIELDS)
    return table


def _row(record: Record) -> list[object]:
    fields = record.as_json() | {"intended_use": INTENDED_USE}
    return [_cell(name, fields[name]) for name in FIELDS]


def _cell(name: str, value: object) -> object:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if name in ENTERED and str(value).startswith(FORMULA):
        return f"'{value}"
    return value


def _entry(name: str) -> ZipInfo:
    """Return the entry of a file; pictures don't shrink. ZIP knows no year before 1980, where an unset clock may be."""
    entry = ZipInfo(name, max(datetime.now(UTC).timetuple()[:6], (1980, 1, 1, 0, 0, 0)))
    entry.compress_type = ZIP_STORED if name.endswith((".png", ".jpg")) else ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _overlay(record: Record, data: bytes) -> bytes | None:
    """Return the image as JPEG with what was seen in it, or None when it is damaged."""
    try:
        image = decode_image(data, record.image)
    except InputError:
        return None
    drawn = draw(image, record.outline, record.boxes, record.answers)
    return cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, OVERLAY_QUALITY])[1].tobytes()
