import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.dataset import read_dataset
from benchmarks.run_folder import Earlier, Epoch, Evaluation, RunRecord, read_history, read_record, read_run
from benchmarks.source_model import source_logits
from edge_app.cli import leukoscope
from edge_app.errors import TrainingError
from edge_app.preprocessing import Preprocessing
from train.dataset import build_dataset
from train.earlier import earlier_run
from train.history import History
from train.recipe import load_recipe
from train.results import results_page
from train.run import resume, train
from train.run_metrics import read_metrics


def test_a_run_says_what_was_run(tiny_run: Path, tiny_dataset: Path) -> None:
    record = read_run(tiny_run)
    assert record.epochs_run == 2
    assert record.dataset_sha256 == read_dataset(tiny_dataset).list_sha256()
    assert record.started_from == "yolo11n-cls.yaml"
    assert record.recipe["small_epochs"] == 1
    assert set(record.libraries) == {"numpy", "torch", "torchvision", "ultralytics"}


def test_the_history_has_a_line_an_epoch(tiny_run: Path) -> None:
    epochs = read_history(tiny_run)
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    assert all(epoch.val_loss > 0 and 0 <= epoch.val_accuracy <= 1 for epoch in epochs)
    assert 0 < epochs[0].seconds < epochs[1].seconds


def test_an_evaluation_has_figures_with_intervals_and_counts_that_add_up(tiny_run: Path, tiny_dataset: Path) -> None:
    evaluation = read_record(tiny_run / "evaluation.json", Evaluation)
    manifest = read_dataset(tiny_dataset)
    for measured in evaluation.measured:
        truth = [file.label for file in manifest.files if file.part == measured.part]
        counts = np.array(evaluation.confusion[measured.part])
        assert counts.sum(axis=1).tolist() == [truth.count(name) for name in manifest.classes]  # rows are the truth
        accuracy = measured.figures["accuracy"]
        assert accuracy.value == pytest.approx(np.trace(counts) / len(truth))
        assert accuracy.low is not None
        assert accuracy.high is not None
        assert accuracy.low <= accuracy.value <= accuracy.high


def test_the_source_gives_logits_of_every_class(tiny_run: Path) -> None:
    logits = source_logits(tiny_run)(np.zeros((3, 64, 64, 3), np.uint8))
    assert logits.shape == (3, 2)
    assert logits.dtype == np.float32


def test_weights_that_are_not_the_runs_own_are_not_unpickled(tiny_run: Path, tmp_path: Path) -> None:
    for name in ("run.json", "evaluation.json"):
        (tmp_path / name).write_bytes((tiny_run / name).read_bytes())
    (tmp_path / "weights.pt").write_bytes(b"not these")
    with pytest.raises(TrainingError, match="not the file that this run wrote"):
        source_logits(tmp_path)


def test_foreign_weights_need_to_be_trusted(tiny_dataset: Path, tiny_run: Path, tmp_path: Path) -> None:
    recipe = load_recipe("yolo11n", epochs=1)
    with pytest.raises(TrainingError, match="--trust-weights"):
        train(tiny_dataset, tmp_path / "run", recipe, weights=tiny_run / "weights.pt")
    with pytest.raises(TrainingError, match="is no file"):
        train(tiny_dataset, tmp_path / "run", recipe, weights=tmp_path / "none.pt", trust_weights=True)
    assert not (tmp_path / "run").exists()


def test_trusted_weights_are_started_from(tiny_dataset: Path, tiny_run: Path, tmp_path: Path) -> None:
    recipe = load_recipe("yolo11n", epochs=1, batch=16, nominal_batch=16, learning_rate=1e-9)
    record = train(tiny_dataset, tmp_path / "run", recipe, weights=tiny_run / "weights.pt", trust_weights=True)
    assert record.start == "weights.pt of tiny"
    assert record.earlier == Earlier(run="tiny", epochs=2, test_images=0)
    assert record.warning == ""


def test_test_images_that_the_weights_of_another_run_were_trained_on_are_told(
    kaggle_folder: Path, tiny_dataset: Path, tiny_run: Path, tmp_path: Path
) -> None:
    other = build_dataset([kaggle_folder], tmp_path / "other", seed=1, preprocessing=Preprocessing(height=64, width=64))
    trained_on = {file.source_sha256 for file in read_dataset(tiny_dataset).select("train")}
    seen = sum(file.source_sha256 in trained_on for file in other.select("test"))
    assert seen
    arguments = ["train", "yolo11n-scratch", "--data", str(tmp_path / "other"), "--output", str(tmp_path / "run")]
    weights = ["--weights", str(tiny_run / "weights.pt"), "--trust-weights"]
    result = CliRunner().invoke(leukoscope, [*arguments, *weights, "--epochs", "1", "--set", "small_epochs=0"])
    assert result.exit_code == 0, result.output
    warning = f"{seen} of the test images are among those that tiny was trained on"
    assert f"Note: {warning}" in result.stderr
    assert warning in (tmp_path / "run" / "report.html").read_text("utf-8")
    assert warning in results_page({"run": read_metrics(tmp_path / "run" / "metrics.json")})
    again = earlier_run(tmp_path / "run" / "weights.pt", other)
    assert again == Earlier(run="run", epochs=3, test_images=seen)  # its own training images are not, but tiny's are
    copies = tuple(file.replace(part="train") for file in other.select("test"))
    on_both_sides = earlier_run(tmp_path / "run" / "weights.pt", other.replace(files=other.files + copies))
    assert on_both_sides == Earlier(run="run", epochs=3, test_images=0)  # the split's doing, not that of the weights


