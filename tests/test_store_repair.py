from pathlib import Path

import numpy as np
import pytest

from edge_app.errors import StoreError
from edge_app.images import read_image
from edge_app.store import Filter, Record, Store, open_store
from edge_app.store.images import encode
from tests.store_verdicts import image_files, keep_one, picture


@pytest.fixture
def kept(tmp_path: Path) -> list[Record]:
    """Three records in a folder that is closed again."""
    with reopened(tmp_path) as store:
        records = [keep_one(store, seed=seed) for seed in range(3)]
        store.annotate(records[0].id, "Blast", "sure")
    return records


def reopened(folder: Path) -> Store:
    return open_store(folder, device="scope-1", outbox=True)


def lose_database(folder: Path) -> None:
    for path in folder.glob("records.sqlite*"):
        path.unlink()


def test_a_database_that_is_lost_is_made_again_from_the_images(tmp_path: Path, kept: list[Record]) -> None:
    lose_database(tmp_path)
    with reopened(tmp_path) as store:
        assert store.repaired.imported == 3
        assert store.find() == kept[::-1]  # without the person's label, which no image has
        assert len(store.pending()) == 3
        assert keep_one(store).order == 4
        for seed, record in enumerate(kept):
            assert np.array_equal(read_image(store.image_path(record.id)), picture(seed))


def test_an_image_without_row_becomes_a_record_even_when_its_number_was_given_again(
    tmp_path: Path, kept: list[Record]
) -> None:
    image = tmp_path / "images" / kept[2].image
    content = image.read_bytes()
    image.rename(tmp_path / "aside")
    lose_database(tmp_path)
    with reopened(tmp_path) as store:
        again = keep_one(store)
        assert again.order == kept[2].order
    image.write_bytes(content)
    with reopened(tmp_path) as store:
        assert store.repaired.imported == 1
        assert store.get(kept[2].id).order == again.order + 1
        assert keep_one(store).order == again.order + 2


def test_a_record_without_image_is_marked_until_the_image_is_back(tmp_path: Path, kept: list[Record]) -> None:
    image = tmp_path / "images" / kept[1].image
    image.rename(tmp_path / "aside.png")
    with reopened(tmp_path) as store:
        assert store.repaired.missing == 1
        assert store.get(kept[1].id).image_missing
        with pytest.raises(StoreError, match="is not here"):
            store.image_path(kept[1].id)
        assert not store.get(kept[0].id).image_missing
    (tmp_path / "aside.png").rename(image)
    with reopened(tmp_path) as store:
        assert store.repaired.missing == 0
        assert store.get(kept[1].id) == kept[1]


def test_files_that_are_no_records_are_set_aside_and_never_deleted(tmp_path: Path, kept: list[Record]) -> None:
    images = tmp_path / "images"
    whole = (images / kept[0].image).read_bytes()
    strangers = {
        "holiday.png": encode(picture()),
        "01a2077e-78cb-7000-8271-581d5b8159a9.png": whole,  # another record's
        "01a2077e-78cb-7000-8271-581d5b8159aa.png": whole[:-50],
        "01a2077e-78cb-7000-8271-581d5b8159ab.png": whole[:200] + bytes([whole[200] ^ 1]) + whole[201:],
        "01a2077e-78cb-7000-8271-581d5b8159ac.png": b"",
        "notes.txt": b"a person's",
    }
    for name, content in strangers.items():
        (images / name).write_bytes(content)
    (images / "link.png").symlink_to("/etc/hostname")
    (images / "folder").mkdir()
    with reopened(tmp_path) as store:
        assert store.repaired.set_aside == 7
        assert store.count() == 3
    orphans = tmp_path / "orphans"
    assert {path.name for path in orphans.iterdir()} == {*strangers, "link.png"}
    assert all((orphans / name).read_bytes() == content for name, content in strangers.items())
    assert image_files(tmp_path) == {*(record.image for record in kept), "folder"}
    (images / "notes.txt").write_bytes(b"another")
    with reopened(tmp_path):
        assert (orphans / "notes.txt").read_bytes() == b"a person's"
        assert len(list(orphans.glob("*notes.txt"))) == 2


def test_a_file_that_was_being_written_is_removed(tmp_path: Path, kept: list[Record]) -> None:
    (tmp_path / "images" / f"{kept[0].id}.png.part").write_bytes(b"half")
    with reopened(tmp_path) as store:
        assert store.repaired.unfinished == 1
        assert store.count() == 3
    assert image_files(tmp_path) == {record.image for record in kept}


def test_a_record_that_is_being_removed_is_not_seen_and_goes_at_the_next_start(
    tmp_path: Path, kept: list[Record]
) -> None:
    with reopened(tmp_path) as store:
        with store.database.writing() as connection:
            connection.exec_driver_sql('UPDATE record SET purging = 1 WHERE "order" = 2')
        assert store.find() == [store.get(kept[2].id), store.get(kept[0].id)]
        assert store.count() == 2
        assert store.count(Filter(deleted=True)) == 0
        with pytest.raises(StoreError, match="there is no record"):
            store.restore(kept[1].id)
        assert len(store.pending()) == 2
    with reopened(tmp_path):
        assert image_files(tmp_path) == {kept[0].image, kept[2].image}


def test_a_folder_keeps_its_name_for_good(tmp_path: Path, kept: list[Record]) -> None:
    (tmp_path / "store-id").write_text("scribble")
    with pytest.raises(StoreError, match="store-id is damaged"):
        reopened(tmp_path)
    assert kept


def test_a_power_cut_while_the_folder_got_its_first_id_does_not_stand_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "store-id.part").write_text("3f")
    with open_store(tmp_path, device="bench", min_free_bytes=0) as store:
        keep_one(store, seed=0)
        assert store.count() == 1
