"""Static int8 OpenVINO models by NNCF, with our own rounding of weights, biases corrected."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from edge_app.manifest import Target
from edge_app.preprocessing import Image
from export.bias_correction import CORRECTION_IMAGES, Means, Node, Run, Tensor, Values, channel_means, correct
from export.layer_noise import noise_to_signal
from export.networks import Network
from export.openvino import files_of
from export.rounding import round_together

LAYERS = ("Convolution", "GroupConvolution", "MatMul")
LARGEST_WEIGHT = 63  # half of what int8 holds


def quantise(
    network: Network,  # noqa: ARG001
    plain: tuple[bytes, ...],
    calibration: Image,
    *,
    target: Target,  # noqa: ARG001
    float_layers: Collection[str] = (),
    on_progress: Callable[[float], None] = lambda _: None,
) -> tuple[bytes, bytes]:
    """Return the .xml and .bin files in int8: uint8 [1, H, W, 3], RGB in, float32 logits [1, K] out.

    plain: the same network's fp32 files. calibration: prepared images, uint8 [N, H, W, 3]. target: all are served by
    one kind of integers. float_layers: names of operations to leave in float.

    NNCF places the integers and finds the ranges of activations. The preset is what OpenVINO's guide has for SiLU
    networks; the way with transformers serves here for what it leaves in float, the sums of residual connections.
    """
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    def picture(index: int) -> Image:
        on_progress(index / len(calibration) / 2)
        return np.ascontiguousarray(calibration[index : index + 1])

    logging.getLogger("nncf").setLevel(logging.ERROR)
    with redirect_stdout(StringIO()):  # NNCF has bars of its own
        model = nncf.quantize(
            _read(plain),
            nncf.Dataset(range(len(calibration)), picture),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(calibration),
            model_type=nncf.ModelType.TRANSFORMER,
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
                smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(convolution=-1, matmul=-1),  # none
                disable_bias_correction=True,  # ours leaves less of the shift
            ),
            ignored_scope=nncf.IgnoredScope(names=sorted(float_layers)) if float_layers else None,
        )
    float_model = _read(plain)
    images = calibration[:CORRECTION_IMAGES]
    _round_weights(model, float_model, images)
    graph = _Graph(model)
    wanted = channel_means(_outputs(float_model, list(map(str, graph.layers)), images), images, 1)
    correct(graph, dict(zip(graph.layers, wanted, strict=True)), images, lambda share: on_progress((1 + share) / 2))
    return files_of(model)


def layer_errors(plain: tuple[bytes, ...], quantised: tuple[bytes, ...], images: Image) -> list[tuple[str, float]]:
    """Return name and noise-to-signal ratio of each layer that could be left in float, in order of execution."""
    models = _read(plain), _read(quantised)
    here = _operations(models[1])
    names = [
        each.get_friendly_name()
        for each in models[0].get_ordered_ops()
        if each.get_type_name() in LAYERS and each.get_friendly_name() in here
    ]
    signals, found = (_outputs(model, names, images) for model in models)
    return list(zip(names, noise_to_signal(signals, found), strict=True))


def _round_weights(model: Any, float_model: Any, images: Image) -> None:
    """Round the weights of a model's int8 layers anew, to as many steps as 16 bits have room for.

    A processor without VNNI adds two products in 16 bits, so half of the range of int8 is used. NNCF's overflow_fix
    does that, too, but with steps of which the largest weight of a channel is 63.5: half a step off where it matters
    most. On YOLOv8s that was most of the noise in the logits; here the largest weight is 63 steps. The weights of the
    first layer are rounded together: on YOLO11n that one layer made most of the noise.
    """
    import openvino

    float_layers = _operations(float_model)
    layers = [each for each in model.get_ordered_ops() if each.get_type_name() in LAYERS]
    for position, layer in enumerate(layers):
        float_layer = float_layers[layer.get_friendly_name()]
        weights = float_layer.input_value(1).get_node()
        multiply = layer.input_value(1).get_node()
        if weights.get_type_name() != "Constant" or multiply.get_type_name() != "Multiply":  # none, or left in float
            continue
        scale = multiply.input_value(1).get_node().data
        within = tuple(axis for axis, size in enumerate(scale.shape) if size == 1)
        largest = np.abs(weights.data).max(axis=within, keepdims=True)
        step = np.where(largest > 0, largest / LARGEST_WEIGHT, 1).astype(np.float32)
        if position == 0:
            rounded = round_together(weights.data / step, _moments(float_model, float_layer, images), LARGEST_WEIGHT)
        else:
            rounded = np.rint(weights.data / step)
        integers = multiply.input_value(0).get_node()
        integers.input(0).replace_source_output(openvino.opset13.constant(rounded.astype(np.int8)).output(0))
        multiply.input(1).replace_source_output(openvino.opset13.constant(step).output(0))


def _moments(model: Any, convolution: Any, images: Image) -> Values:
    """Return the second moments [C·h·w, C·h·w] of what a convolution's kernel sees in images; edges are left out."""
    import openvino

    down, across = convolution.get_attributes()["strides"]
    read = openvino.Model([openvino.opset13.result(convolution.input_value(0))], model.get_parameters(), "read")
    request = _request(read)
    kernel = tuple(convolution.input_value(1).get_shape())[2:]
    total: Any = 0.0
    for image in images:
        seen = sliding_window_view(request.infer([image[np.newaxis]])[0][0], kernel, axis=(1, 2))
        columns = seen[:, ::down, ::across].transpose(1, 2, 0, 3, 4).reshape(-1, len(seen) * kernel[0] * kernel[1])
        total = total + columns.T @ columns
    return np.asarray(total, np.float64)


