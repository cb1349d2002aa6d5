"""The exported float network: operations named like the Keras layers, and the model's own answers."""

import keras
import numpy as np
import residual

from lince import metrics
from lince.inference.interpreter import logits
from lince.quantization.quantizer import without_quantization


def test_operations_have_the_layers_names(network):
    """Whatever the exporter calls them, and fused with what follows: names of Keras layers, each once."""
    names = [operation.name for operation in network.operations]
    assert ["first", "inner_1", "inner_2", "shortcut", "pool", "logits"] == names


def test_layers_are_what_int8_can_cost(network):
    """Convolutions, dense layers and additions; pooling passes on what it reads."""
    found = [(layer.name, layer.kind, layer.weights) for layer in network.layers]
    assert ("first", "CONV_2D", 3 * 3 * 3 * 8) == found[0]
    assert ("shortcut", "ADD", 0) == found[3]
    assert ("logits", "FULLY_CONNECTED", 8 * 3) == found[-1]
    assert ("first", "inner_2") == next(one.reads for one in network.operations if one.name == "shortcut")


def test_in_float_is_the_model(network, images):
    """The exported network answers as Keras does."""
    exact = residual.build()(images.astype(np.float32))
    found = metrics.softmax(logits(without_quantization(network), images))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(exact), found, atol=1e-5)
