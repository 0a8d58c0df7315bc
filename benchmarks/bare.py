"""The floor of every inference: a library's own call on a prepared picture, with nothing of ours around it.

It has the settings of `edge_app.runtimes`, which change what is computed or how busily its threads wait, so that what
is left of a difference is what our code costs.
"""

from collections.abc import Callable
from typing import Any

from edge_app.bundle import Bundle
from edge_app.manifest import Format
from edge_app.preprocessing import Image

Call = Callable[[Image], Any]


def bare_call(bundle: Bundle, threads: int) -> Call:
    """Return a function from a prepared picture (uint8 [1, H, W, 3], RGB) to whatever the bundle's library gives."""
    return LOADERS[bundle.manifest.format](bundle, threads)


def _litert(bundle: Bundle, threads: int) -> Call:
    from edge_app.runtimes import import_library
    from edge_app.runtimes.litert import MODULES

    module, _, _ = import_library("tflite", *MODULES)
    interpreter = module.Interpreter(model_content=bundle.read(bundle.manifest.model_file), num_threads=threads)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def call(picture: Image) -> Any:
        interpreter.set_tensor(source, picture)
        interpreter.invoke()
        return interpreter.get_tensor(target)

    return call


def _onnx(bundle: Bundle, threads: int) -> Call:
    import onnxruntime

    from edge_app.runtimes.onnx import LEFT_OUT

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.add_session_config_entry("session.force_spinning_stop", "1")
    content = bundle.read(bundle.manifest.model_file)
    session = onnxruntime.InferenceSession(
        content, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(LEFT_OUT)
    )
    name = session.get_inputs()[0].name
    return lambda picture: session.run(None, {name: picture})


def _openvino(bundle: Bundle, threads: int) -> Call:
    import openvino

    from edge_app.runtimes.openvino import precision_hint

    name = bundle.manifest.model_file
    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision_hint(core, bundle.manifest.precision),
    }
    network = core.read_model(bundle.read(name), bundle.read(name.removesuffix(".xml") + ".bin"))
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    return lambda picture: request.infer([picture])


LOADERS: dict[Format, Callable[[Bundle, int], Call]] = {"tflite": _litert, "onnx": _onnx, "openvino": _openvino}
