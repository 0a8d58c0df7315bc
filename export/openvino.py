"""OpenVINO models of YOLO networks: float32, weights in float16, or int8 by NNCF."""

import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edge_app.errors import ExportError
from edge_app.manifest import Precision
from edge_app.preprocessing import Image
from export.onnx import write_float


def convert(
    network: Any, precision: Precision, height: int, width: int, calibration: Image | None
) -> tuple[bytes, bytes]:
    """Return the .xml and the .bin file: uint8 [1, H, W, 3], RGB in, float32 logits [1, K] out.

    network: a fused Ultralytics network. calibration: prepared images, uint8 [N, H, W, 3]; needed for int8. Raises
    ExportError.
    """
    import openvino

    if precision == "int8" and calibration is None:
        raise ExportError("an int8 model needs calibration images; give some")
    with tempfile.TemporaryDirectory() as folder:
        plain, model_file = Path(folder, "plain.onnx"), Path(folder, "model.xml")
        write_float(network, plain, height, width)
        model = openvino.convert_model(plain)
        if calibration is not None:
            model = _quantise(model, calibration)
        openvino.save_model(model, model_file, compress_to_fp16=precision == "fp16")
        return model_file.read_bytes(), model_file.with_suffix(".bin").read_bytes()


def _quantise(model: Any, calibration: Image) -> Any:
    """Return the model in int8: preset and bias correction as OpenVINO's guide has them for SiLU networks.

    The slow bias correction runs the real int8 layers one after the other; why that matters here, see `export.tflite`.
    """
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf.quantize(
        model,
        nncf.Dataset([np.ascontiguousarray(image[np.newaxis]) for image in calibration]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(calibration),
        fast_bias_correction=False,
    )
