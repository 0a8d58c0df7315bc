"""Full static int8 TFLite models, biases corrected."""

import copy
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np

from edge_app.manifest import Target
from edge_app.preprocessing import Image
from export.bias_correction import CORRECTION_IMAGES, Means, Node, Run, Tensor, Values, channel_means, correct
from export.layer_noise import noise_to_signal
from export.networks import Network
from export.tflite import make_converter, run_converter


def quantise(
    network: Network,
    plain: tuple[bytes, ...],
    calibration: Image,
    *,
    target: Target,  # noqa: ARG001
    float_layers: Collection[str] = (),
    on_progress: Callable[[float], None] = lambda _: None,
) -> tuple[bytes]:
    """Return the model file in int8: uint8 [1, H, W, 3], RGB in, float32 logits [1, K] out.

    plain: the same network's fp32 file. calibration: prepared images, uint8 [N, H, W, 3]. target: all are served by
    one kind of integers. float_layers: names of tensors whose operation is left in float. Raises ExportError.
    """
    import tensorflow as tf
    from tensorflow.lite.python import convert, util

    converter = make_converter(network.in_tensorflow, calibration.shape[1], calibration.shape[2], "float32")
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image] for image in _as_float(calibration))
    # As tf.lite's QuantizationDebugger does it: the ranges first, then the quantisation, which may leave layers out.
    converter._experimental_calibrate_only = True
    quantised = convert.mlir_quantize(run_converter(converter), denylisted_nodes=sorted(float_layers))
    images, graph = calibration[:CORRECTION_IMAGES], _Graph(util.modify_model_io_type(quantised, tf.uint8, tf.float32))
    wanted = channel_means(_outputs(plain[0], graph.tensors_of(_as_object(plain[0])), images), images, -1)
    correct(graph, dict(zip(graph.layers, wanted, strict=True)), images, on_progress)
    return (graph.content(),)


def layer_errors(plain: tuple[bytes, ...], quantised: tuple[bytes, ...], images: Image) -> list[tuple[str, float]]:
    """Return name and noise-to-signal ratio of each layer that could be left in float, in order of execution."""
    graph = _Graph(quantised[0])
    float_model = _as_object(plain[0])
    tensors = graph.tensors_of(float_model)
    signals = _outputs(plain[0], tensors, images)
    founds = _outputs(quantised[0], [cast(int, layer) for layer in graph.layers], images)
    real = ([graph.real(*each) for each in zip(graph.layers, found, strict=True)] for found in founds)
    names = [float_model.subgraphs[0].tensors[index].name.decode() for index in tensors]
    return list(zip(names, noise_to_signal(signals, real), strict=True))


def _as_float(images: Image) -> Iterator[Values]:
    """Yield the images as float32; the first has both ends in it, so that the input's scale is exactly 1."""
    for index, image in enumerate(images):
        pixels = image[np.newaxis].astype(np.float32)
        if index == 0:
            pixels[0, 0, 0], pixels[0, 0, 1] = 0, 255
        yield pixels


