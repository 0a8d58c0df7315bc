"""ONNX models of YOLO networks: float32, float16, or static int8 with quantise-dequantise nodes, biases corrected."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_app.errors import ExportError
from edge_app.manifest import Precision
from edge_app.preprocessing import Image

Means = npt.NDArray[np.float32]
CORRECTION_IMAGES = 128
INPUT = "images"
OPSET = 17


def convert(network: Any, precision: Precision, height: int, width: int, calibration: Image | None) -> tuple[bytes]:
    """Return the model file: uint8 [1, H, W, 3], RGB in, float32 logits [1, K] out.

    network: a fused Ultralytics network. calibration: prepared images, uint8 [N, H, W, 3]; needed for int8. Raises
    ExportError.
    """
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder, "plain.onnx")
        write_float(network, plain, height, width)
        if precision == "fp32":
            return (plain.read_bytes(),)
        if precision == "fp16":
            return (_halve(plain),)
        if calibration is None:
            raise ExportError("an int8 model needs calibration images; give some")
        return (_quantise(plain, calibration),)


def write_float(network: Any, path: Path, height: int, width: int) -> None:
    """Write a fused Ultralytics network as a float32 ONNX model that keeps the contract of `convert`."""
    import warnings

    import torch

    class FromPixels(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            x = images.permute(0, 3, 1, 2).float() * (1 / 255)
            for module in network.model[:-1]:
                x = module(x)
            head = network.model[-1]
            logits: torch.Tensor = head.linear(head.pool(head.conv(x)).flatten(1))
            return logits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the older exporter: the newer one needs another package
        torch.onnx.export(
            FromPixels().eval(),
            (torch.zeros(1, height, width, 3, dtype=torch.uint8),),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=["logits"],
        )


def _halve(plain: Path) -> bytes:
    """Return the model in float16, its logits in float32: on a CPU as fast as float32, on a GPU faster."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return bytes(convert_float_to_float16(onnx.load(str(plain)), keep_io_types=True).SerializeToString())


def _quantise(plain: Path, calibration: Image) -> bytes:
    """Return the model quantised U8S8, weights per channel: on x86 with VNNI the fastest that ONNX Runtime has."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.images = iter(calibration)

        def get_next(self) -> dict[str, Image] | None:
            image = next(self.images, None)
            return None if image is None else {INPUT: np.ascontiguousarray(image[np.newaxis])}

    cleaned, quantised = plain.with_name("cleaned.onnx"), plain.with_name("int8.onnx")
    quant_pre_process(str(plain), str(cleaned))
    quantization.quantize_static(
        str(cleaned),
        str(quantised),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
        calibrate_method=quantization.CalibrationMethod.MinMax,
    )
    return _correct_biases(quantised, cleaned, calibration[:CORRECTION_IMAGES])


def _correct_biases(quantised: Path, cleaned: Path, images: Image) -> bytes:
    """Return the quantised model with each layer's mean output brought back to the float model's.

    Why, and by which method, is said in `export.tflite`.
    """
    import onnx
    from onnx import numpy_helper

    float_model, model = onnx.load(str(cleaned)), onnx.load(str(quantised))
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    float_outputs = {node.name: node.output[0] for node in float_model.graph.node}
    wanted = _channel_means(float_model, [float_outputs[layer.name] for layer in layers], images)
    readers = {name: node for node in model.graph.node for name in node.input}
    writers = {name: node for node in model.graph.node for name in node.output}
    constants = {constant.name: constant for constant in model.graph.initializer}
    for layer, mean in zip(layers, wanted, strict=True):
        rounded = readers[readers[layer.output[0]].output[0]].output[0]  # through QuantizeLinear, DequantizeLinear
        (found,) = _channel_means(model, [rounded], images)
        values, scale = (constants[name] for name in writers[layer.input[2]].input[:2])
        shift = np.round((mean - found) / numpy_helper.to_array(scale)).astype(np.int32)
        values.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(values) + shift, values.name))
    return bytes(model.SerializeToString())


def _channel_means(model: Any, tensors: list[str], images: Image) -> list[Means]:
    """Return the mean of each tensor [1, C, …] in each of its channels, over images."""
    import onnx
    import onnxruntime

    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    probed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    session = onnxruntime.InferenceSession(probed.SerializeToString(), providers=["CPUExecutionProvider"])
    totals = [np.float64(0) for _ in tensors]
    for image in images:
        values = session.run(tensors, {INPUT: image[np.newaxis]})
        totals = [
            total + value.mean(axis=(0, *range(2, value.ndim)), dtype=np.float64)
            for total, value in zip(totals, values, strict=True)
        ]
    return [np.asarray(total / len(images), np.float32) for total in totals]
