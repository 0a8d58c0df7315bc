"""From a run folder to one bundle: convert, quantise, gate, golden outputs, model card."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.dataset import DatasetManifest, load_part
from benchmarks.fitting import fit_min_confidence
from benchmarks.metrics import figures
from benchmarks.run_folder import Evaluation, RunRecord, read_record, read_run
from benchmarks.source_model import source_logits
from edge_app import __version__
from edge_app.bundle import Bundle, assemble, golden_npz, members_of
from edge_app.errors import ExportError
from edge_app.judging import Decision, confidence, softmax
from edge_app.manifest import (
    FORMAT_VERSION,
    DataSource,
    Format,
    Gate,
    Golden,
    Manifest,
    Measured,
    Precision,
    Target,
)
from edge_app.preprocessing import Image, prepare
from edge_app.runtimes import Logits, Model, load_model
from edge_app.scale import TOLERANCE, Scale
from edge_app.slides import Kind
from edge_app.smears import draw_smear
from export.calibration import DEFAULT_IMAGES, CalibrationSet, calibration_set
from export.card import model_card
from export.gate import compare, run_all, stand_beside
from export.networks import Network, open_network
from export.quantising import Attempt, Progress, Task, attempts

# format → (module with `convert`, names of the files that it returns, libraries whose versions count)
CONVERTERS: dict[Format, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "tflite": ("export.tflite", ("model.tflite",), ("ai-edge-litert",)),
    "onnx": ("export.onnx", ("model.onnx",), ("onnx", "onnxruntime")),
    "openvino": ("export.openvino", ("model.xml", "model.bin"), ("onnx", "openvino", "nncf")),
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
    target: Target = "portable"

    @cached_property
    def network(self) -> Network:
        """The trained network."""
        return open_network(self.folder)

    def plain(self, format: Format) -> tuple[bytes, ...]:  # noqa: A002
        """Return the network's fp32 files in a format; those of the last format are kept, as the others want them."""
        if format not in self._plain:
            self._plain.clear()
            self._plain[format] = self.convert(format, "fp32")
        return self._plain[format]

    def convert(self, format: Format, precision: Precision) -> tuple[bytes, ...]:  # noqa: A002
        """Return the network's files in a format and a float precision."""
        size = self.dataset.preprocessing
        contents: tuple[bytes, ...] = import_module(CONVERTERS[format][0]).convert(
            self.network, precision, size.height, size.width
        )
        return contents

    @cached_property
    def _plain(self) -> dict[Format, tuple[bytes, ...]]:
        return {}

    def model(self, format: Format, precision: Precision, contents: tuple[bytes, ...]) -> Model:  # noqa: A002
        """Return some files as a model that a runtime loads."""
        size = self.dataset.preprocessing
        return Model(format, precision, len(self.record.classes), size.height, size.width, *contents)

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
        return np.concatenate([prepare(field, record).model_input for field in _golden_fields()])


@cache
def _golden_fields() -> tuple[Image, ...]:
    kinds: tuple[Kind, ...] = ("healthy", "leukaemic")
    return tuple(draw_smear(n, kind=kinds[n % 2], height=480, width=640).image for n in range(GOLDEN_DRAWN))


def open_run(
    folder: Path, dataset: Path | None = None, *, calibration_images: int, seed: int, target: Target = "portable"
) -> Run:
    """Read a run folder; dataset: where its data set lies now, if it was moved. Raises TrainingError."""
    record = read_run(folder)
    return Run(
        folder,
        record,
        read_record(folder / "dataset.json", DatasetManifest),
        dataset or Path(record.dataset_path),
        read_record(folder / "evaluation.json", Evaluation, f"make it with leukoscope evaluate {folder}"),
        calibration_images,
        seed,
        target,
    )


def bundle_name(run: Run, format: Format, precision: Precision) -> str:  # noqa: A002
    """Return what the bundle of a run in a format and precision is called; only integers of ONNX have a target."""
    name = f"{run.record.model}-{run.record.split}-{format}-{precision}"
    suited = (format, precision) == ("onnx", "int8") and run.target != "portable"
    return f"{name}-{run.target}" if suited else name


