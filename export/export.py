"""From a run folder to one bundle: convert, quantise, gate, golden outputs, model card."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.dataset import DatasetManifest, load_part
from benchmarks.fitting import fit_min_confidence
from benchmarks.metrics import figures
from benchmarks.run_folder import Evaluation, RunRecord, read_record, read_run
from benchmarks.source_model import load_network, source_logits
from edge_app import __version__
from edge_app.bundle import Bundle, assemble, golden_npz, members_of
from edge_app.judging import Decision, confidence, softmax
from edge_app.manifest import FORMAT_VERSION, DataSource, Format, Golden, Manifest, Measured, Precision
from edge_app.preprocessing import Image, prepare
from edge_app.runtimes import Logits, Model, load_model
from edge_app.scale import TOLERANCE, Scale
from edge_app.smears import draw_smear
from export.calibration import DEFAULT_IMAGES, CalibrationSet, calibration_set
from export.card import model_card
from export.gate import compare, run_all

# format → (module with `convert`, names of the files that it returns, libraries whose versions count)
CONVERTERS: dict[Format, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "tflite": ("export.tflite", ("model.tflite",), ("ai-edge-litert",)),
    "onnx": ("export.onnx", ("model.onnx",), ("onnx", "onnxruntime")),
    "openvino": ("export.openvino", ("model.xml", "model.bin"), ("openvino", "nncf")),
}
CITATIONS = {
    "ALL image dataset": "Ghaderzadeh et al., Int J Intell Syst 2022, doi 10.1002/int.22753; "
    "data doi 10.34740/KAGGLE/DSV/2175623",
    "ALL-IDB1": "Labati, Piuri, Scotti, ALL-IDB, ICIP 2011",
}
GOLDEN_DRAWN, GOLDEN_KEPT = 16, 8
GOLDEN_SLACK = 0.02  # of a probability: integer kernels of other processors round otherwise


@dataclass(frozen=True)
class Run:
    """A finished and evaluated run, read once for all the bundles that are made of it."""

    folder: Path
    record: RunRecord
    dataset: DatasetManifest
    dataset_folder: Path
    evaluation: Evaluation
    calibration_images: int = DEFAULT_IMAGES
    seed: int = 0

    @cached_property
    def calibration(self) -> CalibrationSet:
        """The training images for quantisers."""
        return calibration_set(self.dataset_folder, self.dataset, self.calibration_images, self.seed)

    @cached_property
    def parts(self) -> dict[str, tuple[Image, Any]]:
        """Images and classes of validation and test."""
        return {part: load_part(self.dataset_folder, self.dataset, part) for part in ("val", "test")}

    @cached_property
    def source(self) -> dict[str, Logits]:
        """The source model's logits for validation, test, calibration and golden images."""
        logits = source_logits(self.folder)
        images = {part: images for part, (images, _) in self.parts.items()}
        images |= {"calibration": self.calibration.images, "golden": self.golden}
        return {name: logits(each) for name, each in images.items()}

    @cached_property
    def golden(self) -> Image:
        """Drawn fields, prepared: real ones may not be passed on."""
        record = self.dataset.preprocessing
        drawn = [
            draw_smear(seed, kind="leukaemic" if seed % 2 else "healthy", height=480, width=640).image
            for seed in range(GOLDEN_DRAWN)
        ]
        return np.concatenate([prepare(image, record).model_input for image in drawn])


def open_run(folder: Path, dataset: Path | None = None, *, calibration_images: int, seed: int) -> Run:
    """Read a run folder; dataset: where its data set lies now, if it was moved. Raises TrainingError."""
    record = read_run(folder)
    return Run(
        folder,
        record,
        read_record(folder / "dataset.json", DatasetManifest),
        dataset or Path(record.dataset_path),
        read_record(folder / "evaluation.json", Evaluation),
        calibration_images,
        seed,
    )


