"""Every network that can be written passes the check that every reader makes."""

import keras
import numpy as np
import pytest

from lince.errors import ModelFileError
from lince.inference.interpreter import Network
from lince.model_file import network
from lince.model_file.manifest import Arithmetic
from lince.networks import models
from lince.networks.pooled import Pooled
from lince.networks.resnet import ResNet
from lince.networks.vgg import Vgg
from lince.quantization import activation_ranges
from lince.quantization.export import export
from lince.quantization.quantizer import quantize, without_quantization
from lince.types import ImageSpec

RECIPES = {
    "vgg": Vgg(blocks=((4,), (6, 6)), block_dropout=(0, 0), dense=(8,), dense_dropout=0),
    "vgg without hidden layers": Vgg(blocks=((4,),), block_dropout=(0,), dense=(), dense_dropout=0),
    "pooled": Pooled(stem=6, stages=((8, 8, 8), (8, 8)), shortcut=True),
    "resnet": ResNet(stages=(4, 8)),
}


def build(name: str, spec: ImageSpec) -> keras.Model:
    """A network of random weights, as it is when it has been trained and folded."""
    recipe = RECIPES[name]
    folded = not isinstance(recipe, Vgg)
    model = models.build(recipe, spec=spec, num_classes=3, precision="float32", seed=0, folded=folded)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        layer.set_weights([rng.normal(0, 0.3, values.shape) for values in layer.get_weights()])
    return model


def check(model: keras.Model, spec: ImageSpec) -> None:
    """In int8, in float, and with float layers at the beginning, at the end and between."""
    images = np.random.default_rng(0).integers(0, 256, (3, *spec.shape), dtype=np.uint8)
    exported = export(model)
    ranges = activation_ranges.measure(exported, images)
    layers = [operation.name for operation in exported.layers]
    float_layers = ([], layers[:1], layers[-1:], layers[::2], layers[1:3])
    quantized = [quantize(exported, ranges, Arithmetic(tuple(names))) for names in float_layers]
    for flatbuffer in (without_quantization(exported), *quantized):
        network.verify(flatbuffer)
        assert (3, 3) == Network(flatbuffer).run(images).shape


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("spec", [ImageSpec(16, 16), ImageSpec(24, 16)], ids=str)
def test_every_family_in_every_arithmetic(name: str, spec: ImageSpec):
    """What the quantizer makes of each."""
    check(build(name, spec), spec)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_constants_in_float_are_numbers(value: float):
    """A weight that is none would make every answer an error."""
    spec = ImageSpec(8, 8)
    model = build("vgg without hidden layers", spec)
    flatbuffer = without_quantization(export(model))
    network.verify(flatbuffer)
    weight = np.float32(model.get_layer("logits").get_weights()[0][5, 1]).tobytes()
    assert 1 == flatbuffer.count(weight)
    with pytest.raises(ModelFileError, match="holds numbers that are not finite"):
        network.verify(flatbuffer.replace(weight, np.float32(value).tobytes()))