def make_bundle(
    run: Run,
    format: Format,  # noqa: A002
    precision: Precision,
    also: Sequence[Measured] = (),
    on_progress: Progress = lambda *_: None,
) -> Bundle:
    """Return the bundle of a run in a format and precision, the gate's finding in its manifest.

    also: figures of other bundles that the card shall carry. on_progress: called with what is done at present, and the
    share of it that is done. Of an int8 model that misses the gate the next attempt is made, until one is certified or
    there is none; then it is the one that agrees best. Raises ExportError, and whatever the runtime raises.
    """
    _, names, libraries = CONVERTERS[format]
    record, decision, size = run.record, run.evaluation.decision, run.dataset.preprocessing
    tried = []
    try:
        for attempt in _attempts(run, format, precision, on_progress):
            tried.append(_judge(run, format, precision, attempt, on_progress))
            if tried[-1].gate.certified:
                break
    except OSError as error:
        raise ExportError(
            f"the converter can't write to the temporary folder ({error.strerror}); free some room there, or set "
            "TMPDIR to a folder that has more"
        ) from error
    best = max(tried, key=lambda each: (each.gate.certified, each.gate.agreement))
    contents, found, gate = best.attempt.contents, best.found, best.gate
    on_progress("measuring on the test part", 0.0)
    found["test"] = run_all(
        best.infer, run.parts["test"][0], lambda share: on_progress("measuring on the test part", share)
    )
    found["golden"] = run_all(best.infer, run.golden)
    surest = _surest(run.source["golden"], record.classes, decision)
    members = {
        **dict(zip(names, contents, strict=True)),
        "golden.npz": golden_npz(run.golden[surest], run.source["golden"][surest]),
    }
    calibration = best.attempt.record
    beside = stand_beside(
        run.model(format, precision, contents), run.model(format, "fp32", run.plain(format)), run.golden[:1]
    )
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        name=bundle_name(run, format, precision),
        model=record.model,
        task=record.task,
        format=format,
        precision=precision,
        classes=record.classes,
        preprocessing=size,
        scale=_scale(run.dataset),
        decision=decision,
        limits=run.evaluation.limits.replace(min_confidence=best.min_confidence),
        model_file=names[0],
        files=members_of(members),
        golden=Golden(
            images=len(surest),
            tolerance=_tolerance(run.source["golden"][surest], found["golden"][surest], decision),
        ),
        calibration=calibration,
        gate=gate.replace(beside=beside),
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


@dataclass(frozen=True)
class _Judged:
    """An attempt that ran on the validation images: its logits by part, what the gate found, its confidence limit."""

    attempt: Attempt
    infer: Callable[[Image], Logits]
    found: dict[str, Logits]
    gate: Gate
    min_confidence: float


def _attempts(run: Run, format: Format, precision: Precision, on_progress: Progress) -> Iterator[Attempt]:  # noqa: A002
    if precision != "int8":
        on_progress("converting", 0.0)
        yield Attempt(run.plain(format) if precision == "fp32" else run.convert(format, precision), None)
        return
    on_progress("converting", 0.0)
    yield from attempts(
        Task(
            format,
            run.target,
            run.network,
            run.plain(format),
            run.calibration,
            run.source["calibration"],
            len(run.record.classes),
            run.evaluation.decision.temperature,
        ),
        on_progress,
    )


def _judge(
    run: Run,
    format: Format,  # noqa: A002
    precision: Precision,
    attempt: Attempt,
    on_progress: Progress,
) -> _Judged:
    """Return what the gate finds of an attempt."""
    classes, decision = run.record.classes, run.evaluation.decision
    images, truths = run.parts["val"]
    runtime = load_model(run.model(format, precision, attempt.contents))
    found = run_all(runtime.infer, images, lambda share: on_progress("holding against the source", share))
    # of the bundle's own outputs: a quantised model is not as sure of the same images as its source
    min_confidence = fit_min_confidence(softmax(found, decision.temperature), truths, classes, decision)
    gate = compare(run.source["val"], found, truths, classes, decision, min_confidence)
    return _Judged(attempt, runtime.infer, {"val": found}, gate, min_confidence)


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
