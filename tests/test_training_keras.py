"""The Keras family: both models, both backends, and a run that is killed."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.dataset import MANIFEST
from benchmarks.run_folder import Evaluation, Resumption, read_history, read_record, read_run
from edge_app.errors import TrainingError
from edge_app.preprocessing import Preprocessing
from train.dataset import build_dataset
from train.recipe import load_recipe
from train.run import resume, train

PLAIN = ("--set", "small_epochs=0", "--set", "augmentation.recapture=none", "--batch", "2")


@pytest.fixture(scope="module")
def few(kaggle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 75 × 75 pixels, the least that Inception-ResNet-v2 takes, with two images a class and part."""
    folder = tmp_path_factory.mktemp("few") / "few"
    manifest = build_dataset([kaggle_folder], folder, preprocessing=Preprocessing(height=75, width=75))
    seen: Counter[tuple[str, str]] = Counter()
    files = []
    for file in manifest.files:
        seen[file.part, file.label] += 1
        if seen[file.part, file.label] <= 2:
            files.append(file)
    (folder / MANIFEST).write_text(manifest.replace(files=tuple(files)).model_dump_json())
    return folder


def start(backend: str, *arguments: object, cwd: Path, **environment: str) -> "subprocess.Popen[str]":
    """Start leukoscope train in a process of its own: Keras can't change its backend."""
    return subprocess.Popen(
        [sys.executable, "-m", "edge_app", "train", *map(str, arguments)],
        env=os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(Path(__file__).parents[1])} | environment,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output


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


def test_a_killed_run_ends_as_an_unbroken_one(few: Path, tmp_path: Path) -> None:
    """Optimizer, schedule, order and augmentation of the images come back: the histories are the same."""
    recipe = ("resnet50-scratch", "--data", few, "--epochs", 3, "--set", "size=75", *PLAIN)
    whole = start("torch", *recipe, "-o", "whole", cwd=tmp_path)
    finish(whole)
    killed = start("torch", *recipe, "-o", "killed", cwd=tmp_path)
    deadline = time.monotonic() + 300
    while not (tmp_path / "killed" / "history.csv").exists():
        assert killed.poll() is None, killed.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    before = len(read_history(tmp_path / "killed"))
    assert before < 3
    finish(start("torch", "resnet50-scratch", "-o", "killed", "--resume", cwd=tmp_path))
    assert read_run(tmp_path / "killed").resumed == (Resumption(after_epoch=before, epochs=3),)
    for unbroken, resumed in zip(read_history(tmp_path / "whole"), read_history(tmp_path / "killed"), strict=True):
        assert resumed.learning_rate == unbroken.learning_rate
        assert resumed.train_loss == pytest.approx(unbroken.train_loss, rel=0.01)
        assert resumed.val_loss == pytest.approx(unbroken.val_loss, rel=0.01)


# Keras' tensorflow variables don't know numpy's newest keyword
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_a_disk_that_is_full_after_an_epoch_is_one_sentence_and_the_run_can_go_on(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(
        "resnet50-scratch", epochs=1, small_epochs=0, size=75, batch=2, augmentation={"recapture": None}
    )
    with monkeypatch.context() as full:
        full.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**6))
        with pytest.raises(TrainingError, match=r"No space left on device.*then go on with --resume"):
            train(few, tmp_path / "run", recipe)
    assert not list((tmp_path / "run" / "keras").iterdir())
    assert resume(tmp_path / "run").epochs_run == 1


def test_a_run_killed_before_its_first_epoch_is_begun_anew(few: Path, tmp_path: Path) -> None:
    recipe = ("resnet50-scratch", "--data", few, "--epochs", 1, "--set", "size=75", *PLAIN)
    process = start("torch", *recipe, "-o", "run", cwd=tmp_path)
    while not (tmp_path / "run" / "start.json").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "run" / "history.csv").exists()
    finish(start("torch", "resnet50-scratch", "-o", "run", "--resume", cwd=tmp_path))
    assert read_run(tmp_path / "run").epochs_run == 1


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
