import hashlib
import os
import stat
from pathlib import Path
from zipfile import ZIP_BZIP2, ZipInfo

import pytest

from edge_app.bundle import MAX_MEMBER_BYTES, open_bundle, pack, write_bundle
from edge_app.errors import (
    BundleError,
    BundleNotFoundError,
    BundleVersionError,
    ManifestError,
    MemberError,
    UnsafeMemberError,
)
from tests.bundles import JSON, TINY, UNSAFE_NAMES, both, folder_of, named, tiny_members, with_manifest, zip_of


def refused(path: Path, kind: type[BundleError], match: str) -> None:
    with pytest.raises(BundleError, match=match) as caught:
        open_bundle(path)
    assert type(caught.value) is kind
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700 + len(str(path))


def test_a_folder_and_its_zip_are_the_same_bundle(tmp_path: Path) -> None:
    write_bundle(tmp_path / "tiny.leuko", TINY)
    folder = open_bundle(tmp_path / "tiny.leuko")
    pack(tmp_path / "tiny.zip", folder)
    assert folder == open_bundle(tmp_path / "tiny.zip") == TINY
    assert folder.sha256 == hashlib.sha256((tmp_path / "tiny.leuko" / "manifest.json").read_bytes()).hexdigest()
    assert folder.read("MODEL_CARD.md") == b"# A tiny network\n"
    with pytest.raises(MemberError, match=r"has no file model\.bin"):
        folder.read("model.bin")


def test_a_bundle_is_reached_through_a_link_and_zipped_by_other_tools(tmp_path: Path) -> None:
    write_bundle(tmp_path / "tiny.leuko", TINY)
    (tmp_path / "link").symlink_to("tiny.leuko")
    assert open_bundle(tmp_path / "link") == TINY
    assert open_bundle(zip_of(tmp_path / "tiny.leuko.zip", TINY.files.items())) == TINY


# What can't be read at all


@pytest.mark.parametrize("name", ["none.leuko", "file/none.leuko", "nul\0.leuko", "\ud800.leuko"])
def test_a_path_with_nothing_there_says_so(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BundleNotFoundError, match="there is no bundle"):
        open_bundle(tmp_path / name)


def test_what_is_neither_a_folder_nor_a_whole_zip_is_refused(tmp_path: Path) -> None:
    whole = zip_of(tmp_path / "whole.zip", TINY.files.items()).read_bytes()
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("no bundle")
    (tmp_path / "short.zip").write_bytes(whole[:-30])
    (tmp_path / "shorter.zip").write_bytes(whole[:10])
    (tmp_path / "appended.zip").write_bytes(whole + b"x")
    (tmp_path / "prepended.zip").write_bytes(b"PK" + whole)
    os.mkfifo(tmp_path / "pipe")
    for name in ("empty", "text"):
        refused(tmp_path / name, BundleError, "neither a bundle's folder nor a zip")
    for name in ("short.zip", "shorter.zip", "appended.zip", "prepended.zip"):
        refused(tmp_path / name, BundleError, "cut short, damaged, or has something appended")
    refused(tmp_path / "pipe", BundleError, "neither a folder nor a file")
    refused(Path("/dev/zero"), BundleError, "neither a folder nor a file")
    refused(tmp_path / ("x" * 300), BundleError, "can't be read")
    refused(tmp_path, ManifestError, r"has no manifest\.json")


def test_a_zip_whose_list_of_members_is_huge_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "x.zip", ((f"{number:0>50000}", b"") for number in range(25)))
    refused(path, BundleError, "far too many members")


def test_what_may_not_be_read_says_so(tmp_path: Path) -> None:
    for path in both(tmp_path, dict(TINY.files)):
        path.chmod(0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)  # root may read everything
        try:
            refused(path, BundleError, "may not be read")
        finally:
            os.seteuid(user)
            path.chmod(0o700)


# manifest.json


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        (b"[" * 100_000, "nested far too deeply"),
        (b'{"a":' * 100_000, "nested far too deeply"),
        (b"[" * 500 + b"]" * 500, "is wrong at the whole"),
        (b"9" * 5000, "is not JSON"),
        (b"[]", "is wrong at the whole"),
        (b"null", "is wrong at the whole"),
        (b'{"name": "a", "name": "b"}', "a key stands twice"),
        (b'{"gate": {"agreement": NaN}}', "NaN is not a JSON number"),
        (JSON | {"ga\x1bte": 1}, r"has the unknown key ga\\x1bte"),
        (JSON | {"gate\ud800": 1}, "is wrong at the whole"),
        (JSON | {"x" * 100_000: 1}, "has the unknown key x"),
        (JSON | {"gate": JSON["gate"] | {"x": 1}}, r"has the unknown key gate\.x"),
        (JSON | {"gate": JSON["gate"] | {"images": 0}}, r"is wrong at gate\.images"),
        (JSON | {"gate": JSON["gate"] | {"images": "5"}}, r"is wrong at gate\.images"),
        (JSON | {"gate": JSON["gate"] | {"accuracy_drop": 10**400}}, r"is wrong at gate\.accuracy_drop"),
        (JSON | {"created_at": "2026-11-23T05:00:00"}, "is wrong at created_at"),
        (JSON | {"model": "\ud800"}, "is wrong at"),
        (JSON | {"format": "pickle"}, "is wrong at format"),
        (JSON | {"intended_use": "diagnosis"}, "is wrong at intended_use"),
        (JSON | {"format_version": 0}, "is wrong at format_version"),
        (JSON | {"format_version": "2"}, "is wrong at format_version"),
        (JSON | {"model_file": "other.onnx"}, "files must list the model file"),
        (JSON | {"model_file": "../model.onnx"}, "is wrong at model_file"),
        (JSON | {"files": JSON["files"] | {"../x": JSON["files"]["golden.npz"]}}, r"is wrong at files\.\.\./x"),
        ({name: value for name, value in JSON.items() if name != "limits"}, "is wrong at limits .*required"),
    ],
)
def test_a_manifest_that_is_not_one_is_refused_with_the_reason(tmp_path: Path, content: object, match: str) -> None:
    for path in both(tmp_path, with_manifest(content)):
        refused(path, ManifestError, match)


