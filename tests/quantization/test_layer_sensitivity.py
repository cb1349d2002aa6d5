"""Each layer's cost when it is the only one in int8."""

import residual

from lince.quantization import activation_ranges, layer_sensitivity
from lince.quantization.export import export


def test_every_layer_once(network, ranges, images):
    """Costliest first; none of them costs nothing, and all together no less than the cheapest."""
    found = layer_sensitivity.measure(network, ranges, images)
    assert {layer.name for layer in network.layers} == {cost.layer for cost in found.layers}
    costs = [cost.divergence.kl for cost in found.layers]
    assert sorted(costs, reverse=True) == costs
    assert 0 < costs[-1] <= found.whole.kl


def test_finds_the_hostile_layer(images):
    """One channel 300 times as large, compensated behind: the layers on both sides of it cost most."""
    model = residual.build()
    first, second = model.get_layer("inner_1"), model.get_layer("inner_2")
    kernel, bias = first.get_weights()
    kernel[..., 0] *= 300
    first.set_weights([kernel, bias])
    kernel, bias = second.get_weights()
    kernel[:, :, 0] /= 300
    second.set_weights([kernel, bias])
    network = export(model)
    ranges = activation_ranges.measure(network, images)
    first, second, third, *_ = layer_sensitivity.measure(network, ranges, images).layers
    assert {"inner_1", "inner_2"} == {first.layer, second.layer}
    assert second.divergence.kl > 10 * third.divergence.kl
