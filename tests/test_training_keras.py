"""The Keras family: both models and both backends."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.dataset import MANIFEST, load_part, read_dataset
from benchmarks.run_folder import Evaluation, read_history, read_record, read_run
from edge_app.errors import TrainingError
from tests.keras_training import PLAIN, finish, start
from train.images import shown
from train.keras_model import build_network
from train.recipe import Augmentation, KerasRecipe, load_recipe
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


# Keras' tensorflow variables don't know numpy's newest keyword
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_frozen_batch_norms_stay_as_they_were_while_the_rest_is_trained(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.keras_fit.best_epoch", lambda _, epochs: epochs[-1].epoch)  # the last one's is kept
    changes = {"schedule": "plateau", "small_epochs": 0, "size": 75, "batch": 2, "augmentation": {"recapture": None}}
    found = []
    for epochs, frozen in ((1, 0), (2, 1)):
        recipe = load_recipe("resnet50-scratch", epochs=epochs, frozen_norm_epochs=frozen, **changes)
        assert isinstance(recipe, KerasRecipe)
        train(few, tmp_path / str(epochs), recipe)
        network = build_network(recipe, 2, 75)
        network.load_weights(tmp_path / str(epochs) / "model.keras")
        found.append({layer.name: layer.get_weights() for layer in network.layers if layer.get_weights()})
    for name, weights in found[0].items():
        same = all(np.allclose(*pair, rtol=1e-3, atol=1e-5) for pair in zip(weights, found[1][name], strict=True))
        assert same == name.endswith("_bn"), name


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_averages_of_batch_norms_are_those_of_the_balanced_training_images(few: Path, tmp_path: Path) -> None:
    unbalanced = shutil.copytree(few, tmp_path / "unbalanced")
    manifest = read_dataset(few)
    first = next(file for file in manifest.select("train") if file.label == "Normal")
    files = tuple(file for file in manifest.files if file != first)
    (unbalanced / MANIFEST).write_text(manifest.replace(files=files).model_dump_json())
    changes = {"epochs": 1, "small_epochs": 0, "size": 75, "batch": 64, "norm_images": 64, "balance": 1}
    recipe = load_recipe("resnet50-scratch", **changes)
    assert isinstance(recipe, KerasRecipe)
    train(unbalanced, tmp_path / "run", recipe)
    network = build_network(recipe, 2, 75)
    network.load_weights(tmp_path / "run" / "model.keras")
    norms = [layer for layer in network.layers if layer.name.endswith("_bn")]
    averages = [norm.get_weights()[2:] for norm in norms]
    for norm in norms:
        norm.momentum = 0
    images, labels = load_part(unbalanced, read_dataset(unbalanced), "train")
    network(np.array(images[shown(labels, recipe.balance)], np.float32), training=True)
    for norm, before in zip(norms, averages, strict=True):
        for found, expected in zip(before, norm.get_weights()[2:], strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3, err_msg=norm.name)


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_plain_epochs_show_images_that_are_flipped_at_most(few: Path, tmp_path: Path) -> None:
    flips = Augmentation(flip_horizontal=0.5, flip_vertical=0.5)
    changes = {"epochs": 1, "small_epochs": 0, "size": 75, "batch": 2}
    plain = load_recipe("resnet50-scratch", plain_epochs=1, **changes)
    flipped = load_recipe("resnet50-scratch", **changes).replace(augmentation=flips)
    losses = []
    for name, recipe in (("plain", plain), ("flipped", flipped)):
        train(few, tmp_path / name, recipe)
        losses.append(read_history(tmp_path / name)[0].train_loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


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
