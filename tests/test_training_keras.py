"""The Keras family: both models and both backends."""

from pathlib import Path

import pytest

from benchmarks.run_folder import Evaluation, read_history, read_record, read_run
from edge_app.errors import TrainingError
from tests.keras_training import PLAIN, finish, start
from train.recipe import load_recipe
from train.run import train


@pytest.mark.parametrize(
    ("model", "backend"), [("resnet50", "torch"), ("resnet50", "tensorflow"), ("inception_resnet_v2", "torch")]
)
def test_a_model_trains_and_is_measured(model: str, backend: str, few: Path, tmp_path: Path) -> None:
    size = ("--set", "size=75")
    finish(
        start(backend, model, "--from-scratch", "--data", few, "-o", "run", "--epochs", 1, *size, *PLAIN, cwd=tmp_path)
    )
    record = read_run(tmp_path / "run")
    assert (record.framework, record.backend, record.weights_file) == ("keras", backend, "model.keras")
    assert record.libraries.keys() == {"numpy", "keras", backend}
    (epoch,) = read_history(tmp_path / "run")
    assert epoch.learning_rate == pytest.approx(record.recipe["learning_rate"] * record.recipe["final_share"])
    assert read_record(tmp_path / "run" / "evaluation.json", Evaluation).confusion.keys() == {"val", "test"}
    assert not (tmp_path / "run" / "keras").exists()


def test_without_network_pretrained_weights_are_one_sentence_and_nothing_half_made(few: Path, tmp_path: Path) -> None:
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    nowhere |= {"HOME": str(tmp_path), "KERAS_HOME": str(tmp_path / "keras")}
    process = start("torch", "resnet50", "--data", few, "-o", "run", "--set", "size=75", cwd=tmp_path, **nowhere)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == TrainingError.exit_code, output
    assert "--from-scratch" in output.splitlines()[-1]
    assert "Traceback" not in output
    assert not (tmp_path / "run").exists()


def test_a_data_set_of_another_size_is_refused_with_what_to_do(few: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="build one with --size 224, or train with --set size=75"):
        train(few, tmp_path / "run", load_recipe("resnet50-scratch"))
    assert not (tmp_path / "run").exists()
