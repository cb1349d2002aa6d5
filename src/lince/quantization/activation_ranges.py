"""Activation ranges: the values that each activation of the float network takes on images, and what int8 covers.

A range covers all values of 99 % of the images. The tail of the other images is clipped, which gives finer steps.
Of the four methods that were compared, this one changed the fewest answers (docs/experiments.md, "the certificate").
"""

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from jaxtyping import Float32, UInt8

from lince.quantization.export import INPUT, FloatNetwork
from lince.quantization.exported_network import normalised
from lince.system import quiet

Ranges = dict[str, dict[str, np.ndarray]]
"""`min` and `max`, each f32[1], by the name of the activation: what ai-edge-quantizer calls calibration results."""

_COVERED = 0.99


def measure(network: FloatNetwork, images: UInt8[np.ndarray, "n h w 3"]) -> Ranges:
    """Runs images through the float network, one by one, and chooses the range of each activation.

    The range of the input is not measured: pixels are 0..255.

    Args:
        network: exported.
        images: u8[N,H,W,3], of the training split only; N at least 1.
    """
    ranges = {
        name: _range(np.quantile(lows, 1 - _COVERED), np.quantile(highs, _COVERED))
        for name, (lows, highs) in _extremes(network, images).items()
    }
    ranges[INPUT] = _range(*normalised(np.array([0, 255])))
    return ranges


def _extremes(network: FloatNetwork, images: UInt8[np.ndarray, "n h w 3"]) -> dict[str, Float32[np.ndarray, "2 n"]]:
    """The smallest and the largest value of each image, f32[2,N], by the name of the activation."""
    with quiet.captured_output():
        interpreter = Interpreter(model_content=network.flatbuffer, experimental_preserve_all_tensors=True)
        interpreter.allocate_tensors()
    [pixels] = interpreter.get_input_details()
    names = {operation.name for operation in network.operations}
    activations = {one["name"]: one["index"] for one in interpreter.get_tensor_details() if one["name"] in names}
    found = {name: np.empty((2, len(images)), np.float32) for name in activations}
    for number in range(len(images)):
        interpreter.set_tensor(pixels["index"], normalised(images[number : number + 1]))
        interpreter.invoke()
        for name, index in activations.items():
            values = interpreter.get_tensor(index)
            found[name][:, number] = values.min(), values.max()
    return found


def _range(low: float, high: float) -> dict[str, np.ndarray]:
    return {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}
