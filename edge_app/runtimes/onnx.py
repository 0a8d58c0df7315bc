"""ONNX models by ONNX Runtime."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np

from edge_app.errors import InferenceError
from edge_app.preprocessing import Image
from edge_app.runtimes import LIBRARIES, Executed, Logits, Model, executed_precision, import_library, in_one_line
from edge_app.runtimes.engines import kept_engines

TENSORRT = "TensorrtExecutionProvider"
PROVIDERS = (TENSORRT, "CUDAExecutionProvider", "CPUExecutionProvider")  # in order of preference
LEFT_OUT = ("WeightBiasQuantization",)  # it would quantise the layers that were left in float for their accuracy
HEAVY = ("Conv", "Gemm", "MatMul")  # parts of the names of the operations that take the time
TYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}  # ONNX Runtime's name → numpy's
LOG_FATAL_ONLY = 4


class OnnxRuntime:
    """A loaded ONNX model."""

    def __init__(self, model: Model, session: Any, failures: tuple[type[Exception], ...], executed: Executed) -> None:
        self._model = model
        self._session = session
        self._failures = failures
        self._input = session.get_inputs()[0].name
        self._executed = executed

    def infer(self, batch: Image) -> Logits:
        """See `Runtime.infer`."""
        batch = self._model.check_batch(batch)
        try:
            logits = self._session.run(None, {self._input: batch})[0]
        except self._failures as error:
            raise InferenceError(f"ONNX Runtime failed on a picture: {in_one_line(error)}") from error
        return self._model.check_logits(logits)

    def describe(self) -> Executed:
        """See `Runtime.describe`."""
        return self._executed


def library() -> tuple[str, str, str]:
    """See `Loader.library`."""
    module, name, version = import_library("onnx", "onnxruntime")
    providers = (each for each in PROVIDERS if each in module.get_available_providers())
    return name, version, f"with {', '.join(each.removesuffix('ExecutionProvider') for each in providers)}"


def load(model: Model, threads: int) -> OnnxRuntime:
    """See `Loader.load`; the model has run once when it is back, as only a run tells what is executed."""
    module, name, version = import_library("onnx", "onnxruntime")
    failures = _failures(module)
    try:
        # An absent or full temporary folder is the only OSError here.
        with TemporaryDirectory(prefix="leukoscope-") as folder:
            options = _options(module, threads)
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder, "profile"))
            providers = choose_providers(module.get_available_providers(), model)
            session = module.InferenceSession(
                model.content, options, providers=providers, disabled_optimizers=list(LEFT_OUT)
            )
            sides = session.get_inputs(), session.get_outputs()
            inputs, outputs = ([(TYPES.get(each.type, each.type), each.shape) for each in side] for side in sides)
            model.check_signature(inputs, outputs)
            black = np.zeros((1, model.height, model.width, 3), np.uint8)
            session.run(None, {session.get_inputs()[0].name: black})
            profile = json.loads(Path(session.end_profiling()).read_bytes())
        return OnnxRuntime(model, session, failures, Executed(name, version, *_executed(profile, session)))
    except failures as error:
        raise InferenceError(
            f"{name} {version} can't load the model: {in_one_line(error)}; get the bundle again, "
            f"or a newer library: {LIBRARIES['onnx'].install} --upgrade"
        ) from error
    except OSError as error:
        raise InferenceError(
            f"ONNX Runtime can't write to the temporary folder ({error}); set TMPDIR to one that can be written"
        ) from error


def choose_providers(available: Sequence[str], model: Model) -> list[tuple[str, dict[str, str]]]:
    """Return what shall execute a model, with options, the preferred first, of what ONNX Runtime was built with.

    A Jetson's build has TensorRT and CUDA. What a provider can't take, the next one does. TensorRT wants integers whose
    zero is 0, which those of an int8 bundle are not.
    """
    options: dict[str, dict[str, str]] = {name: {} for name in PROVIDERS if name in available}
    if model.precision == "int8":
        options.pop(TENSORRT, None)
    if TENSORRT in options:
        options[TENSORRT] = {"trt_fp16_enable": str(int(model.precision == "fp16"))}
        if model.engines and (folder := kept_engines(model.engines)):
            options[TENSORRT] |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder)}
    return list(options.items())


def _executed(profile: list[dict[str, Any]], session: Any) -> tuple[str, int, str]:
    """Return precision, threads and device."""
    nodes = [each["args"] for each in profile if "output_type_shape" in each.get("args", ())]
    heavy = (each for each in nodes if any(part in each["op_name"] for part in HEAVY))
    precision = executed_precision(next(iter(each["input_type_shape"][0])) for each in heavy)
    providers = ", ".join(sorted({each["provider"] for each in nodes}))
    return precision, session.get_session_options().intra_op_num_threads, providers


def _options(module: ModuleType, threads: int) -> Any:
    """Return session options for one picture at a time."""
    options = module.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = module.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = module.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = LOG_FATAL_ONLY  # what it logs, it also raises
    # Threads that wait busily between operations save a tenth of the time, but as they come they go on burning the
    # core after the picture is done: 63 ms of processor a picture instead of 38 for a network of 27 ms, two threads.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _failures(module: ModuleType) -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises; its own classes have no base in common but Exception."""
    state = module.capi.onnxruntime_pybind11_state
    return (
        state.EPFail,
        state.EngineError,
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.ModelLoaded,
        state.NoModel,
        state.NoSuchFile,
        state.NotImplemented,
        state.RuntimeException,
        RuntimeError,
        ValueError,  # UnicodeDecodeError: a message quotes a damaged name
    )
