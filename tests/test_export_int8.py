import json
import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.graphs import executed_operations
from edge_app.bundle import open_bundle
from edge_app.cli import leukoscope
from edge_app.manifest import Format, Precision
from edge_app.runtimes import Logits, Model, load_model, model_of
from export import openvino_int8
from export.bias_correction import Means, Node, Run, Tensor, Values, channel_means, correct
from export.export import CONVERTERS, make_bundle, open_run
from export.gate import run_all
from export.layer_noise import noise_to_signal, worst_first
from export.quantising import Task, attempts
from export.rounding import round_together
from tests.conftest import FORMATS
from tests.tiny_networks import pictures, tiny

HEAVY = ("CONV", "FULLY", "GEMM", "MATMUL")


class Chain:
    """Two layers, one after the other, that scale by a half and round; the first one's bias is wrong by four."""

    input: Tensor = "picture"
    channels = -1
    nodes: Sequence[Node] = (Node(("picture",), ("first",)), Node(("first",), ("second",)))
    layers: Sequence[Tensor] = ("first", "second")

    def __init__(self) -> None:
        self.biases: dict[Tensor, Means] = {"first": np.array([4.0]), "second": np.array([0.0])}
        self.ran: list[Tensor] = []

    def piece(self, nodes: object, inputs: object, outputs: object) -> Run:  # noqa: ARG002
        def run(values: object) -> list[Values]:
            assert isinstance(values, dict)
            assert isinstance(outputs, list)
            ((read, value),) = values.items()
            written = "first" if read == "picture" else "second"
            self.ran.append(written)
            return [np.round(value * 0.5 + self.biases[written]).astype(np.int8)] * len(outputs)

        return run

    def real(self, layer: Tensor, integers: Values) -> Values:  # noqa: ARG002
        return integers.astype(np.float64)

    def shift(self, layer: Tensor, shifts: Means) -> None:
        self.biases[layer] = self.biases[layer] + shifts


def test_a_wrong_bias_is_put_right_before_the_layers_after_it_are_measured() -> None:
    chain = Chain()
    images = np.array([8, 16, 24, 32], np.uint8).reshape(4, 1, 1, 1)
    correct(chain, {"first": np.array([10.0]), "second": np.array([5.0])}, images)
    assert chain.biases == {"first": [0], "second": [0]}
    assert chain.ran.count("first") == 8  # once to measure, once to go on from
    assert chain.ran.count("second") == 4


@pytest.mark.parametrize("axis", [1, -1])
def test_a_pixel_of_a_cell_counts_five_times_as_much_as_one_of_the_background(axis: int) -> None:
    images = np.zeros((1, 4, 8, 3), np.uint8)
    images[:, :, 4:] = 7  # the cell
    values = np.moveaxis(np.array([[[[0, 5], [1, 5]], [[0, 5], [1, 5]]]], np.float32), -1, axis)  # 2 × 2 pixels
    pooled = np.array([[0.5, 5]], np.float32)
    assert channel_means([[values, pooled]], images, axis) == [pytest.approx([5 / 6, 5]), pytest.approx([0.5, 5])]


def test_layers_are_ranked_by_the_noise_that_each_adds() -> None:
    right = [[np.array([2.0, 2.0]), np.array([1.0]), np.array([4.0])]]
    wrong = [[np.array([2.0, 2.2]), np.array([2.0]), np.array([8.0])]]
    ratios = noise_to_signal(right, wrong)
    assert ratios == pytest.approx([0.005, 1, 1])
    assert worst_first(list(zip("abc", ratios, strict=True))) == ["b", "a", "c"]


