"""The libraries that execute models, behind one small interface.

A runtime is load, infer and describe. Only the library that the bundle's format needs is imported. A runtime belongs to
the thread that uses it: two threads must not call one at the same time.
"""

import importlib
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import numpy.typing as npt

from edge_app.errors import InferenceError, RuntimeMissingError
from edge_app.manifest import Format, Precision
from edge_app.preprocessing import Image

if TYPE_CHECKING:
    from edge_app.bundle import Bundle

Logits = npt.NDArray[np.float32]
Signature = Sequence[tuple[str, Sequence[object]]]  # dtype as numpy names it, and shape, of each input or output

MAX_THREADS = 256

# what the libraries call the types that they compute in → what we call them
PRECISIONS = {
    **dict.fromkeys(("f32", "float", "float32"), "fp32"),
    **dict.fromkeys(("f16", "float16"), "fp16"),
    **dict.fromkeys(("bf16", "bfloat16"), "bf16"),
    **dict.fromkeys(("i8", "u8", "int8", "uint8"), "int8"),
}


@dataclass(frozen=True)
class Executed:
    """What really executes a model; `str` gives it in one line, `dataclasses.asdict` as a dictionary.

    library, version: the library that was found, as it is imported.
    precision: in which its convolutions and matrix products are computed: fp32, fp16, bf16 or int8, or a mixture with
        the number of each (`50×int8 + 2×fp32`); unknown where the library does not tell.
    device: the processor, and the delegate or provider that the library put the model on.
    """

    library: str
    version: str
    precision: str
    threads: int
    device: str

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.library} {self.version}, {self.precision}, {threads}, {self.device}"


class Runtime(Protocol):
    """A loaded model."""

    def infer(self, batch: Image) -> Logits:
        """Return the logits (float32 [1, K], a new array) of a prepared picture (uint8 [1, H, W, 3], RGB).

        Raises InferenceError when the batch has another shape or dtype, or the library fails.
        """

    def describe(self) -> Executed:
        """Return what really executes the model."""


@dataclass(frozen=True)
class Engines:
    """The path of a bundle, beside which what is built of it is kept, and its sha256, under which."""

    bundle: Path
    sha256: str


@dataclass(frozen=True)
class Model:
    """A model and the contract that it is to keep: uint8 [1, height, width, 3] in, float32 [1, classes] out.

    content: the model file. weights: the .bin file that stands beside an OpenVINO .xml, else None. engines: which
    bundle it is, for what a library builds from the model and can use again.
    """

    format: Format
    precision: Precision
    classes: int
    height: int
    width: int
    content: bytes
    weights: bytes | None = None
    engines: Engines | None = field(default=None, kw_only=True)

    @property
    def size(self) -> int:
        """The size of both files."""
        return len(self.content) + len(self.weights or b"")

    def check_signature(self, inputs: Signature, outputs: Signature) -> None:
        """Raise InferenceError unless the model takes and gives what the contract says."""
        contract = (("uint8", (1, self.height, self.width, 3)),), (("float32", (1, self.classes)),)
        for verb, found, wanted in zip(("takes", "gives"), (inputs, outputs), contract, strict=True):
            if tuple((dtype, tuple(shape)) for dtype, shape in found) != wanted:
                raise InferenceError(
                    f"the model {verb} {_in_words(found)}, but a bundle's must be {_in_words(wanted)}; "
                    "export it again with `leukoscope export`"
                )

    def check_batch(self, batch: Image) -> Image:
        """Return the batch, contiguous; raises InferenceError when it is not what the model takes."""
        wanted = (1, self.height, self.width, 3)
        if batch.dtype != np.uint8 or batch.shape != wanted:
            raise InferenceError(
                f"the model takes {_in_words((('uint8', wanted),))}, not {batch.dtype} {list(batch.shape)}; "
                "make it with edge_app.preprocessing.prepare"
            )
        return np.ascontiguousarray(batch)

    def check_logits(self, logits: Logits) -> Logits:
        """Return a copy that outlives the library's buffer; raises InferenceError when a value is not finite."""
        if not np.isfinite(logits).all():
            raise InferenceError("the model gave a logit that is not finite; check it with `leukoscope bundle verify`")
        return np.array(logits, np.float32)


