"""One tiny network in every format that bundles have, and what numpy says that it computes.

`uint8 [1, 12, 16, 3]` → 1/255 → 3×3 convolution of stride 2 without padding, 4 channels → ReLU → mean over the
picture → dense → `float32 [1, 3]`. `python -m tests.tiny_models FOLDER` writes the files, so that TensorFlow, its
700 MB and its warnings stay out of the process that tests.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

HEIGHT, WIDTH, CLASSES = 12, 16, 3

Floats = npt.NDArray[np.float32]
Pictures = npt.NDArray[np.uint8]

_random = np.random.default_rng(7)
KERNEL: Floats = _random.normal(0, 0.5, (3, 3, 3, 4)).astype(np.float32)  # height, width, in, out
KERNEL_BIAS: Floats = _random.normal(0, 0.1, 4).astype(np.float32)
DENSE: Floats = _random.normal(0, 1, (4, CLASSES)).astype(np.float32)
DENSE_BIAS: Floats = _random.normal(0, 1, CLASSES).astype(np.float32)


def pictures(count: int) -> Pictures:
    """Return uint8 [count, 12, 16, 3], from dark to bright, noisy."""
    random = np.random.default_rng(1)
    levels = np.linspace(0, 1, count).reshape(-1, 1, 1, 1)
    return (random.uniform(0, 255, (count, HEIGHT, WIDTH, 3)) * levels).round().astype(np.uint8)


def logits(picture: Pictures) -> Floats:
    """Return float32 [1, 3] for uint8 [1, 12, 16, 3]."""
    x = picture[0] / 255.0
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))[::2, ::2]
    features = np.maximum(np.einsum("hwcij,ijco->hwo", windows, KERNEL) + KERNEL_BIAS, 0).mean(axis=(0, 1))
    return np.asarray(features @ DENSE + DENSE_BIAS, np.float32)[np.newaxis]


def build(folder: Path) -> None:
    """Write fp32 and int8, each as .onnx, .tflite and .xml with .bin, into a folder; takes ten to thirty seconds."""
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.tiny_models", str(folder)],
        check=True,
        capture_output=True,
        cwd=Path(__file__).parents[1],
    )


def onnx_model(
    *, batch: int | str = 1, input_type: int | None = None, output_type: int | None = None, scale: float = 255
) -> bytes:
    """Return the network as ONNX; a batch, types or a scale that are given make a model that is to be refused."""
    from onnx import TensorProto, helper, numpy_helper

    constants = {
        "scale": np.array(scale, np.float32),
        "kernel": np.ascontiguousarray(KERNEL.transpose(3, 2, 0, 1)),
        "kernel_bias": KERNEL_BIAS,
        "dense": DENSE,
        "dense_bias": DENSE_BIAS,
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel", "kernel_bias"], ["convolved"], strides=[2, 2]),
        helper.make_node("Relu", ["convolved"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "dense", "dense_bias"], ["dense_out"]),
        helper.make_node("Cast", ["dense_out"], ["logits"], to=output_type or TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", input_type or TensorProto.UINT8, [batch, HEIGHT, WIDTH, 3])],
        [helper.make_tensor_value_info("logits", output_type or TensorProto.FLOAT, [batch, CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _write_onnx(folder: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter(pictures(16))

        def get_next(self) -> dict[str, Pictures] | None:
            picture = next(self.rest, None)
            return None if picture is None else {"image": picture[np.newaxis]}

    (folder / "fp32.onnx").write_bytes(onnx_model())
    quantize_static(
        folder / "fp32.onnx",
        folder / "int8.onnx",
        Reader(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
    )


def _write_openvino(folder: Path) -> None:
    import openvino as ov

    for name in ("fp32", "int8"):
        ov.save_model(ov.Core().read_model(folder / f"{name}.onnx"), folder / f"{name}.xml", compress_to_fp16=False)


def _write_tflite(folder: Path) -> None:
    import tensorflow as tf

    def network(picture: object) -> object:
        x = tf.nn.conv2d(tf.cast(picture, tf.float32) / 255.0, KERNEL, 2, "VALID") + KERNEL_BIAS
        return tf.matmul(tf.reduce_mean(tf.nn.relu(x), axis=(1, 2)), DENSE) + DENSE_BIAS

    for name, dtype in {"fp32": tf.uint8, "int8": tf.float32}.items():
        function = tf.function(network, input_signature=[tf.TensorSpec([1, HEIGHT, WIDTH, 3], dtype, "image")])
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
        if name == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            # The range 0 to 255 is among these, so that the quantised input is the picture itself.
            converter.representative_dataset = lambda: ([p[np.newaxis].astype(np.float32)] for p in pictures(16))
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.uint8
        (folder / f"{name}.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    for write in (_write_onnx, _write_openvino, _write_tflite):
        write(Path(sys.argv[1]))
