"""The files of a bundle, as bytes: read from a folder or a zip that nobody vouches for, written so that none is half.

A bundle is one flat folder. Nothing is unpacked to the disk, no link is followed, and no more is read than was asked
for, whatever a zip claims. Paths are shown as the user gave them; names that come out of a bundle, as `printable`.
"""

import os
import secrets
import shutil
import stat
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from edge_app.disk import sync_folder, write_file
from edge_app.errors import BundleError, BundleNotFoundError, MemberError, UnsafeMemberError

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

MAX_DIRECTORY_BYTES = 2**20  # of a zip's list of members, which is held in memory before anything can be checked
END = struct.Struct("<4s4H2LH")  # a zip's last 22 bytes
ZIP64_LOCATOR = b"PK\6\7"
AGAIN = "get the bundle again from where it came from"


class Files(Protocol):
    """The files of an open bundle."""

    @property
    def names(self) -> list[str]:
        """All names, unchecked."""

    def check_safe(self) -> None:
        """Raise UnsafeMemberError for a link, a device, a subfolder or a name that leaves the bundle."""

    def read(self, name: str, limit: int) -> bytes:
        """Return a file whose name is among `names`: all of it, or its first `limit` + 1 bytes if it has more."""


@contextmanager
def open_files(path: Path) -> Iterator[Files]:
    """Open a bundle, a folder or a zip, for reading.

    Raises BundleNotFoundError when there is none, BundleError when it can't be read or is neither folder nor zip;
    OSErrors of the block that uses the files become BundleErrors too.
    """
    try:
        with _descriptor(path) as descriptor:
            kind = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(kind):
                yield Folder(str(path), descriptor, sorted(os.listdir(descriptor)))  # noqa: PTH208
            elif stat.S_ISREG(kind):
                with open(descriptor, "rb", closefd=False) as file:
                    yield open_zip(file, str(path))
            else:
                raise BundleError(f"{path} is neither a folder nor a file; name a .leuko bundle")
    except (FileNotFoundError, NotADirectoryError):
        raise BundleNotFoundError(f"there is no bundle {path}; check the path") from None
    except PermissionError:
        raise BundleError(f"{path} may not be read; check its permissions, and those of the files in it") from None
    except OSError as error:
        raise BundleError(f"{path} can't be read ({error.strerror}); {AGAIN}") from None


@dataclass(frozen=True)
class Folder:
    """The files of a folder, named and open; see `Files`."""

    origin: str
    descriptor: int
    names: list[str]

    def check_safe(self) -> None:
        """See `Files.check_safe`."""
        for name in self.names:
            _check_kind(self.origin, name, os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_mode)
            _check_name(self.origin, name)

    def read(self, name: str, limit: int) -> bytes:
        """See `Files.read`."""
        _check_kind(self.origin, name, os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_mode)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(name, flags, dir_fd=self.descriptor), "rb") as file:  # noqa: PTH123
            return file.read(limit + 1)


@dataclass(frozen=True)
class Zip:
    """The files of a zip, named and open; see `Files`."""

    origin: str
    archive: "ZipFile"

    @property
    def names(self) -> list[str]:
        """See `Files.names`; as they stand in the zip, where zipfile itself would cut them at a NUL."""
        return [info.orig_filename for info in self.archive.infolist()]

    def check_safe(self) -> None:
        """See `Files.check_safe`; raises MemberError when two members have the same name."""
        for info in self.archive.infolist():
            _check_name(self.origin, info.orig_filename)
            _check_kind(self.origin, info.orig_filename, _kind(info))
        if len(set(self.names)) < len(self.names):
            raise MemberError(f"{self.origin} has two members of the same name; {AGAIN}")

    def read(self, name: str, limit: int) -> bytes:
        """See `Files.read`; raises MemberError when the member is encrypted, damaged or oddly compressed."""
        from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile

        info = next(each for each in self.archive.infolist() if each.orig_filename == name)
        member = f"{printable(name)} of {self.origin}"
        if info.flag_bits & 1:
            raise MemberError(f"{member} is encrypted; unpack the bundle with its password, and use the folder")
        # Only of these two does zipfile unpack no more than it is asked for.
        if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise MemberError(f"{member} is compressed in another way than Deflate; unpack the bundle, use the folder")
        try:
            with self.archive.open(info) as file:
                return file.read(limit + 1)
        except (BadZipFile, EOFError, NotImplementedError, ValueError, struct.error, zlib.error):
            raise MemberError(f"{member} is damaged; {AGAIN}") from None


def open_zip(file: BinaryIO, origin: str) -> Zip:
    """Return the files of a zip; `origin` is what messages call it. Raises BundleError when it is none, or damaged."""
    from zipfile import BadZipFile, ZipFile

    _check_end(file, origin)
    try:
        return Zip(origin, ZipFile(file))
    except (BadZipFile, NotImplementedError, ValueError, struct.error):
        raise BundleError(f"{origin} is a damaged zip; {AGAIN}") from None


