import os
from pathlib import Path

import pytest

from edge_app.disk import check_folder, new_folder, replace_file, write_file


def test_a_new_file_is_never_written_over_another(tmp_path: Path) -> None:
    write_file(tmp_path / "a", b"first")
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"


def test_a_file_is_replaced_whole_or_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    replace_file(path, b"first")
    (tmp_path / "a.partial").write_bytes(b"what a power cut has left")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space"):
            replace_file(path, b"second")
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
    assert path.read_bytes() == b"first"
    replace_file(path, b"third")
    assert path.read_bytes() == b"third"


def test_a_folder_is_checked_and_left_as_it_was(tmp_path: Path) -> None:
    check_folder(tmp_path / "not" / "there")
    (tmp_path / "there").mkdir()
    check_folder(tmp_path / "there")
    assert [each.name for each in tmp_path.iterdir()] == ["there"]
    assert not list((tmp_path / "there").iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        check_folder(tmp_path / "file" / "folder")


def test_a_new_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "mine.partial").mkdir()
    (tmp_path / "mine.partial" / "left").touch()  # by a run that was killed
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "mine") as folder:
        (folder / "there" / "is" / "none").touch()
    assert not list(tmp_path.iterdir())
    with new_folder(tmp_path / "mine") as folder:
        folder.mkdir()
        (folder / "file").touch()
        assert not (tmp_path / "mine").exists()
    assert [each.name for each in tmp_path.rglob("*")] == ["mine", "file"]
