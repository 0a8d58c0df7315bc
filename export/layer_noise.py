"""Which layers a quantised model would gain most from having left in float."""

from collections.abc import Iterable, Sequence

import numpy as np

from export.bias_correction import Values

RANKING_IMAGES = 8


def noise_to_signal(wanted: Iterable[Sequence[Values]], found: Iterable[Sequence[Values]]) -> list[float]:
    """Return the noise-to-signal ratio of each layer: squared difference over square, summed over images.

    wanted, found: image by image the outputs of all layers, of the float model and of the quantised one.
    """
    noise: list[float] = []
    signal: list[float] = []
    for float_outputs, outputs in zip(wanted, found, strict=True):
        noise = noise or [0.0] * len(outputs)
        signal = signal or [0.0] * len(outputs)
        for index, (right, wrong) in enumerate(zip(float_outputs, outputs, strict=True)):
            noise[index] += float(np.square(wrong - right, dtype=np.float64).sum())
            signal[index] += float(np.square(right, dtype=np.float64).sum())
    return [each / max(total, 1e-12) for each, total in zip(noise, signal, strict=True)]


def worst_first(errors: Sequence[tuple[str, float]]) -> list[str]:
    """Return the names of layers by how much noise each adds to that of the layer before it, most first."""
    added = {name: error - before for (_, before), (name, error) in zip([("", 0.0), *errors], errors, strict=False)}
    return sorted(added, key=lambda name: -added[name])