class _Graph:
    """A model of NNCF's, as `export.bias_correction` takes it; a tensor is named as the operation that writes it.

    A layer's tensor is that of the sum with its bias, in float, which the float model has under the same name.
    """

    channels = 1

    def __init__(self, model: Any) -> None:
        (picture,) = model.inputs
        self.input: Tensor = _name(picture)
        self._values: dict[Tensor, Any] = {self.input: picture}
        self._biases: dict[Tensor, Any] = {}
        nodes = []
        for operation in model.get_ordered_ops():
            inputs = tuple(_name(value) for value in operation.input_values() if _name(value) in self._values)
            if not inputs or operation.get_type_name() == "Result":  # what is computed from constants alone is one
                continue
            outputs = tuple(map(_name, operation.outputs()))
            self._values.update(zip(outputs, operation.outputs(), strict=True))
            nodes.append(Node(inputs, outputs))
            if operation.get_type_name() == "Add" and len(inputs) == 1:
                bias, other = sorted(operation.inputs(), key=lambda each: _name(each.get_source_output()) in inputs)
                if other.get_source_output().get_node().get_type_name() in LAYERS:
                    self._biases[_name(operation.output(0))] = bias
        self.nodes: Sequence[Node] = nodes
        self.layers: Sequence[Tensor] = list(self._biases)

    def piece(
        self,
        nodes: Sequence[int],  # noqa: ARG002
        inputs: Mapping[Tensor, Values],
        outputs: Sequence[Tensor],
    ) -> Run:
        """See `Graph.piece`."""
        import openvino

        replaced = []
        for name, example in inputs.items():
            parameter = openvino.opset13.parameter(example.shape, example.dtype)
            readers = list(self._values[name].get_target_inputs())
            replaced.append((parameter, self._values[name], readers))
            for reader in readers:
                reader.replace_source_output(parameter.output(0))
        piece = openvino.Model(
            [openvino.opset13.result(self._values[name]) for name in outputs], [each[0] for each in replaced], "piece"
        )
        request = _request(piece)
        for _, value, readers in replaced:
            for reader in readers:
                reader.replace_source_output(value)

        def run(values: Mapping[Tensor, Values]) -> Sequence[Values]:
            found = request.infer([values[name] for name in inputs])
            return [np.array(found[index]) for index in range(len(outputs))]

        return run

    def real(self, layer: Tensor, values: Values) -> Values:  # noqa: ARG002
        """See `Graph.real`."""
        return values

    def shift(self, layer: Tensor, shifts: Means) -> None:
        """See `Graph.shift`."""
        import openvino

        bias = self._biases[layer]
        before = bias.get_source_output().get_node().data
        after = (before.reshape(-1) + shifts).reshape(before.shape).astype(np.float32)
        bias.replace_source_output(openvino.opset13.constant(after).output(0))


def _outputs(model: Any, names: Sequence[str], images: Image) -> Iterator[list[Values]]:
    """Yield the outputs of some operations, image by image."""
    import openvino

    operations = _operations(model)
    results = [openvino.opset13.result(operations[name].output(0)) for name in names]
    request = _request(openvino.Model(results, model.get_parameters(), "probed"))
    for image in images:
        found = request.infer([image[np.newaxis]])
        yield [np.array(found[index]) for index in range(len(names))]


def _operations(model: Any) -> dict[str, Any]:
    return {each.get_friendly_name(): each for each in model.get_ops()}


def _name(value: Any) -> str:
    name, index = value.get_node().get_friendly_name(), value.get_index()
    return f"{name}:{index}" if index else str(name)


def _read(files: tuple[bytes, ...]) -> Any:
    import openvino

    return openvino.Core().read_model(*files)


def _request(model: Any) -> Any:
    """Return what runs a model on one thread: several wait for each other, and pieces of a network are short."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    return openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
