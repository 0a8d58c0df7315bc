"""Whatever is in a bundle: a BundleError, or a bundle whose files are what its manifest says."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_app.bundle import Bundle, members_of, open_bundle
from edge_app.bundle_files import zipped
from edge_app.errors import BundleError
from tests.bundles import (
    CLASSES,
    IMAGES,
    JSON,
    TINY,
    UNSAFE_NAMES,
    folder_of,
    named,
    tiny_members,
    with_manifest,
    zip_of,
)
from tests.tiny_models import HEIGHT, WIDTH

ZIP = zipped(TINY.files, compress=True)

Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
Flips = st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 255)), min_size=1, max_size=5)


def flipped(content: bytes, changes: list[tuple[int, int]]) -> bytes:
    data = bytearray(content)
    for at, value in changes:
        data[at % len(data)] = value
    return bytes(data)


def survives(write: Callable[[Path], object]) -> None:
    """Open what `write` makes; it may be refused, but a bundle that opens is sound, and nothing is written."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        write(path)
        before = sorted(Path(folder).rglob("*"))
        try:
            bundle = open_bundle(path)
            bundle.golden()
        except BundleError as error:
            assert str(error).isprintable()  # noqa: PT017
        else:
            assert bundle.sha256 == hashlib.sha256(bundle.read("manifest.json")).hexdigest()
            members = {name: data for name, data in bundle.files.items() if name != "manifest.json"}
            assert members_of(members) == bundle.manifest.files
            assert members == tiny_members()
        assert sorted(Path(folder).rglob("*")) == before


def places(content: object, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All paths into a JSON value."""
    inside: Iterable[tuple[Any, Any]] = ()
    if isinstance(content, dict):
        inside = content.items()
    elif isinstance(content, list):
        inside = enumerate(content)
    return [place, *(each for key, value in inside for each in places(value, (*place, key)))]


@settings(deadline=None)
@given(st.sampled_from(places(JSON)[1:]), st.sampled_from(["change", "remove", "add"]), Json, st.text())
def test_any_change_of_a_manifest_is_refused_or_harmless(
    place: tuple[Any, ...], action: str, value: object, key: str
) -> None:
    content = json.loads(json.dumps(JSON))
    parent = content
    for step in place[:-1]:
        parent = parent[step]
    if action == "change":
        parent[place[-1]] = value
    elif action == "remove":
        del parent[place[-1]]
    elif isinstance(parent, dict):
        parent[key] = value
    survives(lambda path: folder_of(path, with_manifest(content)))


@settings(deadline=None)
@given(st.binary(max_size=300) | Json.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_as_a_manifest_are_refused_or_harmless(data: bytes) -> None:
    survives(lambda path: folder_of(path, with_manifest(data)))


@settings(deadline=None)
@given(st.lists(st.text(max_size=20) | st.sampled_from(UNSAFE_NAMES), max_size=3))
def test_any_names_in_a_zip_are_refused_or_harmless(names: list[str]) -> None:
    survives(lambda path: zip_of(path, [*TINY.files.items(), *((named(name), b"") for name in names)]))


@settings(deadline=None)
@given(Flips, st.integers(0, 200))
def test_any_bytes_of_a_zip_are_refused_or_harmless(changes: list[tuple[int, int]], cut: int) -> None:
    data = flipped(ZIP, changes)
    survives(lambda path: path.write_bytes(data[: len(data) - cut] if cut < 50 else data))


@settings(deadline=None)
@given(Flips)
def test_any_bytes_of_a_zips_lists_are_refused_or_harmless(changes: list[tuple[int, int]]) -> None:
    """The headers and the end, where zipfile believes most, get all the changes."""
    data = ZIP
    start = data.index(b"PK\1\2")
    survives(lambda path: path.write_bytes(data[:start] + flipped(data[start:], changes)))


@settings(deadline=None)
@given(st.sampled_from(sorted(TINY.files)), Flips)
def test_any_bytes_of_a_folder_are_refused_or_harmless(name: str, changes: list[tuple[int, int]]) -> None:
    survives(lambda path: folder_of(path, {**TINY.files, name: flipped(TINY.files[name], changes)}))


@settings(deadline=None)
@given(Flips)
def test_any_bytes_of_a_golden_file_whose_sha256_is_right_are_refused_or_harmless(
    changes: list[tuple[int, int]],
) -> None:
    data = flipped(TINY.files["golden.npz"], changes)
    bundle = Bundle("tiny", TINY.manifest, "", {**TINY.files, "golden.npz": data})
    try:
        inputs, stored = bundle.golden()
    except BundleError as error:
        assert str(error).isprintable()  # noqa: PT017
    else:
        assert inputs.shape == (IMAGES, HEIGHT, WIDTH, 3)
        assert stored.shape == (IMAGES, len(CLASSES))
