"""Training recipes: data, one TOML file each in `train/recipes`."""

import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from edge_app.errors import TrainingError
from edge_app.frozen import Frozen
from train.recapture import Recapture

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Augmentation(Frozen):
    """Changes to an image in training; see `train.images.augment`, and `train.recapture` for those before segmentation.

    rotation_degrees: up to this angle either way. zoom: range of the scale. zoom_apart: height and width are scaled
    apart, as Keras' RandomZoom does. shift: up to this share of the side, either way. fill: what comes in at the
    borders, black as the surround is, or the image mirrored, as Keras' layers do. flips: probabilities. brightness,
    contrast, saturation: up to this factor around 1; hue: up to this share of the full circle, either way.
    """

    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 0
    zoom: tuple[Positive, Positive] = (1.0, 1.0)
    zoom_apart: bool = False
    shift: Annotated[float, Field(ge=0, lt=1)] = 0
    fill: Literal["black", "mirror"] = "black"
    flip_horizontal: Share = 0
    flip_vertical: Share = 0
    brightness: Annotated[float, Field(ge=0, lt=1)] = 0
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0
    saturation: Annotated[float, Field(ge=0, lt=1)] = 0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0
    recapture: Recapture | None = None


class Recipe(Frozen):
    """How a model is trained: what both families have.

    final_share: what is left of the learning rate at the end of a schedule that falls by the clock. patience: epochs
    without a better validation (YOLO: accuracy, Keras: loss) before it stops; 0 for never. balance: classes with fewer
    images are shown more often, 1 for as often as the largest. small_epochs: the first epochs see the images reduced
    to small_size pixels, a fraction of the work for the coarse features that come first (progressive resizing:
    Howard, fastai; Tan and Le, EfficientNetV2, ICML 2021). precision: "mixed_bfloat16" computes in bfloat16 and keeps
    float32 weights, faster on a processor that has it (AVX512-BF16, AMX); on a GPU, Ultralytics mixes
    precisions in any case.
    """

    model: str
    source: str
    pretrained: bool
    epochs: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)]
    learning_rate: Positive
    final_share: Annotated[float, Field(gt=0, le=1)] = 0.01
    weight_decay: Annotated[float, Field(ge=0)]
    warmup_epochs: Annotated[float, Field(ge=0)]
    patience: Annotated[int, Field(ge=0)] = 0
    balance: Share = 0
    small_epochs: Annotated[int, Field(ge=0)] = 0
    small_size: Annotated[int, Field(ge=32, multiple_of=32)] = 128
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _ends_at_full_size(self) -> Self:
        if self.small_epochs >= self.epochs:
            raise ValueError(f"{self.small_epochs} small epochs leave none of {self.epochs} at full size")
        return self


class YoloRecipe(Recipe):
    """A recipe for Ultralytics.

    nominal_batch: gradients are accumulated up to this many images. cosine: how the learning rate falls; else linearly.
    augmentation: ours, or "ultralytics" for what the study's published notebooks really ran (its loader ignores the
    rotation and mosaic that the paper names, and adds RandAugment, random erasing and HSV jitter by default).
    """

    model: Literal["yolo11n", "yolo11s", "yolov8s"]
    optimizer: Literal["SGD", "AdamW"]
    nominal_batch: Annotated[int, Field(ge=1)] = 64
    cosine: bool = False
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.937
    weight_decay: Annotated[float, Field(ge=0)] = 0.0005
    warmup_epochs: Annotated[float, Field(ge=0)] = 3
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0
    augmentation: Augmentation | Literal["ultralytics"]


