"""Bundles: a model with all that is needed to use it and to check it, as a flat folder `NAME.leuko` or the same zipped.

`manifest.json` lists the sha256 of every other file; its own sha256 is the bundle's identity. A bundle is data from
strangers: whatever is in it, reading gives a `Bundle` or a BundleError, and nothing in it is unpickled or executed.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from edge_app import bundle_files
from edge_app.bundle_files import AGAIN, open_files, open_zip, printable, zipped
from edge_app.errors import BundleNotFoundError, BundleVersionError, GoldenError, ManifestError, MemberError
from edge_app.judging import named, softmax
from edge_app.manifest import FORMAT_VERSION, Manifest, Member
from edge_app.preprocessing import Image

MANIFEST, GOLDEN = "manifest.json", "golden.npz"
MAX_MANIFEST_BYTES = 4 * 2**20
MAX_MEMBER_BYTES = 512 * 2**20  # members are held in memory; the largest model of the study has 220 MB in float32
MAX_BYTES = 2**30

Logits = npt.NDArray[np.float32]

# What numpy writes before an array; read by this and not by numpy, which would evaluate it as Python.
NPY_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([^']{3})', 'fortran_order': False, 'shape': \(([0-9, ]{1,99})\), \} *\n",
    re.DOTALL,
)
MAX_NPY_HEADER_BYTES = 1000


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are those of its manifest, held in memory as they were checked.

    origin: what messages call it. sha256: of manifest.json's bytes, so of all; it goes with every verdict.
    files: name → content, manifest.json included.
    """

    origin: str = field(compare=False)
    manifest: Manifest
    sha256: str
    files: Mapping[str, bytes] = field(repr=False)

    def read(self, name: str) -> bytes:
        """Return a file's content; raises MemberError when the bundle has no such file."""
        if name not in self.files:
            raise MemberError(f"{self.origin} has no file {printable(name)}; {AGAIN}")
        return self.files[name]

    def golden(self) -> tuple[Image, Logits]:
        """Return prepared inputs (uint8 [N, H, W, 3], RGB) and the source model's logits for them (float32 [N, K]).

        Raises BundleError, mostly MemberError, when golden.npz is damaged or has other arrays than the manifest says.
        """
        origin = f"{GOLDEN} of {self.origin}"
        size, count = self.manifest.preprocessing, self.manifest.golden.images
        files = open_zip(BytesIO(self.files[GOLDEN]), origin)
        files.check_safe()
        if sorted(files.names) != ["inputs.npy", "logits.npy"]:
            raise MemberError(f"{origin} must have the arrays inputs and logits and nothing else; {AGAIN}")
        inputs = _read_array(files, "inputs.npy", (count, size.height, size.width, 3), "|u1")
        logits = _read_array(files, "logits.npy", (count, len(self.manifest.classes)), "<f4")
        if not np.isfinite(logits).all():
            raise MemberError(f"{origin} has logits that are not finite; {AGAIN}")
        return inputs, logits


@dataclass(frozen=True)
class GoldenReport:
    """How this device's answers to the golden inputs compare with the source model's.

    agreeing: images of the same label. largest_difference: of any class's probability on any image.
    """

    images: int
    agreeing: int
    largest_difference: float
    tolerance: float


def open_bundle(path: Path) -> Bundle:
    """Read a bundle and check everything but what its model computes.

    Raises BundleNotFoundError, ManifestError, BundleVersionError, UnsafeMemberError or MemberError, and BundleError
    when the path can't be read at all.
    """
    origin = str(path)
    with open_files(path) as source:
        if MANIFEST not in source.names:
            raise ManifestError(f"{origin} has no {MANIFEST}, so it is not a bundle; name a .leuko bundle")
        data = source.read(MANIFEST, MAX_MANIFEST_BYTES)
        if len(data) > MAX_MANIFEST_BYTES:
            raise MemberError(f"{MANIFEST} of {origin} is larger than {MAX_MANIFEST_BYTES} bytes; {AGAIN}")
        manifest = _parse(data, origin)
        source.check_safe()
        _check_listed(manifest, source.names, origin)
        files = {MANIFEST: data}
        for name, member in manifest.files.items():
            files[name] = source.read(name, member.bytes)
            _check_member(member, files[name], f"{name} of {origin}")
    return Bundle(origin, manifest, hashlib.sha256(data).hexdigest(), files)


