"""Fetches a file over HTTP with limits of size and time, by the standard library alone."""

import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError

from edge_app.bundle_files import printable
from edge_app.errors import BundleError, BundleNotFoundError

CHUNK_BYTES = 2**16


def fetch(
    address: str,
    path: Path,
    max_bytes: int,
    step_timeout_s: float,
    deadline: float,
    on_progress: Callable[[int, int | None], None],
) -> None:
    """Write what is at an address to a new file.

    step_timeout_s: that the server may be silent. deadline: on `time.monotonic`, for all of it. on_progress: is told
    the bytes that are here, and of how many, None where the server does not say. Raises BundleError, whatever goes
    wrong: the address, the network, a server's error, too many bytes, fewer than announced, or a full disk.
    """
    with _opened(address, step_timeout_s) as response, _in_words(path), path.open("xb") as file:
        announced = response.length
        if announced is not None and announced > max_bytes:
            raise BundleError(_too_large(address, max_bytes))
        done = 0
        while chunk := _next(response, address):
            done += len(chunk)
            if done > max_bytes:
                raise BundleError(_too_large(address, max_bytes))
            if time.monotonic() > deadline:
                raise BundleError(f"{address} took too long ({done} bytes came); try again on a better network")
            file.write(chunk)
            on_progress(done, announced)
        if announced is not None and done < announced:
            raise BundleError(f"{address} broke off after {done} of {announced} bytes; try again")


def fetch_text(address: str, timeout_s: float) -> str | None:
    """Return a short text, or None when the server has no such file; raises BundleError otherwise."""
    try:
        with _opened(address, timeout_s) as response:
            return _next(response, address).decode("utf-8", "replace")
    except BundleNotFoundError:
        return None


@contextmanager
def _opened(address: str, timeout_s: float) -> Iterator[HTTPResponse]:
    """Open an address. Raises BundleNotFoundError where the server has no such file, BundleError for all else."""
    if not address.lower().startswith(("https://", "http://")):
        raise BundleError(f"{address} is no address that is fetched from; give one with https:// or http://, or a file")
    try:
        response: HTTPResponse = urllib.request.urlopen(address, timeout=timeout_s)  # noqa: S310 - checked above
    except HTTPError as error:
        error.close()
        if error.code == 404:
            raise BundleNotFoundError(f"{address}: the server has no such file; check the address") from None
        raise BundleError(f"{address}: the server answers {error.code}; try later, or check the address") from None
    except (OSError, HTTPException, ValueError) as error:
        raise _lost(address, error) from None
    with response:
        if address.lower().startswith("https://") and not response.geturl().startswith("https://"):
            raise BundleError(f"{address} leads to an address without encryption; ask for another one")
        yield response


def _next(response: HTTPResponse, address: str) -> bytes:
    """Return what came next, empty at the end."""
    try:
        return response.read1(CHUNK_BYTES)
    except (OSError, HTTPException, ValueError) as error:
        raise _lost(address, error) from None


def _lost(address: str, error: Exception) -> BundleError:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error or type(error).__name__
    return BundleError(f"{address} can't be fetched ({printable(str(reason))}); check the address and the network")


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into a BundleError."""
    try:
        yield
    except OSError as error:
        raise BundleError(f"{path} can't be written ({error.strerror}); make room on the disk") from None


def _too_large(address: str, max_bytes: int) -> str:
    return f"{address} has more than the {max_bytes // 2**20} MiB that a bundle may have; use a smaller model"