class KerasRecipe(Recipe):
    """A recipe for Keras: sparse categorical cross-entropy, and the weights of the lowest validation loss are kept.

    size: side in pixels that the data set must have. trained_layers: the last so many layers of the application are
    trained and the others frozen; null for all trained. preprocess_input: pixels are scaled as the application's own
    weights were trained, else fed as they are. schedule: "plateau" multiplies the learning rate by plateau_factor
    after plateau_patience epochs without a lower validation loss, down to min_learning_rate; "cosine" lets it fall to
    final_share of itself. plain_epochs: so many last epochs show images that are flipped at most, as sharp as those
    that are judged, since a warp smooths (as Ge et al. end the training of YOLOX, 2021). batch_norm_momentum: of the
    running averages, shorter where epochs are few. norm_images: if not 0, the averages of batch norms are measured anew
    after each epoch, on so many training images, balanced as in training but not augmented. frozen_norm_epochs: in so
    many last epochs batch norms keep their averages, scales and offsets, so that what is trained is the network as it
    judges later (for both, Wu and Johnson, Rethinking "Batch" in BatchNorm, 2021, sections 3 and 4).
    """

    model: Literal["resnet50", "inception_resnet_v2"]
    size: Annotated[int, Field(ge=32)]
    optimizer: Literal["AdamW"] = "AdamW"
    weight_decay: Annotated[float, Field(ge=0)] = 0.004
    warmup_epochs: Annotated[float, Field(ge=0)] = 0
    trained_layers: Annotated[int, Field(ge=0)] | None = None
    preprocess_input: bool = False
    schedule: Literal["plateau", "cosine"]
    plateau_factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    plateau_patience: Annotated[int, Field(ge=1)] = 3
    min_learning_rate: Annotated[float, Field(ge=0)] = 0
    batch_norm_momentum: Annotated[float, Field(gt=0, lt=1)] = 0.99
    plain_epochs: Annotated[int, Field(ge=0)] = 0
    norm_images: Annotated[int, Field(ge=0)] = 0
    frozen_norm_epochs: Annotated[int, Field(ge=0)] = 0
    augmentation: Augmentation


FAMILIES: dict[str, type[YoloRecipe] | type[KerasRecipe]] = {
    "yolo11n": YoloRecipe,
    "yolo11s": YoloRecipe,
    "yolov8s": YoloRecipe,
    "resnet50": KerasRecipe,
    "inception_resnet_v2": KerasRecipe,
}


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(
        path.name.removesuffix(".toml")
        for path in resources.files("train").joinpath("recipes").iterdir()
        if path.name.endswith(".toml")
    )


def load_recipe(name: str, /, **changes: object) -> YoloRecipe | KerasRecipe:
    """Return a shipped recipe with some fields changed; raises TrainingError that names a wrong field or recipe.

    A change that is a mapping changes the fields that it names, and leaves the field's others. Other epochs keep the
    recipe's share of small ones, unless these are given, too.
    """
    file = resources.files("train").joinpath("recipes", f"{name}.toml")
    if not file.is_file():
        raise TrainingError(f"there is no recipe {name}; choose one of {', '.join(recipe_names())}")
    shipped = tomllib.loads(file.read_text("utf-8"))
    return parse_recipe(_merged(shipped, with_epochs(shipped, changes.get("epochs")) | changes), name)


def with_epochs(values: Mapping[str, Any], epochs: object) -> dict[str, object]:
    """Return what changes in a recipe's values with other epochs: the share of small ones stays."""
    if not isinstance(epochs, int):
        return {}
    return {"epochs": epochs, "small_epochs": values.get("small_epochs", 0) * epochs // values["epochs"]}


def parse_recipe(values: Mapping[str, Any], name: str) -> YoloRecipe | KerasRecipe:
    """Return the recipe of these values; raises TrainingError with the field at fault."""
    family = FAMILIES.get(str(values.get("model")))
    if family is None:
        raise TrainingError(f"recipe {name}, field model: must be one of {', '.join(FAMILIES)}; correct it")
    try:
        return family.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "small_epochs"
        raise TrainingError(f"recipe {name}, field {field}: {first['msg']}; correct it and start again") from error


def parse_changes(assignments: Iterable[str]) -> dict[str, Any]:
    """Return the changes that "FIELD=VALUE" texts ask for; "augmentation.zoom=[0.8, 1.2]" reaches inside.

    A value is TOML, or else a bare word; "none" is null. Raises TrainingError.
    """
    changes: dict[str, Any] = {}
    for text in assignments:
        field, equals, value = text.partition("=")
        if not equals or not all(part.isidentifier() for part in field.strip().split(".")):
            raise TrainingError(f"--set {text}: write it as FIELD=VALUE; --show-recipe prints the fields")
        parsed: Any = None if value.strip() == "none" else _parsed(value.strip())
        for part in reversed(field.strip().split(".")):
            parsed = {part: parsed}
        changes = _merged(changes, parsed)
    return changes


def _parsed(value: str) -> Any:
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with the changes in them, mappings in both of them merged likewise."""
    merged = dict(values)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
