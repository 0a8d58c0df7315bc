"""The Keras family: both models and both backends."""

import shutil
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.dataset import MANIFEST, load_part, read_dataset
from benchmarks.run_folder import Evaluation, read_history, read_record, read_run
from edge_app.errors import TrainingError
from tests.keras_training import invoke, keras_recipe
from train.evaluation import evaluate
from train.images import shown
from train.keras_model import build_network
from train.recipe import Augmentation, KerasRecipe, load_recipe
from train.run import train

Weights = npt.NDArray[np.float32]


def load(run: Path, recipe: KerasRecipe) -> Any:
    network = build_network(recipe, 2, recipe.size)
    network.load_weights(run / "model.keras")
    return network


def assert_measured(run: Path, backend: str) -> None:
    record = read_run(run)
    assert (record.framework, record.backend, record.weights_file) == ("keras", backend, "model.keras")
    assert record.libraries.keys() == {"numpy", "keras", backend}
    (epoch,) = read_history(run)
    assert epoch.learning_rate == pytest.approx(record.recipe["learning_rate"] * record.recipe["final_share"])
    assert read_record(run / "evaluation.json", Evaluation).confusion.keys() == {"val", "test"}
    assert not (run / "keras").exists()


@pytest.mark.parametrize("model", ["resnet50", "inception_resnet_v2"])
def test_a_model_trains_on_torch_and_is_measured(model: str, few: Path, tmp_path: Path, on_torch: Executor) -> None:
    on_torch.submit(train, few, tmp_path / "run", keras_recipe(f"{model}-scratch")).result()
    on_torch.submit(evaluate, tmp_path / "run", robustness_images=0).result()
    assert_measured(tmp_path / "run", "torch")


# of how Keras reads tensorflow's variables
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_model_trains_on_tensorflow_and_is_measured(few: Path, tmp_path: Path) -> None:
    train(few, tmp_path / "run", keras_recipe("resnet50-scratch"))
    evaluate(tmp_path / "run", robustness_images=0)
    assert_measured(tmp_path / "run", "tensorflow")


def test_frozen_batch_norms_stay_as_they_were_while_the_rest_is_trained(
    few: Path, tmp_path: Path, on_torch: Executor
) -> None:
    recipe = keras_recipe("resnet50-scratch", frozen_norm_epochs=1)
    on_torch.submit(train, few, tmp_path / "run", recipe).result()
    for layer, weights in on_torch.submit(weights_of, tmp_path / "run", recipe).result().items():
        if layer.endswith("_bn"):
            as_built = (1, 0, 0, 1)  # scale, shift, mean, variance
            assert all((each == value).all() for each, value in zip(weights, as_built, strict=True)), layer
        else:
            assert weights[-1].any(), layer  # a bias, built as 0


def weights_of(run: Path, recipe: KerasRecipe) -> dict[str, list[Weights]]:
    """Return layer → its weights."""
    return {layer.name: layer.get_weights() for layer in load(run, recipe).layers if layer.get_weights()}


def test_averages_of_batch_norms_are_those_of_the_balanced_training_images(
    few: Path, tmp_path: Path, on_torch: Executor
) -> None:
    unbalanced = shutil.copytree(few, tmp_path / "unbalanced")
    manifest = read_dataset(few)
    first = next(file for file in manifest.select("train") if file.label == "Normal")
    files = tuple(file for file in manifest.files if file != first)
    (unbalanced / MANIFEST).write_text(manifest.replace(files=files).model_dump_json())
    recipe = keras_recipe("resnet50-scratch", batch=64, norm_images=64, balance=1)
    on_torch.submit(train, unbalanced, tmp_path / "run", recipe).result()
    images, labels = load_part(unbalanced, read_dataset(unbalanced), "train")
    balanced = np.array(images[shown(labels, recipe.balance)], np.float32)
    found, expected = on_torch.submit(averages, tmp_path / "run", recipe, balanced).result()
    for layer, weights in found.items():
        for ours, theirs in zip(weights, expected[layer], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-3, err_msg=layer)


def averages(run: Path, recipe: KerasRecipe, batch: Weights) -> tuple[dict[str, list[Weights]], ...]:
    """Return batch norm → mean and variance, as the run left them and as one batch has them."""
    network = load(run, recipe)
    norms = [layer for layer in network.layers if layer.name.endswith("_bn")]
    left = {norm.name: norm.get_weights()[2:] for norm in norms}
    for norm in norms:
        norm.momentum = 0
    network(batch, training=True)
    return left, {norm.name: norm.get_weights()[2:] for norm in norms}


def test_plain_epochs_show_images_that_are_flipped_at_most(few: Path, tmp_path: Path, on_torch: Executor) -> None:
    flips = Augmentation(flip_horizontal=0.5, flip_vertical=0.5)
    plain = keras_recipe("resnet50-scratch", plain_epochs=1, augmentation={})
    flipped = keras_recipe("resnet50-scratch").replace(augmentation=flips)
    losses = []
    for name, recipe in (("plain", plain), ("flipped", flipped)):
        on_torch.submit(train, few, tmp_path / name, recipe).result()
        losses.append(read_history(tmp_path / name)[0].train_loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_without_network_pretrained_weights_are_one_sentence_and_nothing_half_made(
    few: Path, tmp_path: Path, on_torch: Executor
) -> None:
    arguments = ("train", "resnet50", "--data", few, "-o", tmp_path / "run", "--set", "size=75")
    with pytest.raises(TrainingError, match=r"^the pretrained weights of resnet50 can't be fetched .*--from-scratch$"):
        on_torch.submit(invoke, *arguments).result()
    assert not (tmp_path / "run").exists()


def test_a_data_set_of_another_size_is_refused_with_what_to_do(few: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="build one with --size 224, or train with --set size=75"):
        train(few, tmp_path / "run", load_recipe("resnet50-scratch"))
    assert not (tmp_path / "run").exists()