def assemble(manifest: Manifest, members: Mapping[str, bytes]) -> Bundle:
    """Return a bundle that is not on the disk (yet) from its members, all but manifest.json.

    `manifest.files` is what `members_of` gives for them. Raises MemberError when it is not, when the members are too
    large, or golden.npz is not what the manifest says.
    """
    if manifest.files != members_of(members):
        raise MemberError(f"the manifest of {manifest.name} lists other files than it is given; use members_of for it")
    _check_listed(manifest, [MANIFEST, *members], manifest.name)
    data = (json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
    bundle = Bundle(manifest.name, manifest, hashlib.sha256(data).hexdigest(), {MANIFEST: data, **members})
    bundle.golden()
    return bundle


def members_of(members: Mapping[str, bytes]) -> dict[str, Member]:
    """Return what a manifest lists for some files."""
    return {name: Member(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)) for name, data in members.items()}


def golden_npz(inputs: Image, logits: Logits) -> bytes:
    """Return golden.npz of inputs (uint8 [N, H, W, 3], RGB) and the source model's logits (float32 [N, K])."""
    arrays = {}
    for name, array in {"inputs.npy": inputs.astype("u1"), "logits.npy": logits.astype("<f4")}.items():
        buffer = BytesIO()
        np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
        arrays[name] = buffer.getvalue()
    return zipped(arrays, compress=True)


def write_bundle(path: Path, bundle: Bundle, *, replace: bool = False) -> None:
    """Write a bundle as a folder, whole or not at all; with `replace` an older bundle there makes way.

    Equal bundles give equal bytes. Raises BundleError when something is there that may not be replaced, or the disk
    refuses; nothing new is left behind then.
    """
    bundle_files.write_folder(path, bundle.files, replace=replace)


def pack(path: Path, bundle: Bundle, *, replace: bool = False) -> None:
    """Write a bundle as a zip, else as `write_bundle` does; its identity stays the same."""
    bundle_files.write_zip(path, bundle.files, replace=replace)


def check_golden(bundle: Bundle, infer: Callable[[Image], Logits]) -> GoldenReport:
    """Compare what this device computes with what was measured; infer: uint8 [1, H, W, 3] → float32 [1, K].

    Raises GoldenError when a label differs, a probability differs by more than the bundle's tolerance, or an answer has
    another shape or dtype or is not finite; whatever `infer` raises; and MemberError when golden.npz can't be used.
    """
    classes, decision = bundle.manifest.classes, bundle.manifest.decision
    inputs, logits = bundle.golden()
    answers = np.empty_like(logits)
    for index in range(len(inputs)):
        answer = infer(inputs[index : index + 1])
        if answer.shape != (1, len(classes)) or answer.dtype != np.float32 or not np.isfinite(answer).all():
            raise GoldenError(
                f"the model of {bundle.origin} gives {answer.dtype} {list(answer.shape)} or values that are not "
                f"finite, where float32 {[1, len(classes)]} is due; export it again with `leukoscope export`"
            )
        answers[index] = answer
    ours, source = softmax(answers, decision.temperature), softmax(logits, decision.temperature)
    report = GoldenReport(
        images=len(inputs),
        agreeing=sum(
            named(dict(zip(classes, p, strict=True)), decision) == named(dict(zip(classes, q, strict=True)), decision)
            for p, q in zip(ours.tolist(), source.tolist(), strict=True)
        ),
        largest_difference=float(np.abs(ours - source).max()),
        tolerance=bundle.manifest.golden.tolerance,
    )
    if report.agreeing < report.images or not report.largest_difference <= report.tolerance:
        raise GoldenError(
            f"this device does not compute what was measured: {bundle.origin} gets the same label on {report.agreeing} "
            f"of {report.images} golden images, and probabilities up to {report.largest_difference:.3g} apart where "
            f"{report.tolerance:g} is allowed; use another version of the library that runs it, or another bundle"
        )
    return report


