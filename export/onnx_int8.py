"""Static int8 ONNX models with quantise-dequantise nodes, biases corrected."""

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_app.manifest import Target
from edge_app.preprocessing import Image
from export.bias_correction import CORRECTION_IMAGES, Means, Node, Run, Tensor, Values, channel_means, correct
from export.layer_noise import noise_to_signal
from export.networks import Network
from export.onnx import INPUT

LAYERS = ("Conv", "Gemm")


def quantise(
    network: Network,  # noqa: ARG001
    plain: tuple[bytes, ...],
    calibration: Image,
    *,
    target: Target,
    float_layers: Collection[str] = (),
    on_progress: Callable[[float], None] = lambda _: None,
) -> tuple[bytes]:
    """Return the model file in int8: uint8 [1, H, W, 3], RGB in, float32 logits [1, K] out.

    plain: the same network's fp32 file. calibration: prepared images, uint8 [N, H, W, 3]. target: which processors'
    instructions the integers suit. float_layers: names of nodes to leave in float.
    """
    import onnx
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.images = iter(calibration)

        def get_next(self) -> dict[str, Image] | None:
            image = next(self.images, None)
            return None if image is None else {INPUT: np.ascontiguousarray(image[np.newaxis])}

    with tempfile.TemporaryDirectory() as folder:
        cleaned, quantised = _clean(plain, Path(folder)), Path(folder, "int8.onnx")
        quantization.quantize_static(
            cleaned,
            quantised,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QInt8 if target == "arm" else quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            # Without VNNI an x86 adds two products in 16 bits, which 8-bit weights overflow.
            reduce_range=target == "portable",
            calibrate_method=quantization.CalibrationMethod.MinMax,
            nodes_to_exclude=sorted(float_layers),
        )
        graph, float_model = _Graph(onnx.load(quantised)), onnx.load(cleaned)
    images = calibration[:CORRECTION_IMAGES]
    wanted = channel_means(_outputs(float_model, list(graph.outputs.values()), images), images, 1)
    correct(graph, dict(zip(graph.layers, wanted, strict=True)), images, on_progress)
    return (graph.model.SerializeToString(),)


def layer_errors(plain: tuple[bytes, ...], quantised: tuple[bytes, ...], images: Image) -> list[tuple[str, float]]:
    """Return name and noise-to-signal ratio of each layer that could be left in float, in order of execution."""
    import onnx

    graph = _Graph(onnx.load_from_string(quantised[0]))
    with tempfile.TemporaryDirectory() as folder:
        float_model = onnx.load(_clean(plain, Path(folder)))
    signals = _outputs(float_model, list(graph.outputs.values()), images)
    founds = _outputs(graph.model, [str(layer) for layer in graph.layers], images)
    real = ([graph.real(*each) for each in zip(graph.layers, found, strict=True)] for found in founds)
    return list(zip(graph.names, noise_to_signal(signals, real), strict=True))


def _clean(plain: tuple[bytes, ...], folder: Path) -> Path:
    """Write a float model as ONNX Runtime wants it before it is quantised: batch norms folded, shapes inferred."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source, cleaned = folder / "plain.onnx", folder / "cleaned.onnx"
    source.write_bytes(plain[0])
    quant_pre_process(str(source), str(cleaned))
    return cleaned


class _Graph:
    """A model with quantise-dequantise nodes, as `export.bias_correction` takes it.

    outputs: by layer, the tensor before it is rounded, which the float model has under the same name: after the ReLU
    where one follows, as the rounding does its work.
    """

    input: Tensor = INPUT
    channels = 1

    def __init__(self, model: Any) -> None:
        from onnxruntime.quantization import quant_utils

        self.model = model
        self._nodes = list(model.graph.node)
        self._constants = {constant.name: constant for constant in model.graph.initializer}
        self._writers = {name: node for node in self._nodes for name in node.output}
        self.nodes: Sequence[Node] = [
            Node(
                tuple(name for name in node.input if name and name not in self._constants),
                tuple(node.output),
                free=node.op_type == "DequantizeLinear",
            )
            for node in self._nodes
        ]
        readers = {name: node for node in self._nodes for name in node.input}
        suffix = quant_utils.add_quant_input_suffix("")  # of the graph's output, where its name is taken
        self.outputs: dict[Tensor, str] = {}
        self._layers = {}
        for node in self._nodes:
            rounding = readers.get(node.output[0])
            has_bias = len(node.input) > 2 and node.input[2] in self._writers  # an integer one, by DequantizeLinear
            if node.op_type in LAYERS and has_bias and rounding and rounding.op_type == "QuantizeLinear":
                self.outputs[rounding.output[0]] = node.output[0].removesuffix(suffix)
                self._layers[rounding.output[0]] = node, rounding
        self.layers: Sequence[Tensor] = list(self.outputs)
        self.names = [node.name for node, _ in self._layers.values()]

    def piece(self, nodes: Sequence[int], inputs: Mapping[Tensor, Values], outputs: Sequence[Tensor]) -> Run:
        """See `Graph.piece`."""
        import onnx

        used = [self._nodes[index] for index in nodes]
        names = {name for node in used for name in node.input} & self._constants.keys()
        graph = onnx.helper.make_graph(
            used,
            "piece",
            [
                onnx.helper.make_tensor_value_info(
                    name, onnx.helper.np_dtype_to_tensor_dtype(example.dtype), example.shape
                )
                for name, example in inputs.items()
            ],
            [onnx.ValueInfoProto(name=str(name)) for name in outputs],
            [self._constants[name] for name in sorted(names)],
        )
        model = onnx.helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
        session = _session(model)
        return lambda values: session.run(list(outputs), dict(values))

    def real(self, layer: Tensor, values: Values) -> Values:
        """See `Graph.real`."""
        _, rounding = self._layers[layer]
        scale, zero = (self._array(name) for name in rounding.input[1:3])
        return (values.astype(np.float32) - np.float32(zero)) * scale

    def shift(self, layer: Tensor, shifts: Means) -> None:
        """See `Graph.shift`."""
        from onnx import numpy_helper

        node, _ = self._layers[layer]
        values, scale = self._writers[node.input[2]].input[:2]  # through the bias' DequantizeLinear
        shifted = self._array(values) + np.round(shifts / self._array(scale)).astype(np.int32)
        self._constants[values].CopyFrom(numpy_helper.from_array(shifted, values))

    def _array(self, name: str) -> Values:
        from onnx import numpy_helper

        return np.asarray(numpy_helper.to_array(self._constants[name]))


def _outputs(model: Any, tensors: list[str], images: Image) -> Iterator[list[Values]]:
    """Yield some tensors of a model, image by image."""
    import onnx

    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    probed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    session = _session(probed)
    for image in images:
        yield session.run(tensors, {INPUT: image[np.newaxis]})


def _session(model: Any) -> Any:
    """Return a session of one thread: several wait busily for each other, and the pieces are short."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
