"""TFLite models: float32, or weights in float16. `export.tflite_int8` quantises them."""

import warnings
from typing import Any

from edge_app.errors import ExportError
from edge_app.manifest import Precision
from export.networks import Network


def convert(network: Network, precision: Precision, height: int, width: int) -> tuple[bytes]:
    """Return the model file in fp32 or fp16: uint8 [1, H, W, 3], RGB in, float32 logits [1, K] out.

    Raises ExportError.
    """
    import tensorflow as tf

    def forward(images: Any) -> Any:
        return network.in_tensorflow(tf.cast(images, tf.float32))

    converter = make_converter(forward, height, width, "uint8")
    if precision == "fp16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return (run_converter(converter),)


def make_converter(forward: Any, height: int, width: int, dtype: str) -> Any:
    """Return a converter of a function from images [1, H, W, 3] of a dtype to logits."""
    import tensorflow as tf

    signature = [tf.TensorSpec([1, height, width, 3], dtype, "images")]
    function = tf.function(forward, input_signature=signature)
    return tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], function)


def run_converter(converter: Any) -> bytes:
    """Return what a converter makes; raises ExportError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an input whose type changes, and of tensors that are kept
            return bytes(converter.convert())
    except (KeyError, RuntimeError, ValueError) as error:
        raise ExportError(f"TensorFlow can't convert this network to TFLite: {error}; use another format") from error
