"""A tiny instance of each architecture: YOLO in a third of its width, Keras' applications cut after a few blocks."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.keras_backend import import_keras
from benchmarks.torch_pair import import_torchvision
from edge_app.preprocessing import Image
from edge_app.runtimes import Logits
from export.networks import Network, keras_network, yolo_network

YOLO = ("yolo11n", "yolo11s", "yolov8s")
# application → the layer after which it is cut, and the least input that its blocks take
KERAS = {"ResNet50": ("conv2_block2_out", 64), "InceptionResNetV2": ("block35_2_ac", 75)}
STEPS = 12  # of training: the rounding of a network of random weights grows with each layer
ARCHITECTURES = (*YOLO, *KERAS)


@dataclass(frozen=True)
class Tiny:
    """A network, the size of its input, and its own framework's answers: uint8 [N, H, W, 3] → float32 [N, 2]."""

    name: str
    network: Network
    size: int
    source: Callable[[Image], Logits]


def tiny(name: str) -> Tiny:
    """Return the tiny instance of an architecture; its logits differ from picture to picture."""
    return _tiny_yolo(name) if name in YOLO else _tiny_keras(name)


def pictures(count: int, size: int) -> Image:
    """Return uint8 [count, size, size, 3]: blocks of any colour, a third of them black as a smear's background is."""
    random = np.random.default_rng(count)
    blocks = random.integers(0, 256, (count, 5, 5, 3)) * (random.random((count, 5, 5, 1)) > 1 / 3)
    rows = np.arange(size) * 5 // size
    return np.ascontiguousarray(blocks[:, rows][:, :, rows].astype(np.uint8))


def tiny_keras_model(name: str, *, preprocess_input: bool = False) -> Any:
    """Return a Keras model from float32 [N, size, size, 3], 0 to 255, to logits [N, 2]."""
    keras = import_keras()
    keras.utils.set_random_seed(0)
    cut, size = KERAS[name]
    module = {"ResNet50": "resnet50", "InceptionResNetV2": "inception_resnet_v2"}[name]
    pixels = keras.Input((size, size, 3))
    scaled = getattr(keras.applications, module).preprocess_input(pixels) if preprocess_input else pixels
    trunk = getattr(keras.applications, name)(include_top=False, weights=None, input_tensor=scaled)
    pooled = keras.layers.GlobalAveragePooling2D()(trunk.get_layer(cut).output)
    model = keras.Model(pixels, keras.layers.Dense(2)(pooled))
    _settle(model, pictures(8, size).astype(np.float32))
    return model


def _settle(model: Any, images: Any) -> None:
    """Give the batch norms statistics of some images, and the logits a spread of about two between them."""
    keras = import_keras()
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)
    logits = np.asarray(model(images, training=False))
    dense = model.layers[-1]
    dense.kernel.assign(dense.kernel * (2 / logits.std(axis=0)))
    dense.bias.assign(-np.asarray(model(images, training=False)).mean(axis=0))


def _tiny_keras(name: str) -> Tiny:
    model = tiny_keras_model(name)
    return Tiny(
        name,
        keras_network(model),
        KERAS[name][1],
        lambda images: np.asarray(model(images.astype(np.float32), training=False)),
    )


def _tiny_yolo(name: str) -> Tiny:
    import_torchvision()
    import torch
    from ultralytics.nn.tasks import ClassificationModel, yaml_model_load

    torch.manual_seed(0)
    description = yaml_model_load(f"{name}-cls.yaml")
    depth, width, most = description["scales"][name[-1]]
    network: Any = ClassificationModel(
        description | {"scales": {name[-1]: [depth, width / 3, most]}}, nc=2, verbose=False
    )
    images = torch.from_numpy(pictures(32, 64).transpose(0, 3, 1, 2).copy()).float() / 255
    redder = (images[:, 0].mean((1, 2)) > images[:, 2].mean((1, 2))).long()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # the statistics of the last step, which saw all pictures
    optimiser = torch.optim.AdamW(network.train().parameters(), 0.002)
    for _ in range(STEPS):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(images), redder).backward()
        optimiser.step()
    network.eval()

    reference = copy.deepcopy(network)
    answers: list[Any] = []
    reference.model[-1].linear.register_forward_hook(lambda *call: answers.append(call[2]))

    def source(pictures: Image) -> Logits:
        with torch.inference_mode():
            reference(torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy()).float() / 255)
        return np.asarray(answers[-1].numpy())

    return Tiny(name, yolo_network(network), 64, source)
