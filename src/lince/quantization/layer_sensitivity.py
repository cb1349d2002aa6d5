"""Which layer costs what: the network again and again, one layer at a time in int8 and all others in float."""

import numpy as np
from jaxtyping import UInt8

from lince.model_file.manifest import Arithmetic, LayerCost, Sensitivity
from lince.quantization import divergence, quantizer
from lince.quantization.activation_ranges import Ranges
from lince.quantization.export import FloatNetwork
from lince.quantization.flatbuffer_inference import logits

# A layer's cost on another 256 images of `classic` differs by a few per cent.
IMAGES = 256


def measure(network: FloatNetwork, ranges: Ranges, images: UInt8[np.ndarray, "n h w 3"]) -> Sensitivity:
    """Measures every convolution, dense layer and addition.

    A layer alone is measured, and not what leaving it in float regains, because the costs of others would be noise
    around it. Costs do not simply add up: the layers' errors partly cancel.

    Args:
        network: exported.
        ranges: of its activations.
        images: u8[N,H,W,3], of the validation split; a few hundred are enough.
    """
    exact = logits(quantizer.in_float(network), images)
    costs = []
    for layer in network.layers:
        with quantizer.silenced():
            alone = quantizer.one_layer(network, ranges, layer.name)
        found = divergence.measure(exact, logits(alone, images))
        costs.append(LayerCost(layer.name, layer.kind, layer.weights, found))
    with quantizer.silenced():
        whole = quantizer.to_arithmetic(network, ranges, Arithmetic())
    return Sensitivity(
        n=len(images),
        layers=tuple(sorted(costs, key=lambda cost: -cost.divergence.kl)),
        whole=divergence.measure(exact, logits(whole, images)),
    )
