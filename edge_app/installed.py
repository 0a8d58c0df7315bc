"""The bundles that were installed on this device, and which of them is in use.

One folder holds them, each as `NAME-SHA256….leuko`, and `current.json`, which names the one in use and those before it.
That file is replaced by a rename, so that after a power cut the old model is in use or the new one, whole. Only where
nothing was ever installed is the shipped bundle the one in use: one that can't be read is an error, never passed over.
"""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from pydantic import ValidationError

from edge_app.bundle import Bundle, GoldenReport, check_golden, default_bundle_path, open_bundle, write_bundle
from edge_app.disk import replace_file
from edge_app.errors import BundleError, BundleNotFoundError
from edge_app.folders import bundles_folder
from edge_app.frozen import Frozen
from edge_app.runtimes import Executed, load

POINTER, LOCK = "current.json", ".lock"
SHIPPED = "shipped"
MAX_POINTER_BYTES = 1_000_000
MAX_DOWNLOAD_BYTES = 2**30 + 2**20  # what a bundle may have, zipped without compression
STEP_TIMEOUT_S = 20  # until a server that says nothing counts as lost
DOWNLOAD = ".leukoscope-download"
# What a bundle is written as until it is whole (`bundle_files.write_folder`), the pointer, and a download.
_LEFTOVER = re.compile(rf"\.[\w.-]+\.leuko\.[0-9a-f]{{8}}(\.old)?|\.{re.escape(POINTER)}|{re.escape(DOWNLOAD)}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

Progress = Callable[[int, int | None], None]


class Pointer(Frozen):
    """Names of the bundle in use, null for the shipped one, and of those that were before it, the last one last."""

    current: str | None = None
    previous: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Installed:
    """A bundle in the folder, or the shipped one; `bundle` is None where `problem` says why it can't be used."""

    name: str
    path: Path
    current: bool
    bundle: Bundle | None
    problem: str | None


@dataclass(frozen=True)
class Installation:
    """What was made current: how it answered the golden inputs on this device, and what ran it."""

    bundle: Bundle
    path: Path
    report: GoldenReport
    executed: Executed


def current_bundle_path(folder: Path | None = None) -> Path:
    """Return the path of the bundle in use: the one made current last, or the shipped one when there is none.

    folder: of the installed bundles; without it `bundles_folder`. Raises BundleError when it can't be told, and
    BundleNotFoundError when the bundle is gone.
    """
    folder = folder or bundles_folder()
    name = _read_pointer(folder).current
    if name is None:
        return default_bundle_path()
    if not (folder / name).exists():
        raise BundleNotFoundError(
            f"the bundle in use, {folder / name}, is gone; go back with `leukoscope bundle rollback`, or install one"
        )
    return folder / name


def list_installed(folder: Path) -> list[Installed]:
    """Return the shipped bundle and those in a folder, by name. Raises BundleError when the folder can't be read."""
    current = _read_pointer(folder).current
    paths = {SHIPPED: default_bundle_path()}
    with _in_words(folder):
        if folder.is_dir():
            paths |= {path.name: path for path in sorted(folder.glob("[!.]*.leuko"))}
    found = []
    for name, path in paths.items():
        in_use = name == (current or SHIPPED)
        try:
            found.append(Installed(name, path, in_use, open_bundle(path), None))
        except BundleError as error:
            found.append(Installed(name, path, in_use, None, str(error)))
    return found


def install(
    source: str,
    folder: Path,
    *,
    sha256: str | None = None,
    threads: int = 0,
    timeout_s: float = 1800,
    on_progress: Progress = lambda *_: None,
) -> Installation:
    """Make a bundle the one in use, after it was checked whole and computes on this device what was measured.

    source: a .leuko folder or file, or an address (http or https) of such a file. sha256: of the file, or of the bundle
    as `bundle info` prints it; an address needs it, or a file ADDRESS.sha256 beside it. timeout_s: of the download.
    on_progress: is told the bytes that are here, and of how many where the server says so.

    Whatever is raised, the bundle in use stays as it was, and nothing new stays in the folder. Raises BundleError for
    what is wrong with the bundle, its hash, its address or the folder, and RuntimeMissingError and InferenceError.
    """
    if sha256 is not None and not _SHA256.fullmatch(sha256 := sha256.lower()):
        raise BundleError("--sha256 takes 64 hexadecimal digits; copy all of them")
    with _locked(folder), _fetched(source, folder, sha256, timeout_s, on_progress) as (path, expected):
        bundle = open_bundle(path)
        if expected is not None and expected not in (bundle.sha256, _file_sha256(path)):
            raise BundleError(
                f"{source} is not what was announced: {expected[:12]}… is neither the file's sha256 nor the bundle's; "
                "get it again, or ask where it came from"
            )
        runtime = load(bundle, threads=threads)
        report = check_golden(bundle, runtime.infer)
        target = folder / f"{bundle.manifest.name}-{bundle.sha256[:12]}.leuko"
        if not _is_there(target, bundle):
            write_bundle(target, bundle, replace=True)
        pointer = _read_pointer(folder)
        if pointer.current != target.name:
            kept = (*pointer.previous, pointer.current)
            _write_pointer(folder, Pointer(current=target.name, previous=kept))
    return Installation(bundle, target, report, runtime.describe())


def roll_back(folder: Path, *, threads: int = 0) -> Installation:
    """Make the bundle that was in use before the current one the one in use, once it is checked as a new one is.

    Raises BundleError when there is none before, and as `install` does; the bundle in use stays as it was then.
    """
    with _locked(folder):
        pointer = _read_pointer(folder)
        if not pointer.previous:
            raise BundleError("no bundle was in use before this one; install one with `leukoscope bundle install`")
        name = pointer.previous[-1]
        path = default_bundle_path() if name is None else folder / name
        bundle = open_bundle(path)
        runtime = load(bundle, threads=threads)
        report = check_golden(bundle, runtime.infer)
        _write_pointer(folder, Pointer(current=name, previous=pointer.previous[:-1]))
    return Installation(bundle, path, report, runtime.describe())


@contextmanager
def _in_words(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BundleError(
            f"{folder} can't be used ({error.strerror}); check that it may be written to and has room, "
            "or name another with --folder"
        ) from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other installations out, and remove what one that was cut off has left."""
    with _in_words(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BundleError(f"another installation is at work in {folder}; wait until it has ended") from None
        _remove_leftovers(folder)
        try:
            yield
        finally:
            _remove_leftovers(folder)
    finally:
        os.close(lock)


def _remove_leftovers(folder: Path) -> None:
    for path in folder.iterdir():
        if not _LEFTOVER.fullmatch(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


@contextmanager
def _fetched(
    source: str, folder: Path, sha256: str | None, timeout_s: float, on_progress: Progress
) -> Iterator[tuple[Path, str | None]]:
    """Give where a bundle lies and the hash that it must have; one from the network lies in the folder for so long."""
    if not re.match(r"[a-z][a-z0-9+.-]*://", source, re.IGNORECASE):
        yield Path(source), sha256
        return
    from urllib.parse import urlsplit

    from edge_app.download import fetch, fetch_text

    expected = sha256 or _hash_in(fetch_text(f"{source}.sha256", STEP_TIMEOUT_S), source)
    with _in_words(folder):
        (folder / DOWNLOAD).mkdir()
    path = folder / DOWNLOAD / (re.sub(r"[^\w.-]", "_", Path(urlsplit(source).path).name)[:100] or "bundle")
    fetch(source, path, MAX_DOWNLOAD_BYTES, STEP_TIMEOUT_S, time.monotonic() + timeout_s, on_progress)
    yield path, expected


def _hash_in(text: str | None, source: str) -> str:
    """Return the hash in what sha256sum writes."""
    found = _SHA256.match((text or "").strip().lower())
    if found is None:
        raise BundleError(
            f"{source}.sha256 holds no hash to check the download against; give --sha256, as its maker tells it"
        )
    return found[0]


def _file_sha256(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _is_there(path: Path, bundle: Bundle) -> bool:
    try:
        return open_bundle(path).sha256 == bundle.sha256
    except BundleError:
        return False


def _read_pointer(folder: Path) -> Pointer:
    path = folder / POINTER
    try:
        with path.open("rb") as file:
            return Pointer.model_validate_json(file.read(MAX_POINTER_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return Pointer()
    except OSError as error:
        raise BundleError(f"{path} can't be read ({error.strerror}); check its permissions and the disk") from None
    except ValidationError:
        raise BundleError(
            f"{path} is damaged, so it is not known which bundle is in use; remove it and install the bundle again"
        ) from None


def _write_pointer(folder: Path, pointer: Pointer) -> None:
    """Replace the pointer, whole or not at all, also through a power cut; what it names is on the disk already."""
    with _in_words(folder):
        replace_file(folder / POINTER, pointer.model_dump_json(indent=1).encode() + b"\n", folder / f".{POINTER}")
