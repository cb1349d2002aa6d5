"""Every family gives a network that normalises its own pixels and ends in probabilities."""

import keras
import numpy as np
import pytest

import synthetic
from lince.errors import RecipeError
from lince.records import ImageSpec
from lince.training import model as models
from lince.training.recipe import Vgg

# A small network of each family; a new family joins by adding its line here, and the tests say so when it is forgotten.
SMALL = {Vgg: Vgg(blocks=((8, 8), (16,)), block_dropout=(0.1, 0.2), dense=(16,), dense_dropout=0.5)}


@pytest.fixture(params=SMALL, ids=lambda family: family.__name__)
def small(request: pytest.FixtureRequest):
    """The `[model]` table of a small network of each family."""
    return SMALL[request.param]


def build(recipe, *, spec: ImageSpec = ImageSpec(), precision: str = "float32", seed: int = 0) -> keras.Model:
    return models.build(recipe, spec=spec, num_classes=3, precision=precision, seed=seed)


def test_every_family_is_tested():
    """The table of families and the networks of these tests name the same ones."""
    assert models.FAMILIES.keys() == SMALL.keys()


class TestBuild:
    @pytest.mark.parametrize("spec", [ImageSpec(), ImageSpec(16, 24)])
    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_answers_are_probabilities(self, small, spec, precision):
        """One row an image, float32 whatever the precision inside, not negative, and each sums to 1."""
        images = np.random.default_rng(0).integers(0, 256, (5, *spec.shape)).astype(np.float32)
        found = keras.ops.convert_to_numpy(build(small, spec=spec, precision=precision)(images))
        assert ((5, 3), np.float32) == (found.shape, found.dtype)
        assert found.min() >= 0
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)

    def test_seed_gives_the_weights(self, small):
        """The same seed gives the same network to the bit, another seed another one."""
        first, second, other = (build(small, seed=seed).get_weights() for seed in (1, 1, 2))
        assert all(np.array_equal(one, two) for one, two in zip(first, second, strict=True))
        assert not all(np.array_equal(one, two) for one, two in zip(first, other, strict=True))

    def test_layers_differ(self, small):
        """Two layers of one shape do not begin with the same weights, as they would with a shared initialiser."""
        kernels = [weights for weights in build(small).get_weights() if weights.ndim > 1]
        assert len(kernels) == len({kernel.tobytes() for kernel in kernels})

    def test_normalises_inside(self, small):
        """(pixel − 128) / 128, exactly: 0 is −1, 128 is 0, and every pixel is a whole number of int8 steps."""
        model = build(small)
        normalise = keras.Model(model.input, model.get_layer(models.NORMALISE).output)
        pixels = np.arange(256, dtype=np.float32).reshape(1, 1, -1, 1).repeat(3, axis=3)
        pixels = np.resize(pixels, (1, 32, 32, 3))
        found = keras.ops.convert_to_numpy(normalise(pixels))
        np.testing.assert_array_equal((pixels - 128) / 128, found)
        assert (1 / 128, -1.0) == (models.PIXEL_SCALE, models.PIXEL_OFFSET)

    def test_last_layers_stay_in_float32(self, small):
        """In bfloat16 the weights, the logits and the probabilities are float32 all the same."""
        model = build(small, precision="bfloat16")
        assert {"float32"} == {keras.backend.standardize_dtype(weight.dtype) for weight in model.weights}
        assert "float32" == model.get_layer(models.LOGITS).compute_dtype
        assert "float32" == model.get_layer("probabilities").compute_dtype
        assert any(layer.compute_dtype == "bfloat16" for layer in model.layers)

    def test_dropout_only_in_training(self, small):
        """Answers do not vary; in training they do."""
        model, images = build(small), synthetic.batch(4, seed=0)[0].astype(np.float32)
        np.testing.assert_array_equal(model(images), model(images))
        assert not np.array_equal(model(images, training=True), model(images, training=True))


class TestVgg:
    def test_layers_are_those_of_the_recipe(self):
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

    def test_unknown_initializer(self):
        """A name that Keras does not know is the recipe's mistake."""
        wrong = Vgg(blocks=((8,),), block_dropout=(0,), dense=(), dense_dropout=0, initializer="he_norm")
        with pytest.raises(
            RecipeError, match=r"model\.initializer='he_norm' is not a Keras initialiser\. Use 'he_normal'"
        ):
            build(wrong)


class TestNormalisedToLogits:
    def test_is_the_same_network(self, small):
        """Normalised pixels in, logits out, with the model's own weights: a softmax of them is the model's answer."""
        model = build(small)
        images = synthetic.batch(6, seed=0)[0].astype(np.float32)
        logits = models.normalised_to_logits(model)((images - 128) / 128)
        np.testing.assert_allclose(keras.ops.softmax(logits), model(images), rtol=1e-5)
