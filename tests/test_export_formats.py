import os
from importlib import import_module

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import pytest

from benchmarks.graphs import Operation, executed_operations
from edge_app.judging import softmax
from edge_app.manifest import Format, Precision
from edge_app.preprocessing import Image
from edge_app.runtimes import Model, load_model
from export.export import CONVERTERS
from export.gate import run_all
from export.quantising import MODULES
from tests.conftest import FORMATS
from tests.tiny_networks import ARCHITECTURES, Tiny, pictures, tiny

HEAVY = ("CONV", "GEMM", "FULLY")
LIMITS: dict[Precision, float] = {"fp32": 1e-4, "fp16": 0.01}  # of a probability
# one is of the picture; attention turns two matrices, and ONNX Runtime changes the layout before and after it
TRANSPOSES = {"yolo11n": 7, "yolo11s": 7}
CORRELATION = 0.75  # of int8 probabilities: these networks were trained for seconds, and are calibrated on 16 pictures


@pytest.fixture(scope="module", params=ARCHITECTURES)
def network(request: pytest.FixtureRequest) -> Tiny:
    return tiny(request.param)


@pytest.mark.parametrize("model_format", FORMATS)
def test_every_architecture_computes_the_same_in_every_format_and_precision(
    network: Tiny, model_format: Format
) -> None:
    images = pictures(24, network.size)
    wanted = softmax(network.source(images), 1.0)
    assert wanted.std(axis=0).min() > 0.1  # else all would agree
    for precision, contents in _all_precisions(network, model_format, images[:16]).items():
        model = Model(model_format, precision, 2, network.size, network.size, *contents)
        found = softmax(run_all(load_model(model, threads=1).infer, images), 1.0)
        if precision == "int8":
            assert np.corrcoef(found[:, 0], wanted[:, 0])[0, 1] > CORRELATION
        else:
            assert np.abs(found - wanted).max() < LIMITS[precision], precision
        _check_graph(executed_operations(model), precision, TRANSPOSES.get(network.name, 1))


def _all_precisions(network: Tiny, model_format: Format, images: Image) -> dict[Precision, tuple[bytes, ...]]:
    convert = import_module(CONVERTERS[model_format][0]).convert
    quantise = import_module(MODULES[model_format]).quantise
    plain = convert(network.network, "fp32", network.size, network.size)
    return {
        "fp32": plain,
        "fp16": convert(network.network, "fp16", network.size, network.size),
        "int8": quantise(network.network, plain, images, target="portable"),
    }


def _check_graph(operations: list[Operation], precision: Precision, transposes: int) -> None:
    """As many transposes as there must be; nothing that only TensorFlow knows; int8 is int8."""
    kinds = [each.kind for each in operations]
    assert sum(kind in ("Transpose", "TRANSPOSE") for kind in kinds) <= transposes, kinds
    assert not [kind for kind in kinds if kind.startswith(("Flex", "CUSTOM"))]
    if precision == "int8":
        heavy = [each.type for each in operations if any(name in each.kind.upper() for name in HEAVY)]
        whole = sum(each in ("int8", "uint8", "i8", "u8") for each in heavy)
        assert whole >= 0.85 * len(heavy), operations  # OpenVINO keeps some of the attention in float
