"""Training recipes: data, one TOML file each in `train/recipes`."""

import tomllib
from importlib import resources
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from edge_app.errors import TrainingError
from edge_app.frozen import Frozen

Positive = Annotated[float, Field(gt=0)]


class Augmentation(Frozen):
    """Changes to a prepared image in training; the black surround makes rotation and zoom free of borders.

    rotation_degrees: up to this angle either way. zoom: range of the scale. flips: probabilities. brightness, contrast,
    saturation: torchvision ColorJitter's factors around 1; hue: around 0, as a share of the full circle.
    """

    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 0
    zoom: tuple[Positive, Positive] = (1.0, 1.0)
    shift: Annotated[float, Field(ge=0, lt=1)] = 0
    flip_horizontal: Annotated[float, Field(ge=0, le=1)] = 0
    flip_vertical: Annotated[float, Field(ge=0, le=1)] = 0
    brightness: Annotated[float, Field(ge=0, lt=1)] = 0
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0
    saturation: Annotated[float, Field(ge=0, lt=1)] = 0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0


class Recipe(Frozen):
    """How a model is trained.

    augmentation: ours, or "ultralytics" for what the study's published notebooks really ran (its loader ignores the
    rotation and mosaic that the paper names, and adds RandAugment, random erasing and HSV jitter by default).
    nominal_batch: Ultralytics accumulates gradients up to this many images. learning_rate falls to final_share of
    itself, by a cosine or linearly. patience: epochs without a better validation accuracy before it stops; 0 for
    never. small_epochs: the first epochs see the images reduced to small_size pixels, a third of the work for the
    coarse features that come first (progressive resizing: Howard, fastai; Tan and Le, EfficientNetV2, ICML 2021).
    """

    model: Literal["yolo11n", "yolo11s", "yolov8s"]
    source: str
    pretrained: bool
    epochs: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)]
    nominal_batch: Annotated[int, Field(ge=1)] = 64
    optimizer: Literal["SGD", "AdamW"]
    learning_rate: Positive
    final_share: Annotated[float, Field(gt=0, le=1)] = 0.01
    cosine: bool = False
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.937
    weight_decay: Annotated[float, Field(ge=0)] = 0.0005
    warmup_epochs: Annotated[float, Field(ge=0)] = 3
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0
    patience: Annotated[int, Field(ge=0)] = 0
    balance: Annotated[float, Field(ge=0, le=1)] = 0
    small_epochs: Annotated[int, Field(ge=0)] = 0
    small_size: Annotated[int, Field(ge=32, multiple_of=32)] = 128
    seed: Annotated[int, Field(ge=0)] = 0
    augmentation: Augmentation | Literal["ultralytics"]


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(
        path.name.removesuffix(".toml")
        for path in resources.files("train").joinpath("recipes").iterdir()
        if path.name.endswith(".toml")
    )


def load_recipe(name: str, **changes: object) -> Recipe:
    """Return a shipped recipe with some fields changed; raises TrainingError that names a wrong field or recipe."""
    file = resources.files("train").joinpath("recipes", f"{name}.toml")
    if not file.is_file():
        raise TrainingError(f"there is no recipe {name}; choose one of {', '.join(recipe_names())}")
    return parse_recipe(tomllib.loads(file.read_text("utf-8")) | changes, name)


def parse_recipe(values: dict[str, object], name: str) -> Recipe:
    """Return the recipe of these values; raises TrainingError with the field at fault."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise TrainingError(f"recipe {name}, field {field}: {first['msg']}; correct it and start again") from error