class _Graph:
    """A TFLite model, as `export.bias_correction` takes it; its tensors are named by number.

    positions: by layer, which of the operations with weights it is: the float model has the same in the same order.
    """

    channels = -1

    def __init__(self, content: bytes) -> None:
        from tensorflow.lite.python import schema_py_generated as schema

        self._model = _as_object(content)
        (self._graph,) = self._model.subgraphs
        self.input: Tensor = int(self._graph.inputs[0])
        self.nodes: Sequence[Node] = [
            Node(
                tuple(int(index) for index in operator.inputs if index >= 0 and not self._is_constant(index)),
                tuple(map(int, operator.outputs)),
            )
            for operator in self._graph.operators
        ]
        self.positions: dict[Tensor, int] = {}
        self._biases: dict[Tensor, int] = {}
        for position, operator in enumerate(_weighted(self._model)):
            bias = operator.inputs[2] if len(operator.inputs) > 2 else -1
            if bias >= 0 and self._graph.tensors[bias].type == schema.TensorType.INT32:
                self.positions[int(operator.outputs[0])] = position
                self._biases[int(operator.outputs[0])] = bias
        self.layers: Sequence[Tensor] = list(self.positions)

    def content(self) -> bytes:
        """Return the model file."""
        from tensorflow.lite.tools import flatbuffer_utils

        return bytes(flatbuffer_utils.convert_object_to_bytearray(self._model))

    def tensors_of(self, float_model: Any) -> list[int]:
        """Return the layers' outputs in the float model."""
        return [_weighted(float_model)[position].outputs[0] for position in self.positions.values()]

    def piece(self, nodes: Sequence[int], inputs: Mapping[Tensor, Values], outputs: Sequence[Tensor]) -> Run:
        """See `Graph.piece`."""
        from tensorflow.lite.python import schema_py_generated as schema
        from tensorflow.lite.tools import flatbuffer_utils

        operators = [copy.copy(self._graph.operators[index]) for index in nodes]
        used = sorted({i for each in operators for side in (each.inputs, each.outputs) for i in side if i >= 0})
        place = {-1: -1} | {index: position for position, index in enumerate(used)}
        model, graph = copy.copy(self._model), schema.SubGraphT()
        model.subgraphs, model.metadata, model.signatureDefs = [graph], None, None
        model.buffers = [self._model.buffers[0], *(self._model.buffers[self._graph.tensors[i].buffer] for i in used)]
        graph.tensors = [copy.copy(self._graph.tensors[index]) for index in used]
        for position, tensor in enumerate(graph.tensors, start=1):
            tensor.buffer = position
        for each in operators:
            each.inputs, each.outputs = ([place[index] for index in side] for side in (each.inputs, each.outputs))
        graph.operators = operators
        graph.inputs = [place[cast(int, name)] for name in inputs]
        graph.outputs = [place[cast(int, name)] for name in outputs]
        interpreter = _interpreter(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))

        def run(values: Mapping[Tensor, Values]) -> Sequence[Values]:
            for index, name in zip(graph.inputs, inputs, strict=True):
                interpreter.set_tensor(index, values[name])
            interpreter.invoke()
            return [interpreter.get_tensor(index) for index in graph.outputs]

        return run

    def real(self, layer: Tensor, values: Values) -> Values:
        """See `Graph.real`."""
        quantization = self._graph.tensors[cast(int, layer)].quantization
        real: Values = (values.astype(np.float32) - quantization.zeroPoint[0]) * np.float32(quantization.scale[0])
        return real

    def shift(self, layer: Tensor, shifts: Means) -> None:
        """See `Graph.shift`."""
        bias = self._graph.tensors[self._biases[layer]]
        buffer = self._model.buffers[bias.buffer]
        values = np.frombuffer(bytes(bytearray(buffer.data)), np.int32)
        shifted = values + np.round(shifts / np.asarray(bias.quantization.scale)).astype(np.int32)
        buffer.data = np.frombuffer(shifted.tobytes(), np.uint8)

    def _is_constant(self, index: int) -> bool:
        data = self._model.buffers[self._graph.tensors[index].buffer].data
        return data is not None and len(data) > 0


def _weighted(model: Any) -> list[Any]:
    """Return the operations that have weights, in order of execution."""
    from tensorflow.lite.python import schema_py_generated as schema

    weighted = {
        schema.BuiltinOperator.CONV_2D,
        schema.BuiltinOperator.DEPTHWISE_CONV_2D,
        schema.BuiltinOperator.FULLY_CONNECTED,
    }
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    return [operator for operator in model.subgraphs[0].operators if codes[operator.opcodeIndex] in weighted]


def _outputs(content: bytes, tensors: Sequence[int], images: Image) -> Iterator[list[Values]]:
    """Yield some tensors of a model, image by image."""
    interpreter = _interpreter(content, preserve=True)
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[np.newaxis])
        interpreter.invoke()
        yield [interpreter.get_tensor(index) for index in tensors]


def _as_object(content: bytes) -> Any:
    from tensorflow.lite.tools import flatbuffer_utils

    return flatbuffer_utils.convert_bytearray_to_object(bytearray(content))


def _interpreter(content: bytes, *, preserve: bool = False) -> Any:
    """Return an interpreter that is ready; preserve: whether what is inside can be read after a run."""
    from ai_edge_litert.interpreter import Interpreter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the memory that this takes
        interpreter = Interpreter(model_content=content, experimental_preserve_all_tensors=preserve, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter
