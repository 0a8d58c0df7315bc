"""Puts back, layer by layer, what quantisation shifted.

Most of a segmented picture is black, so a rounding error of the background's constant value does not average out: it
shifts every layer after it. Layer by layer, in order of execution, the bias of each channel takes up the shift that is
left (empirical bias correction: Nagel et al., Data-Free Quantization, ICCV 2019, section 4.2).

One bias can't take up two shifts, that of the background and that of the cells. If all pixels counted alike, it would
be the background's, and the cells, which tell the classes apart, would be off.

A layer is measured on the network as it is after the layers before it were corrected. So that this costs two runs of
the network and not one for each layer, the network is cut after each layer and what crosses a cut is kept.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from edge_app.preprocessing import Image

CORRECTION_IMAGES = 128
BACKGROUND = 0.25  # what each pixel counts, and a pixel of a cell 1 more
SMALLEST_SHARE = 0.25  # of values that a bias moves; those that a ReLU cut off don't follow it

Tensor = Hashable  # a tensor's name or number in its model
Values = npt.NDArray[Any]
Means = npt.NDArray[np.float64]
Run = Callable[[Mapping[Tensor, Values]], Sequence[Values]]


@dataclass(frozen=True)
class Node:
    """An operation: the tensors that it reads, constants aside, and writes.

    free: computed again wherever its output is read, since its input is smaller to keep.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    free: bool = False


class Graph(Protocol):
    """A quantised model that can be run in pieces, and whose biases can be changed.

    input: the tensor of the picture. channels: the axis of a layer's channels. nodes: in order of execution. layers:
    the outputs of those with a bias, in the same order, as integers where the bias is one.
    """

    input: Tensor
    channels: int
    nodes: Sequence[Node]
    layers: Sequence[Tensor]

    def piece(self, nodes: Sequence[int], inputs: Mapping[Tensor, Values], outputs: Sequence[Tensor]) -> Run:
        """Return what computes some outputs by some nodes; inputs: an example of each tensor that these need."""

    def real(self, layer: Tensor, values: Values) -> Values:
        """Return what a layer's output stands for, any shape."""

    def shift(self, layer: Tensor, shifts: Means) -> None:
        """Add real numbers [C] to a layer's bias."""


def correct(
    graph: Graph, wanted: Mapping[Tensor, Means], images: Image, on_progress: Callable[[float], None] = lambda _: None
) -> None:
    """Shift the biases so that each layer's mean output over images is the wanted one, channel by channel.

    wanted: the float model's `channel_means` [C] by layer. images: uint8 [N, H, W, 3]. on_progress: called with the
    share done.
    """
    kept: list[dict[Tensor, Values]] = [{graph.input: image[np.newaxis]} for image in images]
    writers = {tensor: index for index, node in enumerate(graph.nodes) for tensor in node.outputs}
    readers = _readers(graph.nodes)
    done: set[int] = set()
    for count, layer in enumerate(graph.layers, start=1):
        nodes = _needed(graph.nodes, writers, layer, done)
        done |= {index for index in nodes if not graph.nodes[index].free}
        written = {tensor for index in nodes for tensor in graph.nodes[index].outputs}
        read = {tensor for index in nodes for tensor in graph.nodes[index].inputs}
        inputs = sorted(read - written, key=str)
        lasting = sorted((tensor for tensor in written if readers.get(tensor, set()) - done), key=str)

        run = graph.piece(nodes, {name: kept[0][name] for name in inputs}, [layer])
        found = [run({name: each[name] for name in inputs})[0] for each in kept]
        graph.shift(layer, _shifts(graph, layer, wanted[layer], found, images))

        run = graph.piece(nodes, {name: kept[0][name] for name in inputs}, lasting)
        for each in kept if lasting else ():
            each.update(zip(lasting, run({name: each[name] for name in inputs}), strict=True))
            for name in [name for name in each if not readers.get(name, set()) - done]:
                del each[name]
        on_progress(count / len(graph.layers))


def channel_means(outputs: Iterable[Sequence[Values]], images: Image, axis: int) -> list[Means]:
    """Return the mean of each tensor in each of its channels, by what the pixels count.

    outputs: image by image, the tensors. images: uint8 [N, H, W, 3]. axis: that of the channels.
    """
    means = ([_mean(value, image, axis) for value in values] for values, image in zip(outputs, images, strict=True))
    return [np.mean(each, axis=0) for each in zip(*means, strict=True)]


def _shifts(graph: Graph, layer: Tensor, wanted: Means, found: Sequence[Values], images: Image) -> Means:
    """Return what each channel's bias must gain; where some values are cut off, the others must move further."""
    limits = (np.iinfo if np.issubdtype(found[0].dtype, np.integer) else np.finfo)(found[0].dtype)
    (mean,) = channel_means(([graph.real(layer, each)] for each in found), images, graph.channels)
    (inside,) = channel_means(([(each > limits.min) & (each < limits.max)] for each in found), images, graph.channels)
    return np.asarray((wanted - mean) / np.maximum(inside, SMALLEST_SHARE))


def _mean(values: Values, image: Image, axis: int) -> Means:
    """Return the mean of values [1, …] in each channel [C]; where these have pixels, by what each counts."""
    last = np.moveaxis(values, axis, -1)
    rows = last.reshape(-1, last.shape[-1])
    if last.ndim != 4:
        return np.asarray(rows.mean(axis=0, dtype=np.float64))
    cells = cv2.resize(np.array(image.any(axis=2), np.float64), last.shape[2:0:-1], interpolation=cv2.INTER_AREA)
    return np.asarray(np.average(rows, axis=0, weights=cells.reshape(-1) + BACKGROUND))


def _readers(nodes: Sequence[Node]) -> dict[Tensor, set[int]]:
    """Return by tensor the nodes that read it, those after free ones included."""
    readers: dict[Tensor, set[int]] = {}
    for index in reversed(range(len(nodes))):
        node = nodes[index]
        through = set().union(*(readers.get(tensor, set()) for tensor in node.outputs)) if node.free else {index}
        for tensor in node.inputs:
            readers.setdefault(tensor, set()).update(through)
    return readers


def _needed(nodes: Sequence[Node], writers: Mapping[Tensor, int], tensor: Tensor, done: set[int]) -> list[int]:
    """Return the nodes that compute a tensor, in order of execution, but those that are done."""
    found: set[int] = set()
    waiting = [tensor]
    while waiting:
        index = writers.get(waiting.pop())
        if index is not None and index not in found and index not in done:
            found.add(index)
            waiting += nodes[index].inputs
    return sorted(found)
