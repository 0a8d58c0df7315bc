"""Small valid bundles for tests: the network of `tests.tiny_models`, with golden outputs that are numpy's."""

import json
import warnings
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np

from edge_app.bundle import Bundle, assemble, golden_npz, members_of
from edge_app.judging import Decision, Limits, Range
from edge_app.manifest import (
    FORMAT_VERSION,
    Calibration,
    DataSource,
    Figure,
    Format,
    Gate,
    Golden,
    Manifest,
    Measured,
)
from edge_app.preprocessing import Preprocessing
from edge_app.scale import Scale
from tests.tiny_models import HEIGHT, WIDTH, logits, pictures

CLASSES = ("Benign", "Early", "Pre")
IMAGES = 4
ANY_FRAME = Limits(
    min_mask_fraction=0,
    min_focus=0,
    max_noise=1000,
    min_brightness=0,
    max_clipped=1,
    tint_a=Range(low=0, high=255),
    tint_b=Range(low=0, high=255),
    stain_hue=Range(low=0, high=255),
    stain_saturation=Range(low=0, high=255),
    min_confidence=0,
)
SUFFIXES: dict[Format, str] = {"tflite": ".tflite", "onnx": ".onnx", "openvino": ".xml"}


def tiny_members(model: bytes = b"not a model", model_format: Format = "onnx") -> dict[str, bytes]:
    """Return all files but the manifest; `tests.tiny_models` gives true models."""
    inputs = pictures(IMAGES)
    return {
        f"model{SUFFIXES[model_format]}": model,
        "golden.npz": golden_npz(inputs, np.concatenate([logits(each[np.newaxis]) for each in inputs])),
        "MODEL_CARD.md": b"# A tiny network\n",
    }


def tiny_manifest(members: dict[str, bytes], **changes: object) -> Manifest:
    """Return the manifest of some files, whose first is the model, with some fields changed."""
    model_file = next(iter(members))
    figures = {"accuracy": Figure(value=0.981, low=0.97, high=0.988), "specificity": Figure(value=0.9)}
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        name="tiny",
        model="tiny",
        task="stages",
        format=next(each for each, suffix in SUFFIXES.items() if model_file.endswith(suffix)),
        precision="fp32",
        classes=CLASSES,
        preprocessing=Preprocessing(height=HEIGHT, width=WIDTH),
        decision=Decision(temperature=1.5),
        limits=ANY_FRAME,
        model_file=model_file,
        files=members_of(members),
        golden=Golden(images=IMAGES, tolerance=0.01),
        calibration=Calibration(images=300, list_sha256="0" * 64),
        gate=Gate(
            images=500,
            agreement=0.998,
            accuracy_drop=0.002,
            largest_probability_difference=0.013,
            abstained={"Benign": 0.03, "Early": 0.0, "Pre": 0.01},
            certified=True,
        ),
        measured=(
            Measured(model="source", split="scene", part="test", images=489, figures=figures, note="drawn, not real"),
            Measured(model="bundle", split="scene", part="test", images=489, figures=figures),
        ),
        data=(DataSource(name="ALL-IDB1", images=108, citation="Labati et al., ICIP 2011"),),
        dataset_sha256="1" * 64,
        weights_sha256="2" * 64,
        libraries={"torch": "2.13.0"},
        leukoscope="0.1.0",
        created_at=datetime(2026, 11, 23, 5, tzinfo=UTC),
    )
    return manifest.replace(**changes) if changes else manifest


def tiny_bundle(model: bytes = b"not a model", model_format: Format = "onnx", **changes: object) -> Bundle:
    """Return a bundle that is not on the disk; `changes` are fields of its manifest."""
    members = tiny_members(model, model_format)
    return assemble(tiny_manifest(members, **changes), members)


def with_scale(bundle: Bundle) -> Bundle:
    """Return a bundle of 224 × 224 pixels as one whose model was trained on the drawn fields, of 17.5 red cells."""
    scale = Scale(red_cell_px=12.4, pixel_aspect=4 / 3, um_per_pixel=0.605)
    members = {name: bundle.read(name) for name in bundle.manifest.files}
    return assemble(bundle.manifest.replace(scale=scale), members)


TINY = tiny_bundle()
JSON = json.loads(TINY.read("manifest.json"))
UNSAFE_NAMES = [
    "../x",
    "/etc/x",
    "a/b",
    "..\\x",
    "C:\\x",
    "sub/",
    "..",
    ".",
    "x\0/../y",
    "",
    "./model.onnx",
    "a\x1b[2J/b",
]


def folder_of(path: Path, files: dict[str, bytes]) -> Path:
    """Write files without any check, as the others below do."""
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def zip_of(path: Path, files: Iterable[tuple[str | ZipInfo, bytes]], compression: int = ZIP_DEFLATED) -> Path:
    """Write a zip of any names; a ZipInfo keeps its mode."""
    with warnings.catch_warnings(action="ignore"), ZipFile(path, "w", compression) as archive:  # of a name used twice
        for name, content in files:
            archive.writestr(name, content, compression)
    return path


def named(name: str) -> ZipInfo:
    """A member of any name; ZipInfo's constructor would cut and change it."""
    info = ZipInfo("x")
    info.filename = name
    return info


def both(folder: Path, files: dict[str, bytes]) -> list[Path]:
    """The files as a folder and as a zip."""
    return [folder_of(folder / "x.leuko", files), zip_of(folder / "x.zip", files.items())]


def with_manifest(content: object) -> dict[str, bytes]:
    """The files with another manifest: bytes as they are, else as JSON."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return {**TINY.files, "manifest.json": data}
