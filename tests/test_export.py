import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.dataset import DatasetManifest, load_part, read_dataset
from benchmarks.run_folder import read_record
from benchmarks.source_model import source_logits
from edge_app.bundle import check_golden, open_bundle
from edge_app.cli import leukoscope
from edge_app.errors import ExportError, GateError, TrainingError
from edge_app.judging import Decision, softmax
from edge_app.runtimes import load
from export.calibration import calibration_set
from export.gate import compare, run_all
from tests.conftest import FORMATS, PRECISIONS

ALL = tuple(f"{each}-{precision}" for each in FORMATS for precision in PRECISIONS)


@pytest.mark.parametrize("name", ALL)
def test_a_bundle_computes_what_its_source_does(
    name: str, tiny_bundles: dict[str, Path], tiny_run: Path, tiny_dataset: Path
) -> None:
    bundle = open_bundle(tiny_bundles[name])
    images, _ = load_part(tiny_dataset, read_dataset(tiny_dataset), "test")
    found = softmax(run_all(load(bundle).infer, images), 1.0)
    source = softmax(source_logits(tiny_run)(images), 1.0)
    limit = {"fp32": 1e-5, "fp16": 1e-2, "int8": 0.1}[bundle.manifest.precision]
    assert np.abs(found - source).max() < limit


@pytest.mark.parametrize("name", ALL)
def test_a_bundle_proves_itself_by_its_golden_outputs(name: str, tiny_bundles: dict[str, Path]) -> None:
    bundle = open_bundle(tiny_bundles[name])
    report = check_golden(bundle, load(bundle).infer)
    assert report.agreeing == report.images == 8


@pytest.mark.parametrize("name", ALL)
def test_the_manifest_says_how_far_it_is_from_its_source(name: str, tiny_bundles: dict[str, Path]) -> None:
    manifest = open_bundle(tiny_bundles[name]).manifest
    assert (manifest.calibration is not None) == ("int8" in name)
    assert {(each.model, each.part) for each in manifest.measured} == {
        (model, part) for model in ("source", "bundle") for part in ("val", "test")
    }
    if "fp32" in name:
        assert manifest.gate.certified
        assert manifest.gate.agreement == 1
        assert manifest.gate.largest_probability_difference < 1e-5


def test_int8_files_are_a_third_or_less(tiny_bundles: dict[str, Path]) -> None:
    sizes = {name: open_bundle(path).manifest for name, path in tiny_bundles.items()}
    for model_format in FORMATS:
        small, half, large = (
            sum(
                member.bytes
                for name, member in sizes[f"{model_format}-{precision}"].files.items()
                if name.startswith("model.")
            )
            for precision in ("int8", "fp16", "fp32")
        )
        assert half <= 0.60 * large
        assert small <= 0.31 * large


def test_the_tflite_graphs_have_no_transpose_and_take_uint8_without_a_float_copy(tiny_bundles: dict[str, Path]) -> None:
    from ai_edge_litert.interpreter import Interpreter

    for precision in PRECISIONS:
        bundle = open_bundle(tiny_bundles[f"tflite-{precision}"])
        interpreter = Interpreter(model_content=bundle.read("model.tflite"))
        operators = [each["op_name"] for each in interpreter._get_ops_details()]
        assert "TRANSPOSE" not in operators
        assert not [name for name in operators if name.startswith(("Flex", "CUSTOM"))]
        if precision == "int8":
            scale, zero = interpreter.get_input_details()[0]["quantization"]
            assert scale == 1  # the pixels themselves
            assert zero == 0
            assert operators.count("DEQUANTIZE") == 1


def test_the_card_carries_figures_intervals_and_intended_use(tiny_bundles: dict[str, Path]) -> None:
    card = open_bundle(tiny_bundles["tflite-int8"]).read("MODEL_CARD.md").decode()
    assert "For Research Use Only. Not for use in diagnostic procedures." in card
    assert "| bundle | scene | test |" in card
    assert "Ghaderzadeh" in card
    assert "{" not in card