def test_weights_from_elsewhere_have_no_known_run(tiny_dataset: Path, tiny_run: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_run / "weights.pt", tmp_path)
    assert earlier_run(tmp_path / "weights.pt", read_dataset(tiny_dataset)) is None
    assert earlier_run(tiny_run / "recipe.json", read_dataset(tiny_dataset)) is None
    shutil.copy(tiny_run / "run.json", tmp_path)  # but not what else is known of the run
    with pytest.raises(TrainingError, match=r"can't be told .*; to start from it all the same, copy it out"):
        earlier_run(tmp_path / "weights.pt", read_dataset(tiny_dataset))


def test_a_finished_run_is_neither_overwritten_nor_resumed(tiny_dataset: Path, tiny_run: Path) -> None:
    with pytest.raises(TrainingError, match="finished run; give another folder"):
        train(tiny_dataset, tiny_run, load_recipe("yolo11n-scratch"))
    with pytest.raises(TrainingError, match="nothing to resume"):
        resume(tiny_run)


def test_a_folder_that_can_not_be_written_is_one_sentence_before_anything_is_trained(
    tiny_dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match="give --output a folder of yours"):
        train(tiny_dataset, tmp_path / "file" / "run", load_recipe("yolo11n-scratch"))


def test_a_disk_that_takes_no_more_is_one_sentence(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("train.yolo.YoloFit.run", full)
    run = tmp_path / "run"
    words = r"No space left on device.*make room there, then go on with --resume"
    with pytest.raises(TrainingError, match=words):
        train(tiny_dataset, run, load_recipe("yolo11n-scratch"))
    with pytest.raises(TrainingError, match=words):
        resume(run)


def test_epochs_that_were_run_small_stay_small_ones_when_a_run_is_to_end_sooner(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the best of them, measured at the small size, would pass for the best at the full one."""

    def killed(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("train.yolo.YoloFit.run", killed)
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(tiny_dataset, run, load_recipe("yolo11n-scratch", epochs=8, small_epochs=4))
    for epoch in range(1, 4):
        line = Epoch(
            epoch=epoch, seconds=1, learning_rate=1, train_loss=1, train_accuracy=1, val_loss=1, val_accuracy=1
        )
        History(run).append(line)
    with pytest.raises(KeyboardInterrupt):
        resume(run, epochs=4)
    assert json.loads((run / "recipe.json").read_text())["small_epochs"] == 3


def test_without_network_pretrained_weights_are_one_sentence_and_nothing_half_made(
    tiny_dataset: Path, tmp_path: Path
) -> None:
    """In a process of its own whose proxy leads nowhere, so that it holds on a machine with a network, too."""
    environment = os.environ | dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment |= {"YOLO_CONFIG_DIR": str(tmp_path / "config"), "HOME": str(tmp_path)}
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "edge_app",
            "train",
            "yolo11n",
            "--data",
            str(tiny_dataset),
            "-o",
            str(tmp_path / "run"),
        ],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == TrainingError.exit_code, result.stderr
    assert "--from-scratch" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("model", ["yolo11s", "yolov8s"])
def test_the_larger_models_train(model: str, tiny_dataset: Path, tmp_path: Path) -> None:
    recipe = load_recipe(f"{model}-scratch", epochs=1, small_epochs=0, batch=64, nominal_batch=64)
    record = train(tiny_dataset, tmp_path / "run", recipe)
    assert (record.model, record.framework, record.epochs_run) == (model, "ultralytics", 1)
    assert source_logits(tmp_path / "run")(np.zeros((1, 64, 64, 3), np.uint8)).shape == (1, 2)


def test_bfloat16_gives_nearly_the_losses_of_float32(tiny_dataset: Path, tmp_path: Path) -> None:
    losses = []
    for precision in ("float32", "mixed_bfloat16"):
        recipe = load_recipe("yolo11n-scratch", epochs=1, batch=16, precision=precision)
        train(tiny_dataset, tmp_path / precision, recipe)
        losses.append(read_history(tmp_path / precision)[0].train_loss)
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_what_the_published_code_ran_trains_too(tiny_dataset: Path, tmp_path: Path) -> None:
    recipe = load_recipe("yolo11n-published-code", epochs=1, batch=64, pretrained=False)
    assert train(tiny_dataset, tmp_path / "run", recipe).recipe["augmentation"] == "ultralytics"


def test_a_killed_run_resumes_and_ends_as_planned(tiny_dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "edge_app", "train", "yolo11n-scratch", "-o", str(run), "--epochs", "40"]
    command += ["--set", "small_epochs=39", "--set", "small_size=32"]
    process = subprocess.Popen(
        [*command, "--data", str(tiny_dataset), "--batch", "32"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    results = run / "ultralytics" / "results.csv"
    deadline = time.monotonic() + 240
    while not (results.exists() and len(results.read_text().splitlines()) > 2):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with pytest.raises(TrainingError, match="cut off"):
        train(tiny_dataset, run, load_recipe("yolo11n-scratch"))
    done = len(results.read_text().splitlines()) - 1
    record = resume(run, epochs=done + 1)  # the last one of which is at the full size
    assert isinstance(record, RunRecord)
    epochs = read_history(run)
    assert [epoch.epoch for epoch in epochs] == list(range(1, done + 2))
    assert all(first.seconds < second.seconds for first, second in pairwise(epochs))
    assert [each.epochs for each in record.resumed] == [done + 1]
    assert read_run(run) == record
