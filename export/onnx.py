"""ONNX models: float32 or float16. `export.onnx_int8` quantises them."""

import io
import warnings
from typing import Any

from edge_app.manifest import Precision
from export.networks import Network

INPUT = "images"
OPSET = 17


def convert(network: Network, precision: Precision, height: int, width: int) -> tuple[bytes]:
    """Return the model file in fp32 or fp16: uint8 [1, H, W, 3], RGB in, float32 logits [1, K] out."""
    model = float_model(network, height, width)
    return ((_halve(model) if precision == "fp16" else model).SerializeToString(),)


def float_model(network: Network, height: int, width: int) -> Any:
    """Return a network as an onnx.ModelProto in float32 that keeps the contract of `convert`."""
    import onnx
    import onnxslim
    import torch

    class FromPixels(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = network.in_torch(images.permute(0, 3, 1, 2).float())
            return logits

    written = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of the older exporter: the newer one needs another package
        torch.onnx.export(
            FromPixels().eval(),
            (torch.zeros(1, height, width, 3, dtype=torch.uint8),),
            written,  # type: ignore[arg-type]  # which the older exporter takes too
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=["logits"],
        )
    # what is constant is computed now: shapes, paddings
    return onnxslim.slim(onnx.load_from_string(written.getvalue()))


def _halve(model: Any) -> Any:
    """Return the model in float16, its logits in float32: on a CPU as fast as float32, on a GPU faster."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(model, keep_io_types=True)
