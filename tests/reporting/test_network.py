"""The layers of a published network, and its drawing."""

from lince.model_file import artifact
from lince.reporting import network
from lince.runs.run_folder import RunFolder


def test_layers_are_those_of_the_recipe(run: RunFolder):
    """Names, shapes, weights with biases and multiplications, in order, without conversions."""
    found = network.layers(artifact.read(run.model).flatbuffer)
    first, *_, last = found
    assert ["block1_conv1", "block1_pool", "block2_conv1", "block2_pool", "dense1", "logits"] == [
        one.name for one in found
    ]
    assert (32, 32, 8) == first.shape
    assert (3, 3) == first.kernel
    assert 3 * 3 * 3 * 8 + 8 == first.weights
    assert 3 * 3 * 3 * 8 * 32 * 32 == first.multiplications
    assert (network.DENSE, None, (3,), 16 * 3 + 3, 16 * 3) == (
        last.operation, last.kernel, last.shape, last.weights, last.multiplications,
    )  # fmt: skip


def test_stages_are_layers_of_one_resolution(run: RunFolder):
    """Pooling begins a stage; dense layers are stages of their own; a box is never larger than the drawing."""
    found = network.stages(network.layers(artifact.read(run.model).flatbuffer))
    assert [(32, 32, 8), (16, 16, 16), (8, 8, 16), (16,), (3,)] == [stage.shape for stage in found]
    assert ((1, network.MAX_POOL, None), (1, network.CONVOLUTION, (3, 3))) == found[1].parts
    assert all(0 < size <= 1 for stage in found for size in (stage.height, stage.width))
    assert found[0].height > found[1].height > found[-1].height
