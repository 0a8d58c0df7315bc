"""OpenVINO models, by way of ONNX: float32, or weights in float16. `export.openvino_int8` quantises them."""

import re
import tempfile
from pathlib import Path
from typing import Any

from edge_app.errors import ExportError
from edge_app.manifest import Precision
from edge_app.runtimes import in_one_line
from export.networks import Network
from export.onnx import float_model

NUMBERED = re.compile(r"[A-Za-z]+_\d+")  # the name of an operation that OpenVINO gave one


def convert(network: Network, precision: Precision, height: int, width: int) -> tuple[bytes, bytes]:
    """Return the .xml and .bin files in fp32 or fp16: uint8 [1, H, W, 3], RGB in, float32 logits [1, K] out."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "plain.onnx")
        path.write_bytes(float_model(network, height, width).SerializeToString())
        return files_of(openvino.convert_model(path), halve=precision == "fp16")


def files_of(model: Any, *, halve: bool = False) -> tuple[bytes, bytes]:
    """Return a model's .xml and .bin files; halve: store the weights in float16. Raises ExportError."""
    import openvino

    for position, operation in enumerate(model.get_ordered_ops()):
        if NUMBERED.fullmatch(operation.get_friendly_name()):  # by how many this process has made
            operation.set_friendly_name(f"{operation.get_type_name()}_{position}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.xml")
        try:
            openvino.save_model(model, path, compress_to_fp16=halve)
        except RuntimeError as error:
            raise ExportError(
                f"OpenVINO can't write its model to the temporary folder ({in_one_line(error)}); free some room there, "
                "or set TMPDIR to a folder that has more"
            ) from error
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()
