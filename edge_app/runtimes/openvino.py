"""OpenVINO models (.xml and .bin) by OpenVINO, on the CPU."""

import platform
from typing import Any

import numpy as np

from edge_app.errors import InferenceError
from edge_app.manifest import Precision
from edge_app.preprocessing import Image
from edge_app.runtimes import LIBRARIES, Executed, Logits, Model, executed_precision, import_library, in_one_line

DEVICE = "CPU"
HEAVY = {"Convolution", "Deconvolution", "FullyConnected", "MatMul"}


class OpenVino:
    """A loaded OpenVINO model."""

    def __init__(self, model: Model, compiled: Any, executed: Executed) -> None:
        self._model = model
        self._request = compiled.create_infer_request()
        self._executed = executed

    def infer(self, batch: Image) -> Logits:
        """See `Runtime.infer`."""
        batch = self._model.check_batch(batch)
        try:
            logits = self._request.infer([batch])[0]
        except (RuntimeError, ValueError) as error:
            raise InferenceError(f"OpenVINO failed on a picture: {in_one_line(error)}") from error
        return self._model.check_logits(logits)

    def describe(self) -> Executed:
        """See `Runtime.describe`."""
        return self._executed


def library() -> tuple[str, str]:
    """See `Loader.library`."""
    _, name, version = import_library("openvino", "openvino")
    return name, version


def load(model: Model, threads: int) -> OpenVino:
    """See `Loader.load`."""
    module, name, version = import_library("openvino", "openvino")
    try:
        core = module.Core()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision_hint(core, model.precision),
        }
        network = core.read_model(model.content, model.weights or b"")
        inputs, outputs = ([_type_and_shape(each) for each in side] for side in (network.inputs, network.outputs))
        model.check_signature(inputs, outputs)
        compiled = core.compile_model(network, DEVICE, settings)
        operations = [each.get_rt_info() for each in compiled.get_runtime_model().get_ops()]
        heavy = (_said(each, "primitiveType") for each in operations if _said(each, "layerType") in HEAVY)
        executed = Executed(
            library=name,
            version=version,
            precision=executed_precision(each.rpartition("_")[2] for each in heavy),  # brgconv_avx512_f32
            threads=compiled.get_property("INFERENCE_NUM_THREADS"),
            device=", ".join(compiled.get_property("EXECUTION_DEVICES")),
        )
        return OpenVino(model, compiled, executed)
    except (RuntimeError, ValueError) as error:
        raise InferenceError(
            f"{name} {version} can't load the model: {in_one_line(error)}; get the bundle again, "
            f"or a newer library: {LIBRARIES['openvino'].install} --upgrade"
        ) from error


def precision_hint(core: Any, precision: Precision) -> str:
    """Return in what a bundle computes that is not int8, as OpenVINO's core calls it.

    Left to itself a CPU that has BF16 takes that, whose 8 bits changed answers. FP16 is what makes an Arm CPU fast; on
    an x86 that has it, it was no faster and moved the logits of int8 models.
    """
    halves = platform.machine() == "aarch64" and "FP16" in core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
    return "f16" if halves and precision != "fp32" else "f32"


def _type_and_shape(port: Any) -> tuple[str, list[object]]:
    shape = [each.get_length() if each.is_static else str(each) for each in port.get_partial_shape()]
    return np.dtype(port.get_element_type().to_dtype()).name, shape


def _said(information: Any, key: str) -> str:
    return str(information[key].astype(str))