def write_folder(path: Path, files: Mapping[str, bytes], *, replace: bool) -> None:
    """Write a folder of files, whole or not at all, also through a power cut.

    With `replace` a bundle of that name makes way; between two renames there is none, and a power cut just then leaves
    both under hidden names. Without, it is refused. Raises BundleError, also for a full disk, and leaves nothing then.
    """
    with _writing(path) as (path, new, old):
        if os.path.lexists(path):
            _check_replaceable(path, replace)
        new.mkdir()
        for name, content in files.items():
            write_file(new / name, content)
        sync_folder(new)
        if replace and os.path.lexists(path):
            path.rename(old)
        new.rename(path)


def write_zip(path: Path, files: Mapping[str, bytes], *, replace: bool) -> None:
    """Write a zip of files as `write_folder` writes a folder; equal files give equal bytes."""
    with _writing(path) as (path, new, _):
        if os.path.lexists(path) and not (replace and path.is_file()):
            raise BundleError(f"{path} exists; remove it, or choose another name")
        new.mkdir()
        write_file(new / path.name, zipped(files, compress=False))
        (new / path.name).replace(path)


def zipped(files: Mapping[str, bytes], *, compress: bool) -> bytes:
    """Return a zip of files, in the order of their names, without dates."""
    from io import BytesIO
    from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

    buffer = BytesIO()
    with ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            info = ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = ZIP_DEFLATED if compress else ZIP_STORED
            info.create_system = 3  # Unix, whatever this is
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, files[name])
    return buffer.getvalue()


def printable(text: str, limit: int = 100) -> str:
    """Return a stranger's text for one line of a terminal: cut to `limit`, control characters as escapes."""
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


@contextmanager
def _descriptor(path: Path) -> Iterator[int]:
    """Open a path without waiting for a pipe's other end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError:  # a NUL, or a surrogate that stands for no byte
        raise FileNotFoundError from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _check_name(origin: str, name: str) -> None:
    if name in ("", ".", "..") or any(each in name for each in "/\\\0"):
        raise UnsafeMemberError(
            f"{origin} has the member {printable(name)!r}, whose name leaves the bundle or enters a subfolder; "
            f"a bundle is flat, so don't trust this one and {AGAIN}"
        )


def _check_kind(origin: str, name: str, kind: int) -> None:
    if not stat.S_ISREG(kind):
        what = "symbolic link" if stat.S_ISLNK(kind) else "folder" if stat.S_ISDIR(kind) else "device or pipe"
        raise UnsafeMemberError(
            f"{printable(name)} of {origin} is a {what}; a bundle has only files, so remove it or {AGAIN}"
        )


def _kind(info: "ZipInfo") -> int:
    """Return the mode that a zip gives a member; zips from systems without modes have plain files."""
    return info.external_attr >> 16 if stat.S_IFMT(info.external_attr >> 16) else stat.S_IFREG


def _check_end(file: BinaryIO, origin: str) -> None:
    """Raise BundleError unless the file begins and ends as a zip does that was made for a bundle.

    zipfile would take the list of members from wherever it finds one, and hold it in memory however long it is.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(2) != b"PK":
        raise BundleError(f"{origin} is neither a bundle's folder nor a zip; name a .leuko bundle")
    tail_bytes = min(size, END.size + 20)
    file.seek(-tail_bytes, os.SEEK_END)
    tail = file.read(tail_bytes)
    signature, *_, length, start, comment = END.unpack(tail[-END.size :].rjust(END.size, b"\0"))
    if signature != b"PK\5\6" or comment or start + length != size - END.size or tail.startswith(ZIP64_LOCATOR):
        raise BundleError(f"{origin} is a zip that is cut short, damaged, or has something appended; {AGAIN}")
    if length > MAX_DIRECTORY_BYTES:
        raise BundleError(f"{origin} is a zip of far too many members for a bundle; {AGAIN}")


@contextmanager
def _writing(path: Path) -> Iterator[tuple[Path, Path, Path]]:
    """Give the path with links resolved, and two free names beside it: for the new until it is whole, for the old."""
    try:
        path = Path(os.path.realpath(path))
        new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        old = new.with_name(new.name + ".old")
        try:
            yield path, new, old
        finally:
            if old.exists() and not path.exists():
                old.rename(path)
            for folder in (new, old):
                shutil.rmtree(folder, ignore_errors=True)
        sync_folder(path.parent)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BundleError(
            f"{path} can't be written ({reason}); check that its folder is there, may be written to and has room"
        ) from error


def _check_replaceable(path: Path, replace: bool) -> None:
    if not replace:
        raise BundleError(f"{path} exists; remove it, or choose another name")
    if not ((path / "manifest.json").is_file() and (path / "golden.npz").is_file()):
        raise BundleError(f"{path} is not a bundle, and is not replaced by one; choose another name")