@pytest.mark.parametrize("model_format", FORMATS)
def test_what_misses_the_gate_is_tried_again_with_its_worst_layers_in_float(
    model_format: Format, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.dataset import read_dataset
    from export.calibration import CalibrationSet, calibration_set

    monkeypatch.setattr("export.quantising.FLOAT_LAYERS", (2,))
    monkeypatch.setattr("export.quantising.NEAR", 1.0)  # the first number of images will do
    network = tiny("ResNet50")
    images = pictures(8, network.size)
    files = calibration_set(tiny_dataset, read_dataset(tiny_dataset), 8).files
    plain = _plain(network.network, model_format, network.size)
    task = Task(
        model_format,
        "portable",
        network.network,
        plain,
        CalibrationSet(images, files),
        network.source(images),
        2,
        1.0,
    )
    told: list[str] = []
    whole, part = attempts(task, lambda text, _: told.append(text))
    assert whole.record is not None
    assert part.record is not None
    assert whole.record.float_layers == ()
    assert len(part.record.float_layers) == 2
    assert any("2 layers in float" in text for text in told)
    for attempt, count in ((whole, 0), (part, 2)):
        model = Model(model_format, "int8", 2, network.size, network.size, *attempt.contents)
        operations = executed_operations(model)
        heavy = [each.type for each in operations if any(name in each.kind.upper() for name in HEAVY)]
        assert sum(kind.lower() in ("float", "float32", "f32", "bf16") for kind in heavy) == count, operations


def test_the_logits_of_openvinos_int8_are_the_float_ones_on_average() -> None:
    network = tiny("ResNet50")
    images = pictures(8, network.size)
    plain = _plain(network.network, "openvino", network.size)
    files = openvino_int8.quantise(network.network, plain, images, target="portable")

    def logits_of(precision: Precision, contents: tuple[bytes, ...]) -> Logits:
        model = Model("openvino", precision, 2, network.size, network.size, *contents)
        return run_all(load_model(model).infer, images)

    float_logits, logits = logits_of("fp32", plain), logits_of("int8", files)
    assert logits.mean(axis=0) == pytest.approx(float_logits.mean(axis=0), abs=1e-4)
    assert not np.allclose(logits, float_logits, atol=1e-4)  # it is int8


def test_weights_are_rounded_so_that_the_errors_of_inputs_that_are_alike_make_up_for_each_other() -> None:
    random = np.random.default_rng(0)
    inputs = random.random((500, 1)) * 255 + random.normal(0, 5, (500, 27))  # as neighbouring pixels are
    weights = random.uniform(-63, 63, (16, 3, 3, 3))
    rounded = round_together(weights, inputs.T @ inputs, 63)
    assert np.array_equal(rounded, np.rint(rounded))
    assert np.abs(rounded).max() <= 63
    errors = [np.square(inputs @ (each - weights).reshape(16, -1).T).mean() for each in (rounded, np.rint(weights))]
    assert errors[0] < errors[1] / 10


@pytest.mark.parametrize("architecture", ["yolo11n", "ResNet50"])
def test_openvinos_integers_hold_the_largest_weight_of_a_channel_exactly_and_no_two_products_overflow_16_bits(
    architecture: str,
) -> None:
    import openvino

    network = tiny(architecture)
    plain = _plain(network.network, "openvino", network.size)
    files = openvino_int8.quantise(network.network, plain, pictures(2, network.size), target="portable")
    float_layers = {each.get_friendly_name(): each for each in openvino.Core().read_model(*plain).get_ops()}
    checked = 0
    for layer in openvino.Core().read_model(*files).get_ordered_ops():
        multiply = layer.input_value(1).get_node() if "Convolution" in layer.get_type_name() else None
        if multiply is None or multiply.get_type_name() != "Multiply":
            continue
        integers = multiply.input_value(0).get_node().input_value(0).get_node().data.astype(np.int32)
        weights = float_layers[layer.get_friendly_name()].input_value(1).get_node().data
        largest = np.abs(weights).reshape(-1).argmax()
        assert (integers * multiply.input_value(1).get_node().data).flat[largest] == pytest.approx(
            weights.flat[largest]
        )
        assert 2 * 255 * np.abs(integers).max() < 2**15
        checked += 1
    assert checked > 5


@pytest.mark.parametrize("model_format", FORMATS)
def test_the_same_run_and_seed_give_the_same_manifest_but_for_times(tiny_run: Path, model_format: Format) -> None:
    manifests = []
    for _ in range(2):
        bundle = make_bundle(open_run(tiny_run, calibration_images=8, seed=0), model_format, "int8")
        content = bundle.manifest.model_dump(mode="json")
        for time in ("p50_ms", "fp32_p50_ms", "queries"):
            assert content["gate"]["beside"].pop(time) > 0
        assert content.pop("created_at")
        # the card tells no time either
        manifests.append(content)
    assert manifests[0] == manifests[1]


def test_a_target_has_integers_and_a_name_of_its_own(tiny_run: Path, tmp_path: Path) -> None:
    import onnx

    command = ["export", str(tiny_run), "--format", "onnx", "--precision", "int8", "--calibration-images", "8"]
    result = CliRunner().invoke(leukoscope, [*command, "--target", "arm", "-o", str(tmp_path)])
    assert result.exit_code in (0, 11), result.output
    bundle = open_bundle(tmp_path / "yolo11n-scene-onnx-int8-arm.leuko")
    assert bundle.manifest.calibration is not None
    assert bundle.manifest.calibration.target == "arm"
    model = onnx.load_from_string(bundle.read("model.onnx"))
    zeros = {node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    types = {each.data_type for each in model.graph.initializer if each.name in zeros}
    assert types == {onnx.TensorProto.INT8}


def test_several_bundles_end_in_a_table_with_what_they_cost_beside_float32(tiny_run: Path, tmp_path: Path) -> None:
    command = ["export", str(tiny_run), "--format", "onnx", "--precision", "fp32", "--precision", "fp16"]
    result = CliRunner().invoke(leukoscope, [*command, "-o", str(tmp_path)])
    assert result.exit_code == 0, result.output
    header, *rows = result.stdout.splitlines()[-3:]
    assert header.split()[:3] == ["bundle", "certified", "agreement"]
    assert [row.split()[:2] for row in rows] == [
        ["yolo11n-scene-onnx-fp32", "yes"],
        ["yolo11n-scene-onnx-fp16", "yes"],
    ]
    gate = json.loads((tmp_path / "yolo11n-scene-onnx-fp16.leuko" / "manifest.json").read_text())["gate"]
    assert set(gate["recall"]) == set(gate["source_recall"]) == {"Cancer", "Normal"}
    assert gate["ece"] == pytest.approx(gate["source_ece"], abs=0.02)
    beside = gate["beside"]
    assert beside["model_bytes"] < 0.6 * beside["fp32_bytes"]
    assert beside["model_bytes"] == model_of(open_bundle(tmp_path / "yolo11n-scene-onnx-fp16.leuko")).size


def _plain(network: object, model_format: Format, size: int) -> tuple[bytes, ...]:
    from importlib import import_module

    contents: tuple[bytes, ...] = import_module(CONVERTERS[model_format][0]).convert(network, "fp32", size, size)
    return contents
