"""Static int8 OpenVINO models by NNCF."""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np

from edge_app.manifest import Target
from edge_app.preprocessing import Image
from export.bias_correction import Values
from export.layer_noise import noise_to_signal
from export.networks import Network
from export.openvino import files_of

LAYERS = ("Convolution", "GroupConvolution", "MatMul")
NO_SMOOTHING, SMOOTHING = -1, 0.5  # of convolutions: the share that weights take over, below 0 nothing at all
NEAR = 0.03  # of the logits' spread: a model that is off by less is not tried another way


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

    Preset and bias correction are what OpenVINO's guide has for SiLU networks. The slow bias correction runs the real
    int8 layers one after the other, as `export.bias_correction` does, which says why that matters here. Weights use
    half of their range, so that sums of products don't overflow where instructions add them up in 16 bits, as was
    seen on a processor with VNNI, too. NNCF's way with transformers serves here for what it leaves in float, the sums
    of residual connections. What suits one network spoils another: ranges that are means of quantiles or the extremes,
    and SmoothQuant (Xiao et al. 2023, arXiv 2211.10438) of convolutions, where weights take over a part of what the
    channels of an input differ by. The model whose logits are nearest to the float ones on the calibration images is
    returned; one that is `NEAR` ends it.
    """
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet as Ranges

    ways = (Ranges.MINMAX, NO_SMOOTHING), (Ranges.MEAN_QUANTILE, NO_SMOOTHING), (Ranges.MINMAX, SMOOTHING)
    wanted = _logits(_read(plain), calibration)
    found: dict[float, Any] = {}

    def telling(done: int) -> Callable[[float], None]:
        return lambda share: on_progress((done + share) / len(ways))

    for number, (ranges, smoothing) in enumerate(ways):
        model = _quantised(plain, calibration, ranges, smoothing, float_layers, telling(number))
        lacking = wanted - _logits(model, calibration)
        _add_to_logits(model, lacking.mean(axis=0, keepdims=True))
        noise = float(lacking.std(axis=0).mean())
        found[noise] = model
        if noise <= NEAR * wanted.std(axis=0).mean():  # of one image both are 0
            break
    return files_of(found[min(found)])


def layer_errors(plain: tuple[bytes, ...], quantised: tuple[bytes, ...], images: Image) -> list[tuple[str, float]]:
    """Return name and noise-to-signal ratio of each layer that could be left in float, in order of execution."""
    models = _read(plain), _read(quantised)
    here = {each.get_friendly_name() for each in models[1].get_ops()}
    names = [
        each.get_friendly_name()
        for each in models[0].get_ordered_ops()
        if each.get_type_name() in LAYERS and each.get_friendly_name() in here
    ]
    signals, found = (_outputs(model, names, images) for model in models)
    return list(zip(names, noise_to_signal(signals, found), strict=True))


def _quantised(
    plain: tuple[bytes, ...],
    calibration: Image,
    ranges: Any,
    smoothing: float,
    float_layers: Collection[str],
    on_progress: Callable[[float], None],
) -> Any:
    """Return NNCF's int8 model; ranges: how those of activations follow from what was seen; smoothing: see above."""
    import nncf

    def batches() -> Iterator[Image]:
        for index, image in enumerate(calibration):
            on_progress(index / len(calibration))
            yield np.ascontiguousarray(image[np.newaxis])

    logging.getLogger("nncf").setLevel(logging.ERROR)
    with redirect_stdout(StringIO()):  # NNCF has bars of its own
        return nncf.quantize(
            _read(plain),
            nncf.Dataset(_Iterable(batches)),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(calibration),
            fast_bias_correction=False,
            model_type=nncf.ModelType.TRANSFORMER,
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.ENABLE,
                activations_range_estimator_params=ranges,
                smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(convolution=smoothing),
            ),
            ignored_scope=nncf.IgnoredScope(names=sorted(float_layers)) if float_layers else None,
        )


def _logits(model: Any, images: Image) -> Values:
    """Return the logits [N, K] of images."""
    name = model.get_results()[0].input_value(0).get_node().get_friendly_name()
    return np.concatenate([logits for (logits,) in _outputs(model, [name], images)])


def _add_to_logits(model: Any, lacking: Values) -> None:
    """Add a constant [1, K] to a model's logits: what they lack of the float model's on average.

    That is empirical bias correction (Nagel et al. 2019, arXiv 1906.04721) of the whole: what NNCF's correction of
    layer by layer leaves moves answers from one class to the other.
    """
    import openvino

    result = model.get_results()[0]
    logits = result.input_value(0)
    centred = openvino.opset13.add(logits, openvino.opset13.constant(lacking)).output(0)
    centred.set_names(logits.get_names())
    logits.set_names(set())
    result.input(0).replace_source_output(centred)


class _Iterable:
    """What NNCF iterates over as often as it likes."""

    def __init__(self, start: Callable[[], Iterator[Image]]) -> None:
        self._start = start

    def __iter__(self) -> Iterator[Image]:
        return self._start()


def _read(files: tuple[bytes, ...]) -> Any:
    import openvino

    return openvino.Core().read_model(*files)


def _outputs(model: Any, names: Sequence[str], images: Image) -> Iterator[list[Values]]:
    """Yield the outputs of some operations, image by image."""
    import openvino

    operations = {each.get_friendly_name(): each for each in model.get_ops()}
    probed = openvino.Model(
        [openvino.opset13.result(operations[name].output(0)) for name in names], model.get_parameters(), "probed"
    )
    request = openvino.Core().compile_model(probed, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    for image in images:
        found = request.infer([image[np.newaxis]])
        yield [np.array(found[index]) for index in range(len(names))]
