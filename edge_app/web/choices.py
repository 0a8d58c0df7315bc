"""The bundles that the page may switch to: those of one folder, the shipped one, and the one the app began with."""

import re
import threading
from dataclasses import dataclass
from pathlib import Path

from edge_app.bundle import default_bundle_path, open_bundle
from edge_app.bundle_files import printable
from edge_app.errors import BundleError, BundleNotFoundError
from edge_app.installed import SHIPPED
from edge_app.manifest import Format, Manifest, Precision

MOST = 100  # bundles that are listed
GIVEN = "given"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Choice:
    """A bundle that can be switched to; `problem` says why it can't.

    name: `shipped`, `given` (the one the app began with), or its name in the folder.
    """

    name: str
    model: str | None
    format: Format | None
    precision: Precision | None
    certified: bool | None
    current: bool
    problem: str | None


class Choices:
    """Lists bundles, and finds one by a name that it has listed: no path ever comes from outside."""

    def __init__(self, folder: Path | None, given: Path) -> None:
        """Offer the shipped bundle and those of a folder, looked at anew each time, if there is one.

        given: the bundle that the app was started with, offered as `given` where it is none of these.
        """
        self._folder = folder
        self._given = given.absolute()
        self._known: dict[Path, tuple[_Stamp, Manifest | str]] = {}
        self._lock = threading.Lock()

    def list(self, current: Path) -> list[Choice]:
        """Return what there is, the shipped one first; `current` is the bundle in use.

        Raises BundleError when the folder can't be read.
        """
        with self._lock:
            paths = self._paths()
            self._known = {path: known for path, known in self._known.items() if path in paths.values()}
            return [self._choice(name, path, current) for name, path in paths.items()]

    def path(self, name: str) -> Path:
        """Return a bundle's path by its name in the list.

        Raises BundleNotFoundError, and BundleError when the folder can't be read.
        """
        path = self._paths().get(name)
        if path is None:
            raise BundleNotFoundError(f"there is no model {printable(name)}; choose one of the list")
        return path

    def _paths(self) -> dict[str, Path]:
        paths = {SHIPPED: default_bundle_path()}
        try:
            if self._folder is not None and self._folder.is_dir():
                found = sorted(path for path in self._folder.iterdir() if path.suffix in (".leuko", ".zip"))
                paths |= {path.name: path for path in found[:MOST] if _NAME.fullmatch(path.name)}
        except OSError as error:
            raise BundleError(
                f"the folder of bundles, {self._folder}, can't be read ({error.strerror}); let the app's user read it, "
                "or start the app with another bundle_folder"
            ) from None
        if self._given not in (path.absolute() for path in paths.values()):
            paths[GIVEN] = self._given
        return paths

    def _choice(self, name: str, path: Path, current: Path) -> Choice:
        stamp = _stamp(path)
        known = self._known.get(path)
        if known is None or known[0] != stamp:
            try:
                known = stamp, open_bundle(path).manifest
            except BundleError as error:
                known = stamp, str(error)
            self._known[path] = known
        is_current = path.absolute() == current.absolute()
        manifest = known[1]
        if isinstance(manifest, str):
            return Choice(name, None, None, None, None, is_current, manifest)
        return Choice(
            name,
            manifest.name,
            manifest.format,
            manifest.precision,
            manifest.gate.certified,
            is_current,
            None,
        )


def _stamp(path: Path) -> _Stamp:
    """Return what changes when a bundle's files do, without reading them."""
    stamps = []
    for file in (path, *sorted(path.iterdir())) if path.is_dir() else (path,):
        try:
            status = file.stat()
        except OSError:
            continue
        stamps.append((file.name, status.st_mtime_ns, status.st_size))
    return tuple(stamps)