class Loader(Protocol):
    """What the module of a format gives."""

    def library(self) -> tuple[str, ...]:
        """Return name and version of the installed library, and what it runs on if that differs from build to build.

        Raises RuntimeMissingError.
        """

    def load(self, model: Model, threads: int) -> Runtime:
        """Load a model; raises RuntimeMissingError and InferenceError."""


@dataclass(frozen=True)
class Library:
    """The library for a format: the format's name, our module that uses it, and the command that installs it."""

    name: str
    module: str
    install: str

    def loader(self) -> Loader:
        """Import our module, which does not yet import the library."""
        return cast(Loader, importlib.import_module(self.module))


LIBRARIES: dict[Format, Library] = {
    "tflite": Library("TFLite", "edge_app.runtimes.litert", "pip install ai-edge-litert"),
    "onnx": Library("ONNX", "edge_app.runtimes.onnx", "pip install 'leukoscope[onnx]'"),
    "openvino": Library("OpenVINO", "edge_app.runtimes.openvino", "pip install 'leukoscope[openvino]'"),
}


def load(bundle: "Bundle", *, threads: int = 0) -> Runtime:
    """Load a bundle's model; threads: 0 for as many as this process may use cores.

    Raises RuntimeMissingError when the library is not installed, InferenceError when it refuses the model or the model
    does not keep the contract, and BundleError when the bundle can't be read.
    """
    return load_model(model_of(bundle), threads=threads)


def model_of(bundle: "Bundle") -> Model:
    """Return a bundle's model; raises BundleError when the bundle can't be read."""
    manifest = bundle.manifest
    weights = manifest.model_file.removesuffix(".xml") + ".bin" if manifest.format == "openvino" else None
    return Model(
        format=manifest.format,
        precision=manifest.precision,
        classes=len(manifest.classes),
        height=manifest.preprocessing.height,
        width=manifest.preprocessing.width,
        content=bundle.read(manifest.model_file),
        weights=bundle.read(weights) if weights else None,
        engines=Engines(Path(bundle.origin), bundle.sha256),
    )


def load_model(model: Model, *, threads: int = 0) -> Runtime:
    """Load a model that is in no bundle yet; the rest is as in `load`."""
    if not 0 <= threads <= MAX_THREADS:
        raise InferenceError(f"threads must be 0 (all cores) to {MAX_THREADS}, not {threads}")
    return LIBRARIES[model.format].loader().load(model, threads or len(os.sched_getaffinity(0)))


def import_library(model_format: Format, *names: str) -> tuple[ModuleType, str, str]:
    """Import the first of some modules that can be used; return it, its package's name and version.

    Raises RuntimeMissingError, which says how to install the format's library, and why one that is there can't be used.
    """
    broken = []
    for name in names:
        package = name.partition(".")[0]
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            if error.name != package:
                broken.append(f"{package} can't be loaded: {in_one_line(error)}")
        except (AttributeError, SystemError) as error:  # tflite_runtime beside numpy 2
            broken.append(f"{package} can't be loaded beside numpy {np.__version__}: {in_one_line(error)}")
        else:
            version = str(getattr(sys.modules[package], "__version__", "of unknown version"))
            return module, package, version.partition("-")[0]
    library = LIBRARIES[model_format]
    found = "; ".join(broken) or f"no library for {library.name} bundles is installed"
    raise RuntimeMissingError(f"{found}; {library.install}")


def executed_precision(types: Iterable[str]) -> str:
    """Return the precision of a network from the types, as a library names them, of its heavy operations' data."""
    counts = Counter(PRECISIONS.get(name.lower(), name) for name in types).most_common()
    if len(counts) > 1:
        return " + ".join(f"{count}×{name}" for name, count in counts)
    return counts[0][0] if counts else "unknown"


def in_one_line(error: Exception) -> str:
    """Return a library's message without its line breaks, cut to 200 characters."""
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:199] + "…"


def _in_words(signature: Signature) -> str:
    return " and ".join(f"{dtype} {list(shape)}" for dtype, shape in signature) or "nothing"
