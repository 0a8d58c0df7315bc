import csv
import hashlib
import io
import json
import tracemalloc
import zipfile
from collections.abc import Iterator
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Self

import numpy as np
import pytest

from edge_app.images import decode_image
from edge_app.judging import Judgement
from edge_app.store import Filter, Session, Store, export_csv, export_zip, exporting, open_store, reading
from tests.store_verdicts import keep_one, picture

SENTENCE = "For Research Use Only. Not for use in diagnostic procedures."


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path, device="scope-1", min_free_bytes=0) as store:
        yield store


class Pipe(io.RawIOBase):
    """What a network connection is: takes bytes in their order, and nothing else."""

    def __init__(self) -> None:
        self.taken = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.taken += memoryview(data)  # type: ignore[arg-type]
        return memoryview(data).nbytes  # type: ignore[arg-type]


class Nowhere(Pipe):
    """Takes bytes and forgets them."""

    def write(self, data: object) -> int:
        return memoryview(data).nbytes  # type: ignore[arg-type]


def test_csv_has_a_row_a_record_newest_first_and_no_formulas(store: Store) -> None:
    first = keep_one(store, session=Session(slide="=HYPERLINK(1)", note='a "b",\nc'), label=None)
    second = store.annotate(keep_one(store).id, "Blast", "-1")
    text = io.StringIO(newline="")
    assert export_csv(store, Filter(), text) == 2
    text.seek(0)
    rows = list(csv.DictReader(text))
    assert [row["id"] for row in rows] == [second.id, first.id]
    assert [row["label"] for row in rows] == ["Cancer", ""]
    assert rows[1]["indeterminate"] == "out_of_focus"
    assert (rows[1]["slide"], rows[1]["note"]) == ("'=HYPERLINK(1)", 'a "b",\nc')
    assert (rows[0]["own_label"], rows[0]["comment"]) == ("Blast", "'-1")
    assert json.loads(rows[0]["probabilities"]) == {"Cancer": 0.75, "Normal": 0.25}
    assert json.loads(rows[0]["boxes"]) == [[8, 8, 32, 24]]
    assert float(rows[0]["tint_a"]) == 130
    assert {row["intended_use"] for row in rows} == {SENTENCE}
    assert rows[0]["image"] == second.image


def test_a_zip_is_written_while_the_clock_is_at_1970(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unset(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls(1970, 1, 1, tzinfo=tz)

    keep_one(store)
    monkeypatch.setattr(exporting, "datetime", Unset)
    pipe = Pipe()
    assert export_zip(store, Filter(), pipe) == 1
    assert zipfile.ZipFile(io.BytesIO(pipe.taken)).testzip() is None


def test_a_bundles_class_is_no_formula_in_csv(store: Store) -> None:
    keep_one(store, judgement=Judgement("=HYPERLINK(1)", {"=HYPERLINK(1)": 0.75, "Normal": 0.25}, None))
    text = io.StringIO(newline="")
    export_csv(store, Filter(), text)
    text.seek(0)
    assert [row["label"] for row in csv.DictReader(text)] == ["'=HYPERLINK(1)"]


def test_zip_has_images_table_and_a_manifest_with_the_hash_of_each_file(store: Store) -> None:
    kept = [keep_one(store, seed=seed) for seed in range(3)]
    left_out = keep_one(store, label="Normal")
    pipe, seen = Pipe(), []
    assert export_zip(store, Filter(label="Cancer"), pipe, with_overlay=True, on_record=lambda: seen.append(1)) == 3
    assert len(seen) == 3
    archive = zipfile.ZipFile(io.BytesIO(pipe.taken))
    assert archive.testzip() is None
    manifest = json.loads(archive.read("manifest.json"))
    assert (manifest["intended_use"], manifest["records"]) == (SENTENCE, 3)
    assert manifest["filter"] == {"label": "Cancer"}
    assert manifest["missing"] == manifest["damaged"] == []
    assert set(archive.namelist()) == {*manifest["files"], "manifest.json"}
    for name, sha256 in manifest["files"].items():
        assert hashlib.sha256(archive.read(name)).hexdigest() == sha256
    for seed, record in enumerate(kept):
        assert manifest["files"][f"images/{record.image}"] == record.image_sha256
        assert np.array_equal(decode_image(archive.read(f"images/{record.image}"), "image"), picture(seed))
        drawn = decode_image(archive.read(f"overlays/{record.id}.jpg"), "overlay")
        assert drawn.shape == picture(seed).shape
        assert not np.array_equal(drawn, picture(seed))
    rows = list(csv.DictReader(io.StringIO(archive.read("records.csv").decode(), newline="")))
    assert [row["id"] for row in rows] == [record.id for record in kept[::-1]]
    assert f"images/{left_out.image}" not in manifest["files"]


def test_an_empty_export_is_whole(store: Store) -> None:
    file = io.BytesIO()
    assert export_zip(store, Filter(), file) == 0
    archive = zipfile.ZipFile(file)
    assert list(json.loads(archive.read("manifest.json"))["files"]) == ["records.csv"]
    assert archive.read("records.csv").decode().startswith("image,id,device")


def test_missing_and_damaged_images_are_named(store: Store) -> None:
    gone, torn, whole = (keep_one(store, seed=seed) for seed in range(3))
    store.image_path(gone.id).unlink()
    store.image_path(torn.id).write_bytes(b"torn")
    file = io.BytesIO()
    assert export_zip(store, Filter(), file, with_overlay=True) == 3
    archive = zipfile.ZipFile(file)
    manifest = json.loads(archive.read("manifest.json"))
    assert (manifest["missing"], manifest["damaged"]) == ([gone.id], [torn.id])
    assert f"overlays/{whole.id}.jpg" in manifest["files"]
    assert manifest["files"][f"images/{torn.image}"] == hashlib.sha256(b"torn").hexdigest()


def test_memory_does_not_grow_with_the_records(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PAGE", 5)
    monkeypatch.setattr(exporting, "IN_MEMORY", 10_000)

    def peak() -> int:
        tracemalloc.start()
        export_zip(store, Filter(), Nowhere())
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    for _ in range(10):
        keep_one(store)
    peak()
    few = peak()
    for _ in range(50):
        keep_one(store)
    assert peak() < 1.3 * few
