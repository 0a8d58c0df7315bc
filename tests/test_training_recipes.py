"""Recipes, and the images that they make of a data set's."""

import numpy as np
import pytest
from click.testing import CliRunner

from edge_app.cli import leukoscope
from edge_app.errors import TrainingError
from edge_app.preprocessing import Image
from train.images import augment, shown
from train.recipe import Augmentation, KerasRecipe, YoloRecipe, load_recipe, parse_changes, parse_recipe, recipe_names

MODELS = ("yolo11n", "yolo11s", "yolov8s", "resnet50", "inception_resnet_v2")


def test_every_shipped_recipe_reads_and_the_papers_values_stand() -> None:
    assert set(recipe_names()) >= {model + way for model in MODELS for way in ("", "-published-code", "-scratch")}
    assert [load_recipe(name).model for name in recipe_names() if name in MODELS] == sorted(MODELS)
    paper = load_recipe("yolo11n")
    assert (paper.epochs, paper.batch, paper.optimizer, paper.learning_rate) == (50, 32, "SGD", 0.001)
    assert isinstance(paper, YoloRecipe)
    assert isinstance(paper.augmentation, Augmentation)
    assert paper.augmentation.rotation_degrees == 45
    assert load_recipe("yolo11n-published-code").augmentation == "ultralytics"


def test_a_typing_error_in_a_recipe_is_named() -> None:
    values = load_recipe("yolo11n").model_dump()
    with pytest.raises(TrainingError, match=r"field epoch: .*correct it"):
        parse_recipe(values | {"epoch": 3}, "mine")
    with pytest.raises(TrainingError, match=r"augmentation.*rotation"):
        parse_recipe(values | {"augmentation": {"rotation": 3}}, "mine")


def test_the_recipe_is_shown_with_what_was_changed() -> None:
    result = CliRunner().invoke(leukoscope, ["train", "yolo11n", "--epochs", "7", "--show-recipe"])
    assert result.exit_code == 0
    assert '"epochs": 7' in result.output
    assert '"learning_rate": 0.001' in result.output


@pytest.mark.parametrize(("name", "size", "least"), [("resnet50", 224, 1e-8), ("inception_resnet_v2", 299, 1e-10)])
def test_the_papers_recipes_for_keras_and_what_its_code_did_otherwise(name: str, size: int, least: float) -> None:
    paper, code = load_recipe(name), load_recipe(f"{name}-published-code")
    assert isinstance(paper, KerasRecipe)
    assert (paper.epochs, paper.batch, paper.size, paper.learning_rate) == (100, 8, size, 0.001)
    assert (paper.schedule, paper.plateau_factor, paper.plateau_patience) == ("plateau", 0.5, 3)
    assert (paper.min_learning_rate, paper.patience) == (least, 100)
    assert code.replace(source=paper.source, trained_layers=10) == paper
    assert not paper.preprocess_input


def test_fields_are_set_by_their_names() -> None:
    changes = parse_changes(
        ["epochs=7", "schedule=cosine", "trained_layers=none", "augmentation.zoom=[0.9, 1.1]", "augmentation.shift=0.2"]
    )
    recipe = load_recipe("resnet50", **changes)
    assert isinstance(recipe, KerasRecipe)
    assert (recipe.epochs, recipe.schedule, recipe.trained_layers) == (7, "cosine", None)
    assert (recipe.augmentation.zoom, recipe.augmentation.shift) == ((0.9, 1.1), 0.2)
    assert recipe.augmentation.flip_horizontal == 0.5  # as the recipe has it


@pytest.mark.parametrize("text", ["epochs", "=3", "augmentation..zoom=1"])
def test_a_change_that_names_no_field_is_refused(text: str) -> None:
    with pytest.raises(TrainingError, match="FIELD=VALUE"):
        parse_changes([text])


@pytest.mark.parametrize("field", ["epoch", "name"])
def test_a_typing_error_in_a_change_is_named(field: str) -> None:
    result = CliRunner().invoke(leukoscope, ["train", "resnet50", "--set", f"{field}=7", "--show-recipe"])
    assert isinstance(result.exception, TrainingError)
    assert f"field {field}:" in str(result.exception)


def test_a_recipe_keeps_epochs_at_full_size() -> None:
    with pytest.raises(TrainingError, match=r"field small_epochs: .*leave none of 5 at full size"):
        load_recipe("yolo11n-scratch", epochs=5, small_epochs=5)


@pytest.mark.parametrize(("epochs", "small"), [(1, 0), (23, 15), (92, 60)])
def test_other_epochs_keep_the_share_of_small_ones(epochs: int, small: int) -> None:
    assert load_recipe("yolo11n-scratch", epochs=epochs).small_epochs == small


@pytest.fixture
def image() -> Image:
    """A disc of noise on black, and a corner of it."""
    found = np.random.default_rng(0).integers(40, 255, (64, 64, 3)).astype(np.uint8)
    rows, columns = np.indices((64, 64)) - 32
    found[rows**2 + columns**2 > 20**2] = 0
    found[:8, :8] = 200
    return found


def test_nothing_asked_changes_nothing(image: Image) -> None:
    assert np.array_equal(augment(image, Augmentation(), np.random.default_rng(0)), image)


def test_flips_are_exact(image: Image) -> None:
    for flips, expected in (
        ({"flip_horizontal": 1}, image[:, ::-1]),
        ({"flip_vertical": 1}, image[::-1]),
    ):
        changed = augment(image, Augmentation.model_validate(flips), np.random.default_rng(0))
        assert np.array_equal(changed, expected)


def test_zoom_changes_the_stained_area_by_its_square(image: Image) -> None:
    image[:8, :8] = 0
    changed = augment(image, Augmentation(zoom=(1.4, 1.4)), np.random.default_rng(0))
    assert changed.sum() == pytest.approx(1.4**2 * image.sum(), rel=0.05)


def test_colours_change_and_black_stays_black(image: Image) -> None:
    asked = Augmentation(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1)
    changed = augment(image, asked, np.random.default_rng(1))
    assert not np.array_equal(changed, image)
    assert not changed[~image.any(axis=2)].any()


def test_an_image_without_a_cell_stays_black() -> None:
    asked = Augmentation(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.05)
    assert not augment(np.zeros((32, 32, 3), np.uint8), asked, np.random.default_rng(1)).any()


def test_borders_are_black_or_mirrored(image: Image) -> None:
    image[:] = 200
    black, mirrored = (
        augment(image, Augmentation.model_validate({"rotation_degrees": 90, "fill": fill}), np.random.default_rng(3))
        for fill in ("black", "mirror")
    )
    assert black.min() == 0
    assert mirrored.min() == 200


def test_the_generator_alone_decides(image: Image) -> None:
    asked = Augmentation(rotation_degrees=90, shift=0.1, brightness=0.2)
    first, same, other = (augment(image, asked, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_small_classes_are_shown_more_often_as_balance_asks() -> None:
    labels = np.array([0] * 12 + [1] * 3)
    assert np.array_equal(shown(labels, 0), np.arange(15))
    assert np.bincount(labels[shown(labels, 1)]).tolist() == [12, 12]
    assert np.bincount(labels[shown(labels, 0.5)]).tolist() == [12, 6]


def test_random_weights_and_weights_of_a_file_are_not_asked_for_at_once() -> None:
    result = CliRunner().invoke(leukoscope, ["train", "yolo11n", "--from-scratch", "--weights", "w.pt"])
    assert result.exit_code == 2
    assert "leave it out, or --weights" in result.output
