"""Ultralytics' YOLO classification networks, their fused weights in TensorFlow's channel-last operations.

TFLite runs channel-last. Converted through ONNX the network keeps a transpose at every change of layout; written down
once in TensorFlow it has none. Each function mirrors the module of its name in `ultralytics.nn.modules`, by the same
attribute names, and takes and gives float32 [1, H, W, C].
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Tensor = Any


def classifier(network: Any) -> Callable[[Tensor], Tensor]:
    """Return a function from float32 [1, H, W, 3] (RGB, 0 to 1) to logits [1, K], with the network's weights inside.

    network: a fused `ultralytics.nn.tasks.ClassificationModel` (torch). Raises KeyError for a module not known here.
    """

    def forward(x: Tensor) -> Tensor:
        for module in network.model:
            x = _apply(module, x)
        return x

    return forward


def _apply(module: Any, x: Tensor) -> Tensor:
    return MODULES[type(module).__name__](module, x)


def _conv(module: Any, x: Tensor) -> Tensor:
    import tensorflow as tf

    conv = module.conv
    kernel = _array(conv.weight).transpose(2, 3, 1, 0)
    padding = conv.padding[0]
    if conv.groups > 1:
        # depthwise: as many groups as channels
        kernel = kernel.transpose(0, 1, 3, 2)
        x = tf.nn.depthwise_conv2d(x, kernel, [1, *conv.stride, 1], "SAME")
    elif conv.stride[0] == 1:
        x = tf.nn.conv2d(x, kernel, 1, "SAME")
    else:
        # torch pads both sides alike, TensorFlow's SAME only the far one when it strides
        sides = [padding, padding]
        x = tf.nn.conv2d(x, kernel, conv.stride, [[0, 0], sides, sides, [0, 0]])
    x = x + _array(conv.bias)
    return x * tf.sigmoid(x) if type(module.act).__name__ == "SiLU" else x


def _bottleneck(module: Any, x: Tensor) -> Tensor:
    y = _apply(module.cv2, _apply(module.cv1, x))
    return x + y if module.add else y


def _c3k(module: Any, x: Tensor) -> Tensor:
    import tensorflow as tf

    return _apply(module.cv3, tf.concat([_sequence(module.m, _apply(module.cv1, x)), _apply(module.cv2, x)], -1))


def _c2f(module: Any, x: Tensor) -> Tensor:
    import tensorflow as tf

    parts = tf.split(_apply(module.cv1, x), 2, -1)
    for block in module.m:
        parts.append(_apply(block, parts[-1]))
    return _apply(module.cv2, tf.concat(parts, -1))


def _c2psa(module: Any, x: Tensor) -> Tensor:
    import tensorflow as tf

    kept, attended = tf.split(_apply(module.cv1, x), 2, -1)
    return _apply(module.cv2, tf.concat([kept, _sequence(module.m, attended)], -1))


def _psa_block(module: Any, x: Tensor) -> Tensor:
    attended = _apply(module.attn, x)
    x = x + attended if module.add else attended
    fed = _sequence(module.ffn, x)
    return x + fed if module.add else fed


def _attention(module: Any, x: Tensor) -> Tensor:
    """Attend head by head on [1, H·W, C]: the heads' channels are slices, so nothing is transposed."""
    import tensorflow as tf

    _, height, width, channels = x.shape
    sizes = [module.key_dim, module.key_dim, module.head_dim] * module.num_heads
    slices = tf.split(tf.reshape(_apply(module.qkv, x), [1, height * width, sum(sizes)]), sizes, -1)
    heads = []
    for query, key, value in zip(slices[0::3], slices[1::3], slices[2::3], strict=True):
        weights = tf.nn.softmax(tf.matmul(query * module.scale, key, transpose_b=True))
        heads.append(tf.matmul(weights, value))
    shape = [1, height, width, channels]
    mixed = tf.reshape(tf.concat(heads, -1), shape)
    position = _apply(module.pe, tf.reshape(tf.concat(slices[2::3], -1), shape))
    return _apply(module.proj, mixed + position)


def _classify(module: Any, x: Tensor) -> Tensor:
    import tensorflow as tf

    pooled = tf.reduce_mean(_apply(module.conv, x), [1, 2])
    return tf.matmul(pooled, _array(module.linear.weight).T) + _array(module.linear.bias)


def _sequence(modules: Any, x: Tensor) -> Tensor:
    for module in modules:
        x = _apply(module, x)
    return x


def _array(tensor: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.ascontiguousarray(tensor.detach().numpy())


MODULES: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "Attention": _attention,
    "Bottleneck": _bottleneck,
    "C2PSA": _c2psa,
    "C2f": _c2f,
    "C3k": _c3k,
    "C3k2": _c2f,
    "Classify": _classify,
    "Conv": _conv,
    "PSABlock": _psa_block,
}
