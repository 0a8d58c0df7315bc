"""The two Keras networks: an application of Keras without its top, global average pooling, and a layer of logits."""

from typing import Any

from benchmarks.keras_backend import import_keras

APPLICATIONS = {
    "resnet50": ("resnet50", "ResNet50"),
    "inception_resnet_v2": ("inception_resnet_v2", "InceptionResNetV2"),
}


def build_network(
    name: str,
    classes: int,
    size: int | None,
    *,
    weights: str | None = None,
    preprocess_input: bool = False,
    dtype: str = "float32",
) -> Any:
    """Return a network from float32 [N, size, size, 3], RGB, 0 to 255, to logits float32 [N, classes].

    name: a key of APPLICATIONS. size: None for any. weights: "imagenet" for those that Keras fetches, else random.
    preprocess_input: scale the pixels, in a layer, as the application's own weights were trained; the published study
    feeds them as they are. dtype: "mixed_bfloat16" computes the layers between in bfloat16. Raises whatever Keras
    raises when it can't fetch.
    """
    keras = import_keras()
    module, function = APPLICATIONS[name]
    keras.config.set_dtype_policy(dtype)
    try:
        pixels = keras.Input((size, size, 3), dtype="float32", name="pixels")
        scaled = getattr(keras.applications, module).preprocess_input(pixels) if preprocess_input else pixels
        trunk = getattr(keras.applications, function)(
            include_top=False, weights=weights, input_tensor=scaled, input_shape=(size, size, 3), pooling="avg"
        )
        logits = keras.layers.Dense(classes, dtype="float32", name="logits")(trunk.output)
        return keras.Model(pixels, logits, name=name)
    finally:
        keras.config.set_dtype_policy("float32")
