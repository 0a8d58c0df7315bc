"""Keras runs that are cut off, and go on."""

import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.run_folder import Resumption, read_history, read_run
from edge_app.errors import TrainingError
from tests.keras_training import PLAIN, finish, start
from train.recipe import load_recipe
from train.run import resume, train


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
        "resnet50-scratch", epochs=2, small_epochs=1, small_size=32, size=75, batch=2, augmentation={"recapture": None}
    )
    with monkeypatch.context() as full:
        full.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**6))
        with pytest.raises(TrainingError, match=r"No space left on device.*then go on with --resume"):
            train(few, tmp_path / "run", recipe)
    assert not list((tmp_path / "run" / "keras").iterdir())
    record = resume(tmp_path / "run", epochs=4)
    assert record.epochs_run == 4
    assert record.recipe["small_epochs"] == 1  # more epochs are at the full size


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