def make_bundle(run: Run, format: Format, precision: Precision, also: Sequence[Measured] = ()) -> Bundle:  # noqa: A002
    """Return the bundle of a run in a format and precision, the gate's finding in its manifest.

    also: figures of other bundles that the card shall carry. Raises ExportError, and whatever the runtime raises.
    """
    module, names, libraries = CONVERTERS[format]
    record, decision, size = run.record, run.evaluation.decision, run.dataset.preprocessing
    convert = partial(
        import_module(module).convert, load_network(run.folder).fuse(verbose=False), precision, size.height, size.width
    )
    contents, calibration = _quantise(run, format, convert) if precision == "int8" else (convert(None), None)
    runtime = load_model(Model(format, precision, len(record.classes), size.height, size.width, *contents))
    found = {part: run_all(runtime.infer, images) for part, (images, _) in run.parts.items()}
    found["golden"] = run_all(runtime.infer, run.golden)
    # of the bundle's own outputs: a quantised model is not as sure of the same images as its source
    truths = run.parts["val"][1]
    min_confidence = fit_min_confidence(softmax(found["val"], decision.temperature), truths, record.classes, decision)
    surest = _surest(run.source["golden"], record.classes, decision)
    members = {
        **dict(zip(names, contents, strict=True)),
        "golden.npz": golden_npz(run.golden[surest], run.source["golden"][surest]),
    }
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        name=f"{record.model}-{record.split}-{format}-{precision}",
        model=record.model,
        task=record.task,
        format=format,
        precision=precision,
        classes=record.classes,
        preprocessing=size,
        scale=_scale(run.dataset),
        decision=decision,
        limits=run.evaluation.limits.replace(min_confidence=min_confidence),
        model_file=names[0],
        files=members_of(members),
        golden=Golden(
            images=len(surest),
            tolerance=_tolerance(run.source["golden"][surest], found["golden"][surest], decision),
        ),
        calibration=calibration.record if calibration else None,
        gate=compare(run.source["val"], found["val"], truths, record.classes, decision, min_confidence),
        measured=(*run.evaluation.measured, *(_measure(run, part, found[part]) for part in run.parts), *also),
        data=tuple(
            DataSource(name=name, images=count, citation=CITATIONS.get(name, ""))
            for name, count in sorted(Counter(file.source for file in run.dataset.files).items())
        ),
        dataset_sha256=record.dataset_sha256,
        weights_sha256=record.weights_sha256,
        libraries=record.libraries | {name: metadata.version(name) for name in libraries},
        leukoscope=__version__,
        created_at=datetime.now(UTC),
    )
    members["MODEL_CARD.md"] = model_card(manifest, record, run.evaluation).encode()
    return assemble(manifest.replace(files=members_of(members)), members)


def _scale(dataset: DatasetManifest) -> Scale | None:
    """Return the scale that the app shall cut frames by, with what is tolerated now; none where nothing was cut."""
    return dataset.scale.replace(tolerance=TOLERANCE) if dataset.fields and dataset.scale else None


def _quantise(
    run: Run,
    format: Format,  # noqa: A002
    convert: Callable[[Image], tuple[bytes, ...]],
) -> tuple[tuple[bytes, ...], CalibrationSet]:
    """Return the model that is nearest to its source of those calibrated on a quarter, on half, and on all images.

    More images widen the ranges by their outliers, fewer miss values: which is better differs from network to network.
    What is compared are probabilities on the calibration images, which are training images; the gate sees others.
    """
    size, decision, everything = run.dataset.preprocessing, run.evaluation.decision, run.calibration
    candidates = {}
    for share in (4, 2, 1):
        calibration = everything.first(max(1, len(everything.files) // share))
        contents = convert(calibration.images)
        runtime = load_model(Model(format, "int8", len(run.record.classes), size.height, size.width, *contents))
        found = softmax(run_all(runtime.infer, everything.images), decision.temperature)
        difference = np.abs(found - softmax(run.source["calibration"], decision.temperature)).mean()
        candidates[float(difference)] = contents, calibration
    return candidates[min(candidates)]


def _measure(run: Run, part: str, logits: Logits) -> Measured:
    """Return a bundle's figures on a part of its run's data set."""
    decision = run.evaluation.decision
    return Measured(
        model="bundle",
        split=run.dataset.split,
        part=part,
        images=len(logits),
        figures=figures(
            softmax(logits, decision.temperature),
            run.parts[part][1],
            [file.group for file in run.dataset.files if file.part == part],
            run.record.classes,
            decision,
        ),
    )


def _surest(logits: Logits, classes: tuple[str, ...], decision: Decision) -> list[int]:
    """Return the golden images whose label no rounding turns: those of which the source is surest."""
    sure = [
        confidence(dict(zip(classes, row, strict=True)), decision)
        for row in softmax(logits, decision.temperature).tolist()
    ]
    return sorted(sorted(range(len(sure)), key=lambda index: -sure[index])[:GOLDEN_KEPT])


def _tolerance(source: Logits, bundle: Logits, decision: Decision) -> float:
    """Return what a device may differ by: half as much again as this machine does, and some slack."""
    difference = np.abs(softmax(source, decision.temperature) - softmax(bundle, decision.temperature)).max()
    return min(1.0, round(1.5 * float(difference) + GOLDEN_SLACK, 4))
