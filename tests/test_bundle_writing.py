import errno
import os
import resource
from importlib import resources
from pathlib import Path

import pytest

from edge_app.bundle import assemble, default_bundle_path, members_of, open_bundle, pack, write_bundle
from edge_app.errors import BundleError, BundleNotFoundError, MemberError
from edge_app.schema import SCHEMA_FILE, manifest_schema
from tests.bundles import TINY, tiny_bundle, tiny_manifest, tiny_members


def test_equal_bundles_give_equal_bytes(tmp_path: Path) -> None:
    members = tiny_members()
    manifest = tiny_manifest(members, libraries={"a": "1", "b": "2"})
    turned = manifest.replace(libraries={"b": "2", "a": "1"})
    one, other = assemble(manifest, members), assemble(turned, dict(reversed(members.items())))
    assert one.sha256 == other.sha256
    pack(tmp_path / "one.zip", one)
    pack(tmp_path / "other.zip", other)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()


def test_a_manifest_of_other_files_is_not_assembled() -> None:
    members = tiny_members()
    with pytest.raises(MemberError, match="use members_of"):
        assemble(TINY.manifest, members | {"model.onnx": b"another"})
    assert members_of(members) == TINY.manifest.files


def test_what_exists_is_replaced_only_if_asked_and_only_if_it_is_a_bundle(tmp_path: Path) -> None:
    newer = tiny_bundle(b"a newer model")
    for write, path in ((write_bundle, tmp_path / "x.leuko"), (pack, tmp_path / "x.zip")):
        write(path, TINY)
        with pytest.raises(BundleError, match="exists"):
            write(path, newer)
        assert open_bundle(path) == TINY
        write(path, newer, replace=True)
        assert open_bundle(path) == newer
        folder = tmp_path / "photographs"
        folder.mkdir(exist_ok=True)
        (folder / "precious.jpg").touch()
        with pytest.raises(BundleError, match="another name"):
            write(folder, TINY, replace=True)
        assert [each.name for each in folder.iterdir()] == ["precious.jpg"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["photographs", "x.leuko", "x.zip"]


def test_a_link_to_a_bundle_stays_one_when_it_is_replaced(tmp_path: Path) -> None:
    write_bundle(tmp_path / "x.leuko", TINY)
    (tmp_path / "link").symlink_to("x.leuko")
    newer = tiny_bundle(b"a newer model")
    write_bundle(tmp_path / "link", newer, replace=True)
    assert (tmp_path / "link").is_symlink()
    assert open_bundle(tmp_path / "x.leuko") == newer


def test_a_disk_that_is_full_leaves_the_old_bundle_and_nothing_else(tmp_path: Path) -> None:
    large = tiny_bundle(bytes(200_000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for write, path in ((write_bundle, tmp_path / "x.leuko"), (pack, tmp_path / "x.zip")):
        write(path, TINY)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        try:
            with pytest.raises(BundleError, match=f"can't be written .{os.strerror(errno.EFBIG)}"):
                write(path, large, replace=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert open_bundle(path) == TINY
    assert sorted(each.name for each in tmp_path.iterdir()) == ["x.leuko", "x.zip"]


@pytest.mark.parametrize("name", ["none/x.leuko", "file/x.leuko", "nul\0", "x" * 300])
def test_a_path_that_can_not_be_written_says_so(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    for write in (write_bundle, pack):
        with pytest.raises(BundleError, match="can't be written"):
            write(tmp_path / name, TINY)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_the_default_bundle_is_the_package_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "files", lambda package: tmp_path / package)
    with pytest.raises(BundleNotFoundError, match="no default bundle"):
        default_bundle_path()
    (tmp_path / "edge_app" / "data").mkdir(parents=True)
    write_bundle(tmp_path / "edge_app" / "data" / "default.leuko", TINY)
    assert open_bundle(default_bundle_path()) == TINY


def test_the_published_schema_is_not_stale() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == manifest_schema(), "run python -m edge_app.schema"