def test_without_a_manifest_it_is_no_bundle(tmp_path: Path) -> None:
    for path in both(tmp_path, tiny_members()):
        refused(path, ManifestError, r"has no manifest\.json")


def test_a_manifest_that_is_too_large_is_refused(tmp_path: Path) -> None:
    for path in both(tmp_path, with_manifest(b" " * 5_000_000)):
        refused(path, MemberError, r"manifest\.json .* is larger")


@pytest.mark.parametrize("version", [2, 1.5, 10**400])
def test_a_bundle_from_the_future_says_so_whatever_else_is_new(tmp_path: Path, version: float) -> None:
    content = {"format_version": version, "new_key": {}, "files": "elsewhere"}
    folder, zipped = both(tmp_path, with_manifest(content))
    (folder / "new folder").mkdir()
    for path in (folder, zipped):
        refused(path, BundleVersionError, "made for a newer Leukoscope .*pip install --upgrade")


# Members


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json", "golden.npz", "extra"])
def test_links_pipes_and_subfolders_in_a_folder_are_refused(tmp_path: Path, name: str) -> None:
    for number, make in enumerate([lambda path: path.symlink_to("/etc/passwd"), os.mkfifo, Path.mkdir]):
        folder = folder_of(tmp_path / f"{number}.leuko", dict(TINY.files))
        (folder / name).unlink(missing_ok=True)
        make(folder / name)  # type: ignore[no-untyped-call]
        refused(folder, UnsafeMemberError, f"{name} of .* is a (symbolic link|device or pipe|folder)")


@pytest.mark.parametrize("name", UNSAFE_NAMES)
def test_names_in_a_zip_that_leave_it_are_refused(tmp_path: Path, name: str) -> None:
    path = zip_of(tmp_path / "x.zip", [*TINY.files.items(), (named(name), b"")])
    refused(path, UnsafeMemberError, "leaves the bundle or enters a subfolder")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_members_of_a_zip_that_are_no_files_are_refused(tmp_path: Path, kind: int) -> None:
    info = ZipInfo("model.onnx")
    info.external_attr = (kind | 0o644) << 16
    files = [(name, content) for name, content in TINY.files.items() if name != "model.onnx"]
    refused(zip_of(tmp_path / "x.zip", [*files, (info, b"/etc/passwd")]), UnsafeMemberError, "model.onnx of .* is a")


def test_members_that_are_missing_unlisted_or_changed_are_refused(tmp_path: Path) -> None:
    files = dict(TINY.files)
    for number, (changed, match) in enumerate(
        [
            ({name: data for name, data in files.items() if name != "model.onnx"}, r"model\.onnx of .* is missing"),
            (files | {".DS_Store": b""}, r"has the file \.DS_Store, which its manifest does not list"),
            (files | {"x\x1b": b""}, r"has the file x\\x1b, which"),
            (files | {"model.onnx": b"NOT A MODEL"}, r"model\.onnx of .* has another sha256"),
            (files | {"model.onnx": b"not a mode"}, r"model\.onnx of .* is smaller"),
            (files | {"model.onnx": b"not a model and more"}, r"model\.onnx of .* is larger"),
            (files | {"model.onnx": bytes(5_000_000)}, r"model\.onnx of .* is larger"),
        ]
    ):
        (tmp_path / str(number)).mkdir()
        for path in both(tmp_path / str(number), changed):
            refused(path, MemberError, match)


@pytest.mark.parametrize("sizes", [[MAX_MEMBER_BYTES + 1], [MAX_MEMBER_BYTES] * 3, [10**300]])
def test_members_that_would_not_fit_into_memory_are_refused(tmp_path: Path, sizes: list[int]) -> None:
    large = {f"large{index}": {"sha256": "0" * 64, "bytes": size} for index, size in enumerate(sizes)}
    files = with_manifest(JSON | {"files": JSON["files"] | large}) | dict.fromkeys(large, b"")
    for path in both(tmp_path, files):
        refused(path, MemberError, "is too large")


def test_zips_that_are_made_to_mislead_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    refused(zip_of(path, [*TINY.files.items(), *TINY.files.items()]), MemberError, "two members of the same name")
    refused(zip_of(path, TINY.files.items(), ZIP_BZIP2), MemberError, "compressed in another way")
    plain = zip_of(path, TINY.files.items()).read_bytes()
    entry = plain.index(b"PK\1\2")
    path.write_bytes(plain[: entry + 8] + b"\1" + plain[entry + 9 :])
    refused(path, MemberError, "is encrypted")
    start = plain.index(b"golden.npz") + len(b"golden.npz")
    path.write_bytes(plain[:start] + bytes(20) + plain[start + 20 :])
    refused(path, MemberError, r"golden\.npz of .* is damaged")
