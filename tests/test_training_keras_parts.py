"""The Keras family's parts: schedule, weights that are given, and devices."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py  # type: ignore[import-untyped]
import numpy as np
import pytest

from benchmarks.keras_backend import import_keras
from benchmarks.run_folder import Epoch
from edge_app.errors import TrainingError
from train.devices import gpus
from train.keras_model import build_network, trunk_of
from train.recipe import KerasRecipe, load_recipe
from train.schedule import best_epoch, has_ended, learning_rate
from train.weights import load_keras_weights

# Keras' tensorflow variables don't know numpy's newest keyword
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
LOSSES = (0.9, 0.7, 0.71, 0.69995, 0.72, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.4, 0.5)


def epochs(losses: tuple[float, ...]) -> list[Epoch]:
    return [
        Epoch(epoch=number, seconds=1, learning_rate=1, train_loss=1, train_accuracy=1, val_loss=loss, val_accuracy=0.5)
        for number, loss in enumerate(losses, 1)
    ]


def recipe(name: str, **changes: object) -> KerasRecipe:
    found = load_recipe(name, **changes)
    assert isinstance(found, KerasRecipe)
    return found


def test_the_plateau_is_that_of_keras() -> None:
    keras = import_keras()
    paper = recipe("resnet50", min_learning_rate=2e-4)
    model = SimpleNamespace(optimizer=keras.optimizers.SGD(paper.learning_rate))
    theirs = keras.callbacks.ReduceLROnPlateau("val_loss", 0.5, 3, min_lr=2e-4)
    theirs.set_model(model)
    theirs.on_train_begin()
    for count in range(1, len(LOSSES) + 1):
        theirs.on_epoch_end(count - 1, {"val_loss": LOSSES[count - 1]})
        ours = learning_rate(paper, epochs(LOSSES[:count]), count + 0.5)
        assert ours == pytest.approx(float(np.asarray(model.optimizer.learning_rate)), rel=1e-6)
    assert ours == 2e-4


def test_the_cosine_warms_up_and_falls_to_its_share() -> None:
    scratch = recipe("resnet50-scratch", epochs=10, small_epochs=0, warmup_epochs=2, final_share=0.1)
    rates = [learning_rate(scratch, [], clock) for clock in (0.5, 2, 6, 10)]
    assert rates[0] < rates[1] > rates[2] > rates[3]
    assert rates[3] == pytest.approx(0.1 * scratch.learning_rate)


def test_the_best_epoch_is_one_at_full_size() -> None:
    scratch = recipe("resnet50-scratch", epochs=5, small_epochs=2)
    assert best_epoch(scratch, epochs((0.1, 0.2))) == 2
    assert best_epoch(scratch, epochs((0.1, 0.2, 0.9, 0.5, 0.7))) == 4


def test_patience_ends_a_run() -> None:
    patient = recipe("resnet50", epochs=9, patience=2)
    assert not has_ended(patient, epochs((0.5, 0.6)))
    assert has_ended(patient, epochs((0.5, 0.6, 0.7)))
    assert not has_ended(patient.replace(patience=0), epochs((0.5, 0.6, 0.7)))
    assert has_ended(patient, epochs(tuple(0.9 - 0.1 * step for step in range(9))))


@pytest.fixture(scope="module")
def four_classes() -> Any:
    """A ResNet50 of four classes."""
    return build_network(recipe("resnet50"), 4, 32)


@pytest.mark.parametrize("name", ["four.weights.h5", "four.keras", "notop.h5"])
def test_given_weights_fill_all_but_a_last_layer_of_other_classes(name: str, four_classes: Any, tmp_path: Path) -> None:
    network = build_network(recipe("resnet50"), 2, 32)
    if name == "notop.h5":
        legacy_h5(tmp_path / name, trunk_of(four_classes))
    elif name == "four.keras":
        four_classes.save(tmp_path / name)
    else:
        four_classes.save_weights(tmp_path / name)
    load_keras_weights(network, tmp_path / name)
    for ours, theirs in zip(network.weights[:-2], four_classes.weights[:-2], strict=True):
        assert np.array_equal(np.asarray(ours), np.asarray(theirs))
    assert network.weights[-1].shape == (2,)
    assert np.isfinite(np.asarray(network.weights[-2])).all()


def legacy_h5(path: Path, model: Any) -> None:
    """Write a model's weights in the form in which Keras publishes those of its applications."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name for layer in model.layers]
        file.attrs["keras_version"] = b"2.1.6"
        file.attrs["backend"] = b"tensorflow"
        for layer in model.layers:
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [weight.path for weight in layer.weights]
            for weight in layer.weights:
                group[weight.path] = np.asarray(weight)


def test_weights_of_another_network_are_refused(four_classes: Any, tmp_path: Path) -> None:
    import_keras().Model(four_classes.inputs, four_classes.layers[40].output).save_weights(tmp_path / "part.weights.h5")
    with pytest.raises(TrainingError, match=r"part.weights.h5 does not fit resnet50 .*; give weights of that network"):
        load_keras_weights(build_network(recipe("resnet50"), 2, 32), tmp_path / "part.weights.h5")


@pytest.mark.parametrize("name", ["weights.pt", "weights.h5", "model.keras", "other.weights.h5"])
def test_a_file_that_holds_no_such_weights_is_refused(name: str, four_classes: Any, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"none")
    with pytest.raises(TrainingError, match=r"must end in|does not fit"):
        load_keras_weights(four_classes, tmp_path / name)


def test_all_but_the_last_layers_are_frozen_in_the_papers_recipe_and_none_in_its_code() -> None:
    paper, code = (build_network(recipe(name), 2, 32) for name in ("resnet50", "resnet50-published-code"))
    assert len(paper.trainable_weights) < 15 < len(code.trainable_weights)


def test_pixels_are_scaled_inside_where_the_recipe_says_so() -> None:
    plain, scaled = (build_network(recipe("resnet50", preprocess_input=asked), 2, 32) for asked in (False, True))
    scaled.set_weights(plain.get_weights())
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    theirs = import_keras().applications.resnet50.preprocess_input(pixels.copy())
    outside, inside = (np.asarray(network(given)) for network, given in ((plain, theirs), (scaled, pixels)))
    assert np.allclose(outside, inside, rtol=1e-4)
    assert not np.allclose(np.asarray(plain(pixels)), inside, rtol=1e-2)


@pytest.mark.parametrize("device", ["0,0", "gpu", "", "-1", "99", "0,99"])
@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_a_device_that_is_not_there_is_refused(device: str, backend: str) -> None:
    with pytest.raises(TrainingError, match=f"--device {device}: "):
        gpus(device, backend)