def default_bundle_path() -> Path:
    """Return the path of the bundle that is shipped; raises BundleNotFoundError when it is missing."""
    path = Path(str(resources.files("edge_app") / "data" / "default.leuko"))
    if not path.is_dir():
        raise BundleNotFoundError("this installation has no default bundle; install leukoscope again, or name a bundle")
    return path


def _parse(data: bytes, origin: str) -> Manifest:
    """Return a manifest; its version comes first, as a newer one may have keys that this Leukoscope can't know."""
    origin = f"{MANIFEST} of {origin}"
    try:
        content = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise ManifestError(f"{origin} is not UTF-8; {AGAIN}") from None
    except RecursionError:
        raise ManifestError(f"{origin} is nested far too deeply; {AGAIN}") from None
    except ValueError as error:
        raise ManifestError(f"{origin} is not JSON: {printable(str(error), 200)}; {AGAIN}") from None
    version = content.get("format_version") if isinstance(content, dict) else None
    if isinstance(version, int | float) and version > FORMAT_VERSION:
        raise BundleVersionError(
            f"{origin} was made for a newer Leukoscope (format version {printable(str(version))}, known up to "
            f"{FORMAT_VERSION}); update with `pip install --upgrade leukoscope`"
        )
    try:
        return Manifest.model_validate_json(data, strict=True)
    except ValidationError as error:
        first, *others = error.errors(include_url=False, include_input=False)
        key = printable(".".join(map(str, first["loc"])) or "the whole", 200)
        what = f"has the unknown key {key}" if first["type"] == "extra_forbidden" else f"is wrong at {key}"
        more = f", and {len(others)} more faults" if others else ""
        message = printable(first["msg"].removeprefix("Value error, "), 200)
        raise ManifestError(f"{origin} {what} ({message}){more}; {AGAIN}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _check_listed(manifest: Manifest, names: list[str], origin: str) -> None:
    """Raise MemberError unless the names are those that the manifest lists, of sizes that can be held in memory."""
    listed = {MANIFEST, *manifest.files}
    if unlisted := sorted(set(names) - listed):
        raise MemberError(
            f"{origin} has the file {printable(unlisted[0])}, which its manifest does not list; remove it"
        )
    if missing := sorted(listed - set(names)):
        raise MemberError(f"{missing[0]} of {origin} is missing; {AGAIN}")
    sizes = [member.bytes for member in manifest.files.values()]
    if max(sizes) > MAX_MEMBER_BYTES or sum(sizes) > MAX_BYTES:
        raise MemberError(
            f"{origin} is too large: a file may have {MAX_MEMBER_BYTES // 2**20} MiB, all {MAX_BYTES // 2**20} MiB; "
            "use a smaller model"
        )


def _check_member(member: Member, data: bytes, origin: str) -> None:
    if len(data) != member.bytes:
        difference = "larger" if len(data) > member.bytes else "smaller"
        raise MemberError(f"{origin} is {difference} than its manifest says ({member.bytes} bytes); {AGAIN}")
    if hashlib.sha256(data).hexdigest() != member.sha256:
        raise MemberError(f"{origin} has another sha256 than its manifest says: it was changed or damaged; {AGAIN}")


def _read_array(files: bundle_files.Zip, name: str, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
    """Return one array of golden.npz; never reads more than an array of the wanted shape has."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > MAX_MEMBER_BYTES:
        raise MemberError(f"{files.origin} would be too large with {name} of shape {list(shape)}; {AGAIN}")
    data = files.read(name, MAX_NPY_HEADER_BYTES + size)
    header = NPY_HEADER.match(data)
    found = header and (header[1].decode("latin-1"), tuple(map(int, re.findall(rb"[0-9]+", header[2]))))
    if header is None or found != (dtype, shape) or len(data) - header.end() != size:
        raise MemberError(f"{files.origin} must have {name} as {np.dtype(dtype)} {list(shape)}, in C order; {AGAIN}")
    return np.frombuffer(data, dtype, offset=header.end()).reshape(shape)
