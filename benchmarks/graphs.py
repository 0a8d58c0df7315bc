"""What a library makes of a model: the operations that it executes, and in which type each computes."""

import json
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_app.manifest import Format
from edge_app.runtimes import Model

TRANSPOSES = ("Transpose", "TRANSPOSE", "Reorder")


@dataclass(frozen=True)
class Operation:
    """An operation and the type of its first input that is no index, both as numpy or the library calls them."""

    kind: str
    type: str

    def __str__(self) -> str:
        return f"{self.kind} {self.type}"


def executed_operations(model: Model) -> list[Operation]:
    """Return the operations of a model after its library's own changes to the graph, in order of execution.

    ONNX and OpenVINO fuse and move operations when they load; a TFLite model is run as it is written. Raises what the
    library raises.
    """
    return READERS[model.format](model)


def listing(operations: list[Operation]) -> str:
    """Return the operations with their counts, the commonest first: `53 × QLinearConv uint8, 1 × Transpose uint8`."""
    counts = Counter(map(str, operations))
    return ", ".join(
        f"{count} × {name}" for name, count in sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    )


def _onnx(model: Model) -> list[Operation]:
    import onnxruntime

    from edge_app.runtimes.onnx import LEFT_OUT

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    with tempfile.TemporaryDirectory(prefix="leukoscope-") as folder:
        options.profile_file_prefix = str(Path(folder, "profile"))
        session = onnxruntime.InferenceSession(
            model.content, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(LEFT_OUT)
        )
        session.run(None, {session.get_inputs()[0].name: np.zeros((1, model.height, model.width, 3), np.uint8)})
        events = json.loads(Path(session.end_profiling()).read_bytes())
    nodes = (event["args"] for event in events if event.get("args", {}).get("input_type_shape"))
    return [Operation(node["op_name"], next(iter(node["input_type_shape"][0]))) for node in nodes]


def _openvino(model: Model) -> list[Operation]:
    import openvino

    from edge_app.runtimes.openvino import precision_hint

    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": precision_hint(core, model.precision)}
    compiled = core.compile_model(core.read_model(model.content, model.weights or b""), "CPU", settings)
    facts = [each.get_rt_info() for each in compiled.get_runtime_model().get_ordered_ops()]
    return [
        Operation(each["layerType"].astype(str), each["runtimePrecision"].astype(str))
        for each in facts
        if each["layerType"].astype(str) not in ("Const", "Input", "Output")
    ]


def _tflite(model: Model) -> list[Operation]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=model.content, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    types = {each["index"]: np.dtype(each["dtype"]).name for each in interpreter.get_tensor_details()}
    return [
        # a split's first input is its axis
        Operation(
            each["op_name"], next((types[i] for i in each["inputs"] if types.get(i, "int32") != "int32"), "int32")
        )
        for each in interpreter._get_ops_details()
    ]


READERS: dict[Format, Callable[[Model], list[Operation]]] = {
    "onnx": _onnx,
    "openvino": _openvino,
    "tflite": _tflite,
}
