"""Keras classification networks in torch's channel-first operations, the counterpart of `export.yolo_tensorflow`.

ONNX Runtime and OpenVINO want channels first, and torch's exporter writes them a graph without a transpose inside, its
batch norms folded, in seconds and next to no memory; through TensorFlow's graph it takes minutes and 12 GB for
Inception-ResNet-v2. Each function mirrors the Keras layer of its name and takes and gives float32 [1, C, H, W], or
[1, C] after pooling.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add, mul, sub, truediv
from typing import Any

import numpy as np

from edge_app.errors import ExportError

Tensor = Any


def classifier(model: Any) -> Callable[[Tensor], Tensor]:
    """Return a function from float32 [1, 3, H, W] (RGB, 0 to 255) to logits [1, K], with the model's weights inside.

    model: a functional or sequential Keras model that takes channels last. Raises ExportError for a layer that is not
    known here.
    """
    if unknown := sorted({type(each).__name__ for each in _operations(model)} - LAYERS.keys()):
        raise ExportError(
            f"no conversion of the Keras layer {unknown[0]} is known; build the network of other layers, "
            f"or add it to {__name__}"
        )
    return lambda x: _model(model, x)


def _operations(model: Any) -> list[Any]:
    """Return what a model does, the insides of models within it too."""
    return [
        inner
        for each in getattr(model, "operations", model.layers)
        for inner in ([each, *_operations(each)] if type(each).__name__ in MODELS else [each])
    ]


def _model(model: Any, x: Tensor) -> Tensor:
    functional = getattr(model, "_functional", None) or model  # a sequential model keeps a functional one
    return functional._run_through_graph(
        [x], operation_fn=lambda layer: lambda *inputs, **_: LAYERS[type(layer).__name__](layer, *inputs)
    )


def _same(layer: Any, x: Tensor) -> tuple[list[int], list[int]]:
    """Return TensorFlow's padding for "same" before and after, of height and width: the odd one comes after."""
    size = getattr(layer, "kernel_size", None) or layer.pool_size
    dilation = getattr(layer, "dilation_rate", (1, 1))
    totals = [
        max((-(-length // stride) - 1) * stride + rate * (side - 1) + 1 - length, 0)
        for length, stride, rate, side in zip(x.shape[2:], layer.strides, dilation, size, strict=True)
    ]
    return [total // 2 for total in totals], [total - total // 2 for total in totals]


def _padded(layer: Any, x: Tensor, value: float = 0.0) -> tuple[Tensor, list[int]]:
    """Return x, padded where both sides differ, and the padding that is left for the operation to do."""
    import torch

    if layer.padding == "valid":
        return x, [0, 0]
    before, after = _same(layer, x)
    if before == after:
        return x, before
    sides = [before[1], after[1], before[0], after[0]]
    return torch.nn.functional.pad(x, sides, value=value), [0, 0]


def _convolution(layer: Any, x: Tensor) -> Tensor:
    import torch

    kernel = _tensor(layer.kernel).permute(3, 2, 0, 1).contiguous()
    x, padding = _padded(layer, x)
    x = torch.nn.functional.conv2d(x, kernel, _bias(layer), layer.strides, padding, layer.dilation_rate, layer.groups)
    return _activated(layer, x)


def _depthwise(layer: Any, x: Tensor) -> Tensor:
    import torch

    height, width, channels, multiplier = layer.kernel.shape
    kernel = _tensor(layer.kernel).permute(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    x, padding = _padded(layer, x)
    x = torch.nn.functional.conv2d(x, kernel, _bias(layer), layer.strides, padding, layer.dilation_rate, channels)
    return _activated(layer, x)


def _batch_normalization(layer: Any, x: Tensor) -> Tensor:
    import torch

    mean, variance = _tensor(layer.moving_mean), _tensor(layer.moving_variance)
    scale = _tensor(layer.gamma) if layer.scale else torch.ones_like(mean)
    center = _tensor(layer.beta) if layer.center else torch.zeros_like(mean)
    return torch.nn.functional.batch_norm(x, mean, variance, scale, center, eps=layer.epsilon)


def _activation(layer: Any, x: Tensor) -> Tensor:
    return _activated(layer, x)


def _activated(layer: Any, x: Tensor) -> Tensor:
    import torch

    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "gelu": torch.nn.functional.gelu,
        "hard_sigmoid": torch.nn.functional.hardsigmoid,
        "linear": lambda x: x,
        "relu": torch.relu,
        "relu6": torch.nn.functional.relu6,
        "sigmoid": torch.sigmoid,
        "silu": torch.nn.functional.silu,
        "tanh": torch.tanh,
    }
    name = layer.activation.__name__
    if name not in functions:
        raise ExportError(f"no conversion of the activation {name} is known; use one of {', '.join(functions)}")
    return functions[name](x)


def _relu(layer: Any, x: Tensor) -> Tensor:
    import torch

    if layer.threshold:
        raise ExportError("no conversion of a ReLU with a threshold is known; use one without")
    x = torch.nn.functional.leaky_relu(x, float(layer.negative_slope)) if layer.negative_slope else torch.relu(x)
    return x if layer.max_value is None else x.clamp(max=float(layer.max_value))


def _max_pooling(layer: Any, x: Tensor) -> Tensor:
    import torch

    x, padding = _padded(layer, x, value=float("-inf"))
    return torch.nn.functional.max_pool2d(x, layer.pool_size, layer.strides, padding)


def _average_pooling(layer: Any, x: Tensor) -> Tensor:
    import torch

    if layer.padding != "valid" and np.not_equal(*_same(layer, x)).any():
        raise ExportError("no conversion of an average over an odd padding is known; use padding='valid'")
    x, padding = _padded(layer, x)
    return torch.nn.functional.avg_pool2d(x, layer.pool_size, layer.strides, padding, count_include_pad=False)


def _global_average(layer: Any, x: Tensor) -> Tensor:
    import torch

    pooled = torch.nn.functional.adaptive_avg_pool2d(x, 1)  # which is quantised, where a mean is left in float
    return pooled if layer.keepdims else pooled.flatten(1)


def _global_max(layer: Any, x: Tensor) -> Tensor:
    return x.amax((2, 3), keepdim=bool(layer.keepdims))


def _zero_padding(layer: Any, x: Tensor) -> Tensor:
    import torch

    (top, bottom), (left, right) = layer.padding
    return torch.nn.functional.pad(x, [left, right, top, bottom])


def _concatenate(layer: Any, x: Sequence[Tensor]) -> Tensor:
    import torch

    if layer.axis not in (-1, x[0].ndim - 1):
        raise ExportError("only channels can be concatenated; build the network without other joints")
    return torch.cat(list(x), 1)


def _custom_scale(layer: Any, x: Sequence[Tensor]) -> Tensor:
    return x[0] + x[1] * float(layer.scale)


def _sum(_: Any, *terms: Any) -> Tensor:
    return reduce(add, _operands(terms))


def _difference(_: Any, *terms: Any) -> Tensor:
    return reduce(sub, _operands(terms))


def _product(_: Any, *factors: Any) -> Tensor:
    return reduce(mul, _operands(factors))


def _quotient(_: Any, *terms: Any) -> Tensor:
    return reduce(truediv, _operands(terms))


def _operands(inputs: tuple[Any, ...]) -> Sequence[Tensor]:
    """Return what is to be joined: a layer is given one list, an operator two things of which one may be constant."""
    import torch

    if len(inputs) == 1:
        return list(inputs[0])
    return [each if isinstance(each, torch.Tensor) else _by_channel(each) for each in inputs]


def _channel(_: Any, x: Tensor, key: Any) -> Tensor:
    # a tuple, which a saved model gives back as a list
    if not (isinstance(key, tuple | list) and len(key) == 2 and key[0] is Ellipsis and isinstance(key[1], int)):
        raise ExportError("only single channels can be taken out of a tensor; build the network without other slices")
    return x[:, key[1]]


def _stack(layer: Any, channels: Sequence[Tensor]) -> Tensor:
    import torch

    if layer.axis != -1:
        raise ExportError("only channels can be stacked; build the network without other joints")
    return torch.stack(list(channels), 1)


def _rescaling(layer: Any, x: Tensor) -> Tensor:
    return x * _by_channel(layer.scale) + _by_channel(layer.offset)


def _normalization(layer: Any, x: Tensor) -> Tensor:
    mean, deviation = np.asarray(layer.mean), np.sqrt(np.asarray(layer.variance))
    return (x - _by_channel(mean)) / _by_channel(np.maximum(deviation, 1e-7))


def _flatten(_: Any, x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).flatten(1) if x.ndim == 4 else x.flatten(1)


def _dense(layer: Any, x: Tensor) -> Tensor:
    import torch

    if x.ndim != 2:
        raise ExportError("only a pooled or flattened layer can be dense; build the network so")
    return _activated(layer, torch.nn.functional.linear(x, _tensor(layer.kernel).T.contiguous(), _bias(layer)))


def _nothing(_: Any, x: Tensor) -> Tensor:
    return x


def _by_channel(values: Any) -> Tensor:
    """Return one value, or one a channel, so that it spreads over [1, C, H, W]."""
    import torch

    plain = values.numpy() if hasattr(values, "numpy") else values  # numpy warns of TensorFlow's own way to an array
    return torch.from_numpy(np.array(plain, np.float32).reshape(1, -1, 1, 1))


def _bias(layer: Any) -> Tensor:
    return _tensor(layer.bias) if layer.use_bias else None


def _tensor(variable: Any) -> Tensor:
    import torch

    return torch.from_numpy(np.array(variable, np.float32))


MODELS = {"Functional", "Sequential"}
LAYERS: dict[str, Callable[..., Tensor]] = {
    "Activation": _activation,
    "Add": _sum,
    "AveragePooling2D": _average_pooling,
    "BatchNormalization": _batch_normalization,
    "Concatenate": _concatenate,
    "Conv2D": _convolution,
    "CustomScaleLayer": _custom_scale,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "Flatten": _flatten,
    "GetItem": _channel,
    "GlobalAveragePooling2D": _global_average,
    "GlobalMaxPooling2D": _global_max,
    "InputLayer": _nothing,
    "MaxPooling2D": _max_pooling,
    "Multiply": _product,
    "Normalization": _normalization,
    "ReLU": _relu,
    "Rescaling": _rescaling,
    "Stack": _stack,
    "Subtract": _difference,
    "TrueDivide": _quotient,
    "ZeroPadding2D": _zero_padding,
    **dict.fromkeys(MODELS, _model),
    # what only training does
    **dict.fromkeys(
        ("Dropout", "GaussianNoise", "SpatialDropout2D", "RandomFlip", "RandomRotation", "RandomZoom"), _nothing
    ),
}
