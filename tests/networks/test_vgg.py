"""The textbook network."""

import keras
from tests.networks.small import SMALL, build

from lince.networks.vgg import Vgg


def test_layers_are_those_of_the_recipe():
    """Convolutions of 3 × 3 with ReLU, a pooling and a dropout a block, then dense layers with dropout."""
    layers = build(SMALL[Vgg]).layers
    convolutions = [layer for layer in layers if isinstance(layer, keras.layers.Conv2D)]
    assert [8, 8, 16] == [layer.filters for layer in convolutions]
    assert {((3, 3), "same", "relu")} == {
        (layer.kernel_size, layer.padding, layer.activation.__name__) for layer in convolutions
    }
    assert 2 == sum(isinstance(layer, keras.layers.MaxPooling2D) for layer in layers)
    assert [0.1, 0.2, 0.5] == [layer.rate for layer in layers if isinstance(layer, keras.layers.Dropout)]
    assert [16, 3] == [layer.units for layer in layers if isinstance(layer, keras.layers.Dense)]
