"""Keras runs that are cut off, and go on."""

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.run_folder import Resumption, read_history, read_run
from edge_app.errors import TrainingError
from tests.keras_training import invoke, keras_recipe
from train.recipe import KerasRecipe
from train.run import resume, train


def start(dataset: Path, output: Path, *, epochs: int) -> "subprocess.Popen[str]":
    """Start leukoscope train on torch, as `keras_recipe` has it."""
    plain = ("--set", "size=75", "--set", "small_epochs=0", "--set", "augmentation.recapture=none", "--batch", "2")
    recipe = ("resnet50-scratch", "--data", str(dataset), "-o", str(output), "--epochs", str(epochs), *plain)
    return subprocess.Popen(
        [sys.executable, "-m", "edge_app", "train", *recipe],
        env=os.environ | {"KERAS_BACKEND": "torch"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_when_there(file: Path, process: "subprocess.Popen[str]") -> None:
    """Kill a training as soon as it has written a file."""
    deadline = time.monotonic() + 300
    while not file.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_killed_run_ends_as_an_unbroken_one(few: Path, tmp_path: Path, on_torch: Executor) -> None:
    """Optimizer, schedule, order and augmentation of the images come back: the histories are the same."""
    killed = start(few, tmp_path / "killed", epochs=3)
    whole = on_torch.submit(train, few, tmp_path / "whole", keras_recipe("resnet50-scratch", epochs=3))
    kill_when_there(tmp_path / "killed" / "history.csv", killed)
    before = len(read_history(tmp_path / "killed"))
    assert before < 3
    whole.result()
    on_torch.submit(resume, tmp_path / "killed").result()
    assert read_run(tmp_path / "killed").resumed == (Resumption(after_epoch=before, epochs=3),)
    for unbroken, resumed in zip(read_history(tmp_path / "whole"), read_history(tmp_path / "killed"), strict=True):
        assert resumed.learning_rate == unbroken.learning_rate
        assert resumed.train_loss == pytest.approx(unbroken.train_loss, rel=0.01)
        assert resumed.val_loss == pytest.approx(unbroken.val_loss, rel=0.01)


def test_a_disk_that_is_full_after_an_epoch_is_one_sentence_and_the_run_can_go_on(
    few: Path, tmp_path: Path, on_torch: Executor
) -> None:
    recipe = keras_recipe("resnet50-scratch", epochs=2, small_epochs=1, small_size=32)
    with pytest.raises(TrainingError, match=r"No space left on device.*then go on with --resume"):
        on_torch.submit(train_on_a_full_disk, few, tmp_path / "run", recipe).result()
    assert not list((tmp_path / "run" / "keras").iterdir())
    record = on_torch.submit(resume, tmp_path / "run", epochs=4).result()
    assert record.epochs_run == 4
    assert record.recipe["small_epochs"] == 1  # more epochs are at the full size


def train_on_a_full_disk(dataset: Path, output: Path, recipe: KerasRecipe) -> None:
    with pytest.MonkeyPatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
        train(dataset, output, recipe)


def test_a_run_killed_before_its_first_epoch_is_begun_anew(few: Path, tmp_path: Path, on_torch: Executor) -> None:
    run = tmp_path / "run"
    kill_when_there(run / "start.json", start(few, run, epochs=1))
    assert not (run / "history.csv").exists()
    on_torch.submit(invoke, "train", "resnet50-scratch", "-o", run, "--resume").result()
    assert read_run(run).epochs_run == 1
