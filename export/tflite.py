"""TFLite models of YOLO networks: float32, weights in float16, or full static int8 with corrected biases."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_app.errors import ExportError
from edge_app.manifest import Precision
from edge_app.preprocessing import Image
from export.yolo_tensorflow import classifier

Means = npt.NDArray[np.float32]
CORRECTION_IMAGES = 128


def convert(network: Any, precision: Precision, height: int, width: int, calibration: Image | None) -> tuple[bytes]:
    """Return the model file: uint8 [1, H, W, 3], RGB in, float32 logits [1, K] out.

    network: a fused Ultralytics network. calibration: prepared images, uint8 [N, H, W, 3]; needed for int8. Raises
    ExportError.
    """
    import tensorflow as tf

    forward = classifier(network)
    shape = [1, height, width, 3]

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8)])  # type: ignore[untyped-decorator]
    def from_pixels(images: Any) -> Any:
        return forward(tf.cast(images, tf.float32) * np.float32(1 / 255))

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)])  # type: ignore[untyped-decorator]
    def from_shares(images: Any) -> Any:
        return forward(images)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an input whose type changes, and of tensors that are kept
            if precision != "int8":
                return (_convert(from_pixels, halve=precision == "fp16"),)
            if calibration is not None:
                plain, quantised = _convert(from_shares), _convert(from_shares, calibration)
                return (_correct_biases(quantised, plain, calibration[:CORRECTION_IMAGES]),)
    except (KeyError, RuntimeError, ValueError) as error:
        raise ExportError(f"TensorFlow can't convert this network to TFLite {precision}: {error}") from error
    raise ExportError("an int8 model needs calibration images; give some")


def _convert(function: Any, calibration: Image | None = None, *, halve: bool = False) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], function)
    if halve:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    if calibration is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = lambda: ([image] for image in _shares(calibration))
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.float32
    return bytes(converter.convert())


def _shares(images: Image) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the images from 0 to 1; the first has both ends in it, so that the input's scale is exactly 1/255."""
    for index, image in enumerate(images):
        scaled = image[np.newaxis].astype(np.float32) / 255
        if index == 0:
            scaled[0, 0, 0], scaled[0, 0, 1] = 0.0, 1.0
        yield scaled


def _correct_biases(quantised: bytes, plain: bytes, images: Image) -> bytes:
    """Return the quantised model with each layer's mean output brought back to the float model's.

    Most of a segmented picture is black, so a rounding error of the background's constant value does not average out:
    it shifts every layer after it. Layer by layer, in order of execution, the bias of each channel takes up the shift
    that is left (empirical bias correction: Nagel et al., Data-Free Quantization, ICCV 2019, section 4.2).
    """
    from tensorflow.lite.tools import flatbuffer_utils

    wanted = [
        _channel_means(plain, layer.outputs[0], list(_shares(images)))
        for layer in _layers(flatbuffer_utils.convert_bytearray_to_object(bytearray(plain)))
    ]
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(quantised))
    for layer, mean in zip(_layers(model), wanted, strict=True):
        found = _channel_means(
            bytes(flatbuffer_utils.convert_object_to_bytearray(model)), layer.outputs[0], list(images[:, np.newaxis])
        )
        bias = model.subgraphs[0].tensors[layer.inputs[2]]
        buffer = model.buffers[bias.buffer]
        values = np.frombuffer(bytes(bytearray(buffer.data)), np.int32)
        shifted = values + np.round((mean - found) / np.asarray(bias.quantization.scale)).astype(np.int32)
        buffer.data = np.frombuffer(shifted.tobytes(), np.uint8)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _layers(model: Any) -> list[Any]:
    """Return the operators that have weights and a bias, in order of execution."""
    from tensorflow.lite.python import schema_py_generated as schema

    weighted = {
        schema.BuiltinOperator.CONV_2D,
        schema.BuiltinOperator.DEPTHWISE_CONV_2D,
        schema.BuiltinOperator.FULLY_CONNECTED,
    }
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    return [operator for operator in model.subgraphs[0].operators if codes[operator.opcodeIndex] in weighted]


def _channel_means(content: bytes, tensor: int, batches: list[npt.NDArray[Any]]) -> Means:
    """Return the mean of a tensor in each of its channels, over images, as real numbers."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    scale, zero = next(each["quantization"] for each in interpreter.get_tensor_details() if each["index"] == tensor)
    total = np.float64(0)
    for batch in batches:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], batch)
        interpreter.invoke()
        values = interpreter.get_tensor(tensor)
        total = total + values.reshape(-1, values.shape[-1]).mean(axis=0, dtype=np.float64)
    means = total / len(batches)
    return np.asarray((means - zero) * scale if scale else means, np.float32)
