import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchmarks.dataset import DatasetManifest
from benchmarks.run_folder import read_record
from edge_app.cli import leukoscope
from edge_app.errors import ExportError, LeukoscopeError, TrainingError
from tests.full_disk import small_files


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def export(run: Path, output: Path, model_format: str = "onnx", precision: str = "fp32") -> Result:
    arguments = ["export", str(run), "--format", model_format, "--precision", precision, "-o", str(output)]
    return CliRunner().invoke(leukoscope, arguments)


def check_one_sentence(result: Result, kind: type[LeukoscopeError], words: str, output: Path) -> None:
    assert isinstance(result.exception, kind), result.output
    assert words in str(result.exception)
    assert "Traceback" not in result.output
    assert not output.exists()


@pytest.mark.parametrize("missing", ["run.json", "dataset.json", "evaluation.json", "weights.pt"])
def test_a_run_without_one_of_its_files_is_one_sentence(run: Path, tmp_path: Path, missing: str) -> None:
    (run / missing).unlink()
    check_one_sentence(export(run, tmp_path / "out"), TrainingError, missing, tmp_path / "out")


@pytest.mark.parametrize("text", [None, "{}"])
def test_a_run_that_was_not_evaluated_by_this_version_is_not_to_be_trained_again(
    run: Path, tmp_path: Path, text: str | None
) -> None:
    (run / "evaluation.json").unlink()
    if text:
        (run / "evaluation.json").write_text(text)
    words = f"make it with leukoscope evaluate {run}"
    check_one_sentence(export(run, tmp_path / "out"), TrainingError, words, tmp_path / "out")


def test_a_bundle_that_is_there_is_told_before_another_is_made(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out" / "yolo11n-scene-onnx-fp32.leuko").mkdir(parents=True)
    monkeypatch.delattr("export.export.load_part")  # nothing can be made
    result = export(run, tmp_path / "out")
    assert isinstance(result.exception, ExportError), result.output
    assert "say --replace" in str(result.exception)


def test_weights_that_are_cut_short_are_one_sentence(run: Path, tmp_path: Path) -> None:
    data = (run / "weights.pt").read_bytes()
    (run / "weights.pt").write_bytes(data[: len(data) // 2])
    check_one_sentence(export(run, tmp_path / "out"), TrainingError, "not the file", tmp_path / "out")


def test_a_folder_that_can_not_be_written_is_one_sentence_before_anything_is_made(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = export(run, tmp_path / "file" / "bundles")
    check_one_sentence(result, ExportError, "give --output a folder of yours", tmp_path / "file" / "bundles")


def test_training_images_of_one_class_only_are_one_sentence(run: Path, tmp_path: Path) -> None:
    manifest = read_record(run / "dataset.json", DatasetManifest)
    kept = tuple(file for file in manifest.files if file.part != "train" or file.label == "Cancer")
    (run / "dataset.json").write_text(manifest.model_copy(update={"files": kept}).model_dump_json())
    result = export(run, tmp_path / "out", "openvino", "int8")
    check_one_sentence(result, ExportError, "no image of Normal", tmp_path / "out")


@pytest.mark.parametrize(("model_format", "precision"), [("onnx", "fp32"), ("openvino", "fp32"), ("onnx", "int8")])
def test_a_disk_that_takes_no_more_is_one_sentence_and_leaves_nothing(
    tiny_run: Path, tmp_path: Path, model_format: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit on the size of files, on a temporary folder of its own."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    with small_files(100_000):
        result = export(tiny_run, tmp_path / "out", model_format, precision)
    assert isinstance(result.exception, ExportError), result.output
    assert result.exception.exit_code == 10
    assert not list((tmp_path / "temporary").iterdir())
    assert not list((tmp_path / "out").rglob("*")) if (tmp_path / "out").exists() else True