def test_calibration_images_are_the_training_parts_by_class_and_the_seeds(tiny_dataset: Path) -> None:
    manifest = read_dataset(tiny_dataset)
    first, again, other = (calibration_set(tiny_dataset, manifest, 20, seed) for seed in (0, 0, 1))
    assert first.record == again.record != other.record
    assert first.images.shape == (first.record.images, 64, 64, 3)
    assert 18 <= first.record.images <= 22


def test_calibration_without_a_class_is_refused(tiny_dataset: Path) -> None:
    manifest = read_dataset(tiny_dataset)
    one_class = DatasetManifest.model_validate(
        manifest.model_dump()
        | {"files": [file for file in manifest.model_dump()["files"] if file["label"] == "Cancer"]}
    )
    with pytest.raises(ExportError, match="no image of Normal"):
        calibration_set(tiny_dataset, one_class)


def test_the_gate_certifies_what_is_near_and_refuses_what_is_not() -> None:
    classes, decision = ("Cancer", "Normal"), Decision(positive="Cancer")
    source = np.tile(np.array([[3.0, -3.0], [-3.0, 3.0]], np.float32), (100, 1))
    truths = np.tile([0, 1], 100)
    assert compare(source, source + 0.1, truths, classes, decision, 0.6).certified
    flipped = source.copy()
    flipped[:3] *= -1
    gate = compare(source, flipped, truths, classes, decision, 0.6)
    assert not gate.certified
    assert gate.agreement == pytest.approx(0.985)
    assert gate.accuracy_drop == pytest.approx(0.015)


def test_the_gate_counts_by_class_how_often_the_model_is_not_sure() -> None:
    classes, decision = ("Cancer", "Normal"), Decision(positive="Cancer")
    source = np.tile(np.array([[3.0, -3.0], [-3.0, 3.0]], np.float32), (100, 1))
    doubtful = source.copy()
    doubtful[1:11:2] *= 0.05  # five Normal images
    gate = compare(source, doubtful, np.tile([0, 1], 100), classes, decision, 0.6)
    assert gate.certified
    assert gate.abstained == {"Cancer": 0.0, "Normal": 0.05}
    assert compare(source[::2], doubtful[::2], np.zeros(100, int), classes, decision, 0.6).abstained == {"Cancer": 0.0}


def test_the_command_writes_bundles_and_says_what_it_found(tiny_run: Path, tmp_path: Path) -> None:
    arguments = ["export", str(tiny_run), "--format", "onnx", "--precision", "fp32", "-o", str(tmp_path)]
    result = CliRunner().invoke(leukoscope, arguments)
    assert result.exit_code == 0, result.output
    assert "certified, same label as its source on 100.00%" in result.output
    path = tmp_path / "yolo11n-scene-onnx-fp32.leuko"
    again = CliRunner().invoke(leukoscope, arguments)
    assert again.exit_code != 0  # not overwritten without --replace
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["calibration"] is None


def test_a_bundle_that_misses_the_gate_is_written_and_the_exit_code_says_so(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.gate.SMALLEST_AGREEMENT", 1.01)
    arguments = ["export", str(tiny_run), "--format", "onnx", "--precision", "fp32", "-o", str(tmp_path)]
    result = CliRunner().invoke(leukoscope, arguments)
    assert isinstance(result.exception, GateError)
    assert not open_bundle(tmp_path / "yolo11n-scene-onnx-fp32.leuko").manifest.gate.certified


def test_a_folder_that_is_no_run_is_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(leukoscope, ["export", str(tmp_path)])
    assert isinstance(result.exception, TrainingError)
    assert "name the folder of a finished leukoscope train run" in str(result.exception)


def test_the_runs_data_set_is_remembered(tiny_run: Path, tiny_dataset: Path) -> None:
    assert read_record(tiny_run / "dataset.json", DatasetManifest) == read_dataset(tiny_dataset)
