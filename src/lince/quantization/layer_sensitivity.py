"""Layer sensitivity: how much each layer changes the logits when it is the only one in int8."""

import numpy as np
from jaxtyping import UInt8

from lince.inference import interpreter
from lince.model_file.manifest import LayerCost, Sensitivity
from lince.quantization import exported_network
from lince.quantization.activation_ranges import Ranges
from lince.quantization.comparison import divergence
from lince.quantization.export import FloatNetwork
from lince.quantization.quantizer import quantize, quantize_one_layer, with_fitting_biases

IMAGES = 256
"""Enough: measured on another 256 images, a layer of `classic` differs by a few per cent."""


def measure(network: FloatNetwork, ranges: Ranges, images: UInt8[np.ndarray, "n h w 3"]) -> Sensitivity:
    """Measures every convolution, dense layer and addition.

    Each layer is measured alone. The alternative, everything in int8 except one layer, would add the other layers'
    errors as noise. The costs do not add up to the cost of the whole network, because the errors partly cancel.

    Args:
        network: exported.
        ranges: of its activations.
        images: u8[N,H,W,3], of the validation split; a few hundred are enough.
    """
    exact, fitting = exported_network.logits(network.flatbuffer, images), with_fitting_biases(network, ranges)
    costs = []
    for layer in network.layers:
        one = quantize_one_layer(fitting, ranges, layer.name)
        found = divergence(exact, exported_network.logits(one, images))
        costs.append(LayerCost(layer.name, layer.kind, layer.weights, found))
    return Sensitivity(
        n=len(images),
        layers=tuple(sorted(costs, key=lambda cost: -cost.divergence.kl)),
        whole=divergence(exact, interpreter.logits(quantize(network, ranges), images)),
    )
