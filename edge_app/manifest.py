"""The manifest of a bundle: what the model is, how it is to be used, what it was measured to do."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from edge_app.frozen import Frozen
from edge_app.judging import Decision, Limits
from edge_app.preprocessing import Preprocessing
from edge_app.quality import Share
from edge_app.scale import Scale

FORMAT_VERSION: Literal[1] = 1
INTENDED_USE: Literal["For Research Use Only. Not for use in diagnostic procedures."] = (
    "For Research Use Only. Not for use in diagnostic procedures."
)

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Format = Literal["tflite", "onnx", "openvino"]
Precision = Literal["fp32", "fp16", "int8"]
Target = Literal["portable", "x86", "arm"]


class Member(Frozen):
    """A file of the bundle."""

    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


class Figure(Frozen):
    """A measured value, with its 95 % interval where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


class Measured(Frozen):
    """Figures of one model on one part of one data set; `certified` of the manifest rests on the part `val`."""

    model: Literal["source", "bundle"]
    split: str
    part: str
    images: Annotated[int, Field(ge=1)]
    figures: dict[str, Figure]
    note: str = ""


class Beside(Frozen):
    """What the model costs beside the same network in float32 and the same format.

    p50_ms: median of single pictures on one thread of the machine that exported, both models by turns.
    """

    model_bytes: Annotated[int, Field(ge=1)]
    fp32_bytes: Annotated[int, Field(ge=1)]
    p50_ms: Annotated[float, Field(gt=0)]
    fp32_p50_ms: Annotated[float, Field(gt=0)]
    queries: Annotated[int, Field(ge=1)]


class Gate(Frozen):
    """How far the bundle is from its source model, on validation images, by the code that runs on the device.

    abstained: by class, the share of images that get no label because the model is not sure enough. recall: by class.
    ece: expected calibration error (`benchmarks.metrics`). Bundles of earlier versions lack what has a default.
    """

    images: Annotated[int, Field(ge=1)]
    agreement: Annotated[float, Field(ge=0, le=1)]
    accuracy_drop: float
    largest_probability_difference: Annotated[float, Field(ge=0, le=1)]
    abstained: dict[str, Share]
    certified: bool
    recall: dict[str, Share] = Field(default_factory=dict)
    source_recall: dict[str, Share] = Field(default_factory=dict)
    ece: Share | None = None
    source_ece: Share | None = None
    beside: Beside | None = None

    @property
    def accuracy_change(self) -> float:
        """The bundle's accuracy less its source's, in percentage points."""
        return 0 - 100 * self.accuracy_drop


class Calibration(Frozen):
    """Which training images set the ranges of a quantised model, and how it was quantised.

    float_layers: the model's own names of layers that were left in float, as the gate was missed without.
    target: which processors an ONNX model's integers suit; other formats have one kind.
    """

    images: Annotated[int, Field(ge=1)]
    list_sha256: Sha256
    float_layers: tuple[str, ...] = ()
    target: Target | None = None


class Golden(Frozen):
    """How golden.npz is to be compared: labels as the source's, probabilities within the tolerance."""

    images: Annotated[int, Field(ge=1)]
    tolerance: Annotated[float, Field(gt=0, le=1)]


class DataSource(Frozen):
    """Where training images came from."""

    name: str
    images: Annotated[int, Field(ge=0)]
    citation: str


class Manifest(Frozen):
    """manifest.json of a bundle; unknown keys are refused.

    scale: of the fields that the model was trained on, and that a frame is cut into; null where a frame is one field.
    """

    format_version: Literal[1]
    name: Name
    model: str
    task: str
    format: Format
    precision: Precision
    classes: Annotated[tuple[str, ...], Field(min_length=2, max_length=1000)]
    preprocessing: Preprocessing
    scale: Scale | None = None
    decision: Decision
    limits: Limits
    model_file: Name
    files: dict[Name, Member]
    golden: Golden
    calibration: Calibration | None
    gate: Gate
    measured: tuple[Measured, ...]
    data: tuple[DataSource, ...]
    dataset_sha256: Sha256
    weights_sha256: Sha256
    intended_use: Literal["For Research Use Only. Not for use in diagnostic procedures."] = INTENDED_USE
    libraries: dict[str, str]
    leukoscope: str
    created_at: AwareDatetime

    @model_validator(mode="after")
    def _fits_together(self) -> "Manifest":
        if self.model_file not in self.files or "golden.npz" not in self.files:
            raise ValueError("files must list the model file and golden.npz")
        if self.model_file == "golden.npz":
            raise ValueError("model_file must not be golden.npz")
        if "manifest.json" in self.files:
            raise ValueError("files must not list manifest.json itself")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes must differ from each other")
        if self.decision.positive is not None and self.decision.positive not in self.classes:
            raise ValueError("decision.positive must be one of classes")
        if self.precision == "int8" and self.calibration is None:
            raise ValueError("an int8 model must say what it was calibrated on")
        return self
