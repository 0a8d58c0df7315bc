"""The two Keras networks: an application of Keras without its top, global average pooling, and a layer of logits."""

from typing import Any

from benchmarks.keras_backend import import_keras
from train.recipe import KerasRecipe

# model → its module and function in keras.applications
APPLICATIONS = {
    "resnet50": ("resnet50", "ResNet50"),
    "inception_resnet_v2": ("inception_resnet_v2", "InceptionResNetV2"),
}


def build_network(
    recipe: KerasRecipe, classes: int, size: int | None, *, weights: str | None = None, precision: str = "float32"
) -> Any:
    """Return a recipe's network from float32 [N, size, size, 3], RGB, 0 to 255, to logits, float32 [N, classes].

    size: None for any. weights: "imagenet" for those that Keras fetches, None for random ones. precision: Keras' policy
    for the layers between. Raises TrainingError when the weights can't be fetched.
    """
    keras = import_keras()
    module, function = APPLICATIONS[recipe.model]
    keras.config.set_dtype_policy(precision)
    try:
        pixels = keras.Input((size, size, 3), dtype="float32", name="pixels")
        application = getattr(keras.applications, module)
        trunk = getattr(keras.applications, function)(
            include_top=False,
            weights=weights,
            input_tensor=application.preprocess_input(pixels) if recipe.preprocess_input else pixels,
            input_shape=(size, size, 3),
        )
        for layer in trunk.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = recipe.batch_norm_momentum
        if recipe.trained_layers is not None:
            for layer in trunk.layers[: len(trunk.layers) - recipe.trained_layers]:
                layer.trainable = False
        pooled = keras.layers.GlobalAveragePooling2D(name="pool")(trunk.output)
        logits = keras.layers.Dense(classes, dtype="float32", name="logits")(pooled)
        return keras.Model(pixels, logits, name=recipe.model)
    finally:
        keras.config.set_dtype_policy("float32")


def trunk_of(network: Any) -> Any:
    """Return the part of a network that the application made, its layers shared."""
    return import_keras().Model(network.inputs, network.get_layer("pool").input)
