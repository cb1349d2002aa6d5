"""The network with a whitening stem."""

import keras
import numpy as np
from tests.networks.small import SMALL, answers, build, draw, trained

from lince.networks import whitening
from lince.networks.pooled import STEM, Pooled


def test_layers_are_those_of_the_recipe():
    """A 2 × 2 stem, 3 × 3 convolutions without bias, one pooling and at most one shortcut a stage."""
    layers = build(SMALL[Pooled]).layers
    stem, *convolutions = [layer for layer in layers if isinstance(layer, keras.layers.Conv2D)]
    assert (6, (2, 2), "valid") == (stem.filters, stem.kernel_size, stem.padding)
    assert [8, 12, 8, 16] == [layer.filters for layer in convolutions]
    assert {((3, 3), "same", False)} == {(layer.kernel_size, layer.padding, layer.use_bias) for layer in convolutions}
    assert 2 == sum(isinstance(layer, keras.layers.MaxPooling2D) for layer in layers)
    assert 1 == sum(isinstance(layer, keras.layers.Add) for layer in layers)


def test_stem_whitens():
    """Its kernel is that of the images' own patches, by `initialise_from`."""
    model, images = build(SMALL[Pooled]), draw(24)
    SMALL[Pooled].initialise_from(images, model)
    kernel = model.get_layer(STEM).get_weights()[0]
    expected = 128 * whitening.filters(whitening.patch_covariance(images), count=6, floor=0.01)
    np.testing.assert_array_equal(expected, kernel)


def test_of_the_stem_only_the_bias_is_trained():
    """Steps leave its filters as they are."""
    (before, zeros), (after, bias) = (
        trained(SMALL[Pooled], steps=steps).get_layer(STEM).get_weights() for steps in (0, 2)
    )
    np.testing.assert_array_equal(before, after)
    assert not zeros.any()
    assert bias.any()


def test_first_logits_are_small():
    """Before the first step answers are nearly even, though the largest values of a map are far from 0."""
    recipe = Pooled(stem=24, stages=((32, 32), (64, 64)))
    model, images = build(recipe), draw(24)
    recipe.initialise_from(images, model)
    assert answers(model, images).max() < 0.6
