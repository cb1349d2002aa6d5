"""Activation ranges: what each activation of the float network spans on images, and what int8 shall span."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from jaxtyping import Float32, UInt8

from lince.model_file.manifest import RangeMethod
from lince.networks.family import PIXEL_OFFSET, PIXEL_SCALE
from lince.quantization.export import INPUT, FloatNetwork

Ranges = dict[str, dict[str, np.ndarray]]
"""`min` and `max`, each f32[1], by the name of the activation: what ai-edge-quantizer calls calibration results."""

_Ends = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Extremes:
    """The smallest and largest value of activations, image by image.

    Attributes:
        lows, highs: f32[N] by the activation's name.
    """

    lows: dict[str, Float32[np.ndarray, " n"]]
    highs: dict[str, Float32[np.ndarray, " n"]]


def observe(network: FloatNetwork, images: UInt8[np.ndarray, "n h w 3"]) -> Extremes:
    """Runs images through the float network, one by one, and notes what each activation spans.

    Args:
        network: exported.
        images: u8[N,H,W,3], of the training split only; N at least 1.
    """
    interpreter = Interpreter(model_content=network.flatbuffer, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    [pixels] = interpreter.get_input_details()
    wanted = {INPUT, *(operation.name for operation in network.operations)}
    activations = [(one["name"], one["index"]) for one in interpreter.get_tensor_details() if one["name"] in wanted]
    found = np.empty((2, len(activations), len(images)), np.float32)
    for number in range(len(images)):
        interpreter.set_tensor(pixels["index"], normalised(images[number : number + 1]))
        interpreter.invoke()
        for row, (_, index) in enumerate(activations):
            values = interpreter.get_tensor(index)
            found[:, row, number] = values.min(), values.max()
    lows, highs = ({name: ends[row] for row, (name, _) in enumerate(activations)} for ends in found)
    return Extremes(lows, highs)


def span(extremes: Extremes, method: RangeMethod) -> Ranges:
    """What int8 shall span, by activation.

    Of the methods tried (docs/experiments.md), `q99` changed the fewest answers: it holds all values of 99 % of the
    images, and clips the tail of the others for the sake of finer steps. The input's is known exactly: 0..255.

    Args:
        extremes: observed.
        method: see `recipe.Quantize`.
    """
    choose = _METHODS[method]
    ranges = {name: _range(*choose(low, extremes.highs[name])) for name, low in extremes.lows.items()}
    ranges[INPUT] = _range(*normalised(np.array([0, 255])))
    return ranges


def normalised(pixels: np.ndarray) -> Float32[np.ndarray, "..."]:
    """Pixels 0..255 as the exported network takes them."""
    return (pixels * PIXEL_SCALE + PIXEL_OFFSET).astype(np.float32)


def _range(low: float, high: float) -> dict[str, np.ndarray]:
    return {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}


def _quantile(covered: float) -> Callable[[np.ndarray, np.ndarray], _Ends]:
    return lambda lows, highs: (np.quantile(lows, 1 - covered), np.quantile(highs, covered))


def _moving_average(lows: np.ndarray, highs: np.ndarray) -> _Ends:
    """As ai-edge-quantizer's own `calibrate`: each image after the first moves the ends by 5 % of the way."""
    weights = 0.05 * 0.95 ** np.arange(len(lows) - 1, -1, -1.0)
    weights[0] /= 0.05  # the first image is what it begins with
    return weights @ lows, weights @ highs


_METHODS: dict[RangeMethod, Callable[[np.ndarray, np.ndarray], _Ends]] = {
    "min_max": lambda lows, highs: (lows.min(), highs.max()),
    "moving_average": _moving_average,
    "q99": _quantile(0.99),
    "q99.9": _quantile(0.999),
}
