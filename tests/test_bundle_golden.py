from collections.abc import Callable
from io import BytesIO
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest

from edge_app.bundle import Bundle, Logits, assemble, check_golden, golden_npz
from edge_app.errors import BundleError, GoldenError, MemberError
from edge_app.judging import Decision
from edge_app.preprocessing import Image
from tests.bundles import CLASSES, IMAGES, TINY, tiny_bundle, tiny_manifest, tiny_members
from tests.tiny_models import HEIGHT, WIDTH, logits, pictures


def test_golden_gives_what_was_stored() -> None:
    inputs, stored = TINY.golden()
    assert (inputs.shape, inputs.dtype.name) == ((IMAGES, HEIGHT, WIDTH, 3), "uint8")
    assert (stored.shape, stored.dtype.name) == ((IMAGES, len(CLASSES)), "float32")
    assert np.array_equal(inputs, pictures(IMAGES))
    assert np.array_equal(stored[:1], logits(inputs[:1]))


def npz(**arrays: np.ndarray[Any, Any]) -> bytes:
    buffer = BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def with_header(header: bytes) -> bytes:
    buffer = BytesIO()
    with ZipFile(buffer, "w") as archive:
        archive.writestr("inputs.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        archive.writestr("logits.npy", b"")
    return buffer.getvalue()


INPUTS, LOGITS = TINY.golden()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no zip",
        npz(inputs=INPUTS),
        npz(inputs=INPUTS, logits=LOGITS, more=LOGITS),
        npz(inputs=INPUTS[:-1], logits=LOGITS),
        npz(inputs=INPUTS, logits=LOGITS[:, :-1]),
        npz(inputs=INPUTS, logits=LOGITS.astype(np.float64)),
        npz(inputs=INPUTS.astype(np.int8), logits=LOGITS),
        npz(inputs=np.asfortranarray(INPUTS), logits=LOGITS),
        npz(inputs=INPUTS, logits=LOGITS * np.nan),
        npz(inputs=np.array([{}], dtype=object), logits=LOGITS),
        with_header(b"{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999999, 12, 16, 3), }\n"),
        with_header(b"__import__('os').abort()\n"),
        with_header(b"(" * 5000),
        golden_npz(INPUTS, LOGITS)[:-5],
    ],
)
def test_a_golden_file_that_can_not_be_used_is_refused_when_read_and_when_written(data: bytes) -> None:
    members = tiny_members() | {"golden.npz": data}
    with pytest.raises(BundleError, match=r"golden\.npz of tiny"):
        assemble(tiny_manifest(members), members)
    with pytest.raises(BundleError, match=r"golden\.npz of tiny"):
        Bundle("tiny", TINY.manifest, TINY.sha256, {**TINY.files, "golden.npz": data}).golden()


def test_a_golden_file_by_numpy_itself_is_read() -> None:
    members = tiny_members() | {"golden.npz": npz(logits=LOGITS, inputs=INPUTS)}
    assert np.array_equal(assemble(tiny_manifest(members), members).golden()[0], INPUTS)


def test_a_golden_file_is_never_unpacked_beyond_its_shape() -> None:
    buffer = BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED) as archive:
        archive.writestr("inputs.npy", bytes(30_000_000))
        archive.writestr("logits.npy", b"")
    golden = TINY.manifest.golden.replace(images=10**12)
    bundle = Bundle("tiny", TINY.manifest, "", {**TINY.files, "golden.npz": buffer.getvalue()})
    with pytest.raises(MemberError, match=r"must have inputs\.npy as uint8"):
        bundle.golden()
    with pytest.raises(MemberError, match="would be too large"):
        Bundle("tiny", TINY.manifest.replace(golden=golden), "", TINY.files).golden()


def test_a_device_that_computes_what_was_measured_passes() -> None:
    report = check_golden(TINY, logits)
    assert (report.images, report.agreeing, report.largest_difference) == (IMAGES, IMAGES, 0)
    shifted = check_golden(TINY, lambda picture: logits(picture) + np.array([0.01, 0, 0], np.float32))
    assert 0 < shifted.largest_difference < shifted.tolerance == 0.01


def always(answer: Logits) -> Callable[[Image], Logits]:
    return lambda _: answer


@pytest.mark.parametrize(
    ("infer", "match"),
    [
        (lambda picture: logits(picture) * 1.5, "same label on 4 of 4 golden images, .* where 0.01 is allowed"),
        (lambda picture: -logits(picture), "same label on 0 of 4"),
        (always(np.full((1, 3), np.nan, np.float32)), "not finite"),
        (always(np.array([[np.inf, 0, 0]], np.float32)), "not finite"),
        (always(np.zeros((1, 4), np.float32)), r"gives float32 \[1, 4\]"),
        (always(np.zeros(3, np.float32)), r"gives float32 \[3\]"),
        (lambda picture: logits(picture).astype(np.float64), r"gives float64 \[1, 3\]"),
    ],
)
def test_a_device_that_does_not_is_told(infer: Callable[[Image], Logits], match: str) -> None:
    with pytest.raises(GoldenError, match=match):
        check_golden(TINY, infer)


def test_golden_labels_are_those_that_the_threshold_names() -> None:
    probability = np.exp(LOGITS[0, 0] / 1.0) / np.exp(LOGITS[0]).sum()
    decision = Decision(positive="Benign", threshold=float(probability) + 1e-4)
    bundle = tiny_bundle(decision=decision, golden=TINY.manifest.golden.replace(tolerance=1))
    assert check_golden(bundle, logits).agreeing == IMAGES
    with pytest.raises(GoldenError, match="same label on"):
        check_golden(bundle, lambda picture: logits(picture) + np.array([0.01, 0, 0], np.float32))
