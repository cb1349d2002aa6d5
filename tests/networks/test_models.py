"""Every family gives a network that normalises its own pixels, ends in probabilities and folds into plain layers."""

from typing import get_args

import keras
import numpy as np
import pytest
from tests.networks.small import SMALL, answers, build, draw, trained

from lince import metrics
from lince.inference.interpreter import Network
from lince.networks import models
from lince.networks.batch_norm import BatchNorm
from lince.networks.families import Model
from lince.networks.family import PIXEL_OFFSET, PIXEL_SCALE
from lince.networks.models import PassThrough
from lince.networks.pooled import Pooled
from lince.networks.resnet import ResNet
from lince.networks.vgg import Vgg
from lince.quantization import flatbuffer
from lince.types import ImageSpec
from training_fixtures import quantized

# Those whose convolutions batch norm follows while they are trained.
NORMALISED = (Pooled, ResNet)


@pytest.fixture(params=SMALL, ids=lambda family: family.__name__)
def small(request: pytest.FixtureRequest):
    """The `[model]` table of a small network of each family."""
    return SMALL[request.param]


def folded(recipe, model: keras.Model, spec: ImageSpec = ImageSpec()) -> keras.Model:
    """Its folded copy, which began with other weights."""
    copy = build(recipe, spec=spec, seed=1, folded=True)
    models.fold(model, copy)
    return copy


def test_every_family_is_tested():
    """The union of families and the networks of these tests name the same ones."""
    assert set(get_args(Model)) == SMALL.keys()


class TestBuild:
    @pytest.mark.parametrize("spec", [ImageSpec(), ImageSpec(16, 25)])
    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_answers_are_probabilities(self, small, spec, precision):
        """One row an image, float32 whatever the precision inside, not negative, and each sums to 1."""
        found = answers(build(small, spec=spec, precision=precision), draw(5, spec))
        assert ((5, 3), np.float32) == (found.shape, found.dtype)
        assert found.min() >= 0
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)

    def test_seed_gives_the_weights(self, small):
        """The same seed gives the same network to the bit, another seed another one."""
        first, second, other = (build(small, seed=seed).get_weights() for seed in (1, 1, 2))
        assert all(np.array_equal(one, two) for one, two in zip(first, second, strict=True))
        assert not all(np.array_equal(one, two) for one, two in zip(first, other, strict=True))

    @pytest.mark.parametrize("is_folded", [False, True])
    def test_names_do_not_depend_on_networks_built_before(self, small, is_folded):
        """The names of layers are in the model file, so that a counter of the process would change its bytes."""
        first, second = ([layer.name for layer in build(small, folded=is_folded).layers] for _ in range(2))
        assert first == second

    def test_layers_differ(self, small):
        """Two layers do not begin with the same noise, as they would with a shared initialiser."""
        kernels = [weights for weights in build(small).get_weights() if weights.ndim > 1]
        noise = [kernel for kernel in kernels if not set(np.unique(kernel)) <= {0, 1}]  # some pass all through
        assert len(noise) >= 3
        assert len(noise) == len({kernel.tobytes() for kernel in noise})

    def test_normalises_inside(self, small):
        """(pixel − 128) / 128, exactly: 0 is −1, 128 is 0, and every pixel is a whole number of int8 steps."""
        model = build(small)
        normalise = keras.Model(model.input, model.get_layer(models.NORMALISE).output)
        pixels = np.arange(256, dtype=np.float32).reshape(1, 1, -1, 1).repeat(3, axis=3)
        pixels = np.resize(pixels, (1, 32, 32, 3))
        found = keras.ops.convert_to_numpy(normalise(pixels))
        np.testing.assert_array_equal((pixels - 128) / 128, found)
        assert (1 / 128, -1.0) == (PIXEL_SCALE, PIXEL_OFFSET)

    def test_last_layers_stay_in_float32(self, small):
        """In bfloat16 the weights, the logits and the probabilities are float32 all the same."""
        model = build(small, precision="bfloat16")
        assert {"float32"} == {keras.backend.standardize_dtype(weight.dtype) for weight in model.weights}
        assert "float32" == model.get_layer(models.LOGITS).compute_dtype
        assert "float32" == model.get_layer("probabilities").compute_dtype
        assert any(layer.compute_dtype == "bfloat16" for layer in model.layers)

    def test_dropout_only_in_training(self):
        """Answers do not vary; in training they do."""
        model, images = build(SMALL[Vgg]), draw(4).astype(np.float32)
        np.testing.assert_array_equal(model(images), model(images))
        assert not np.array_equal(model(images, training=True), model(images, training=True))

    def test_smallest_image(self, small):
        """What a recipe says of itself is so: at that size a network answers, and none can be built below.

        A pretrained family can be built, but not quantized; see its own test.
        """
        size = small.smallest_image
        spec = ImageSpec(size, size)
        assert (2, 3) == answers(build(small, spec=spec, folded=True), np.zeros((2, *spec.shape), np.uint8)).shape
        if size > 1 and not small.pretrained:
            with pytest.raises(ValueError, match=r"size|dimension|shape"):
                build(small, spec=ImageSpec(size - 1, size - 1), folded=True)

    def test_weights_are_those_of_the_layers(self, small):
        """The sizes that a recipe computes without Keras are those of Keras's kernels, but for the last layer's."""
        kernels = [layer.kernel for layer in build(small).layers if hasattr(layer, "kernel")]
        assert sorted(small.kernel_sizes(32)) == sorted(int(np.prod(kernel.shape)) for kernel in kernels[:-1])

    @pytest.mark.parametrize("family", NORMALISED)
    def test_takes_any_size_until_it_is_folded(self, family):
        """Training may go through images of several sizes with one network."""
        model = build(SMALL[family])
        assert [(2, 3)] * 3 == [
            answers(model, draw(2, ImageSpec(*size))).shape for size in ((32, 32), (24, 24), (9, 17))
        ]
        assert (None, 32, 32, 3) == build(SMALL[family], folded=True).input_shape


class TestInitialiseFrom:
    @pytest.mark.parametrize("family", [Vgg, ResNet])
    def test_most_families_take_nothing_from_images(self, family):
        """Their weights stay as they were drawn."""
        model = build(SMALL[family])
        before = model.get_weights()
        SMALL[family].initialise_from(draw(6), model)
        assert all(np.array_equal(*pair) for pair in zip(before, model.get_weights(), strict=True))


class TestFold:
    @pytest.mark.parametrize("spec", [ImageSpec(), ImageSpec(17, 23)], ids=["even", "odd"])
    def test_answers_stay(self, small, spec):
        """After real steps the network without batch norm answers as the one with it, whatever the size."""
        model, images = trained(small, spec), draw(24, spec)
        np.testing.assert_allclose(
            answers(model, images), answers(folded(small, model, spec), images), rtol=1e-3, atol=1e-5
        )

    @pytest.mark.parametrize("family", NORMALISED)
    def test_statistics_count(self, family):
        """What is folded is not nothing: with the statistics of a fresh network the answers are others."""
        model, images = trained(SMALL[family]), draw(24)
        before = answers(model, images)
        for layer in model.layers:
            if isinstance(layer, BatchNorm):
                assert abs(layer.moving_variance - 1).numpy().max() > 0.1
                layer.moving_mean.assign(layer.moving_mean * 0)
                layer.moving_variance.assign(layer.moving_variance * 0 + 1)
        assert abs(before - answers(model, images)).max() > 0.01

    def test_leaves_plain_layers(self, small):
        """Nothing of ours is in it, so Keras alone can load it, and every convolution has a bias."""
        layers = build(small, folded=True).layers
        assert all(type(layer).__module__.startswith("keras.") for layer in layers)
        assert all(layer.use_bias for layer in layers if isinstance(layer, keras.layers.Conv2D))

    def test_layers_keep_their_names(self, small):
        """Whatever has weights is called the same, so that a report on the file speaks of the network's layers."""
        names = {layer.name for layer in build(small).layers if layer.weights}
        kept = {layer.name for layer in build(small, folded=True).layers if layer.weights}
        assert {name for name in names if not name.endswith("_norm")} == kept


class TestInt8:
    @pytest.mark.parametrize("family", NORMALISED)
    def test_folded_network_computes_in_int8_throughout(self, family):
        """Each convolution, dense layer, addition and pooling is int8; answers stay close to the float network's."""
        spec, images = ImageSpec(16, 16), draw(24, ImageSpec(16, 16))
        model = folded(SMALL[family], trained(SMALL[family], spec, steps=12), spec)
        content = quantized(model, images)
        assert [] == flatbuffer.float_operations(content)
        network = Network(content)
        found = metrics.softmax(network.dequantize(network.run(images)))
        assert abs(answers(model, images) - found).max() < 0.1


class TestNormalisedToLogits:
    def test_is_the_same_network(self, small):
        """Normalised pixels in, logits out, with the model's own weights: a softmax of them is the model's answer."""
        model = build(small)
        images = draw(6).astype(np.float32)
        logits = models.normalised_to_logits(model)((images - 128) / 128)
        np.testing.assert_allclose(keras.ops.softmax(logits), model(images), rtol=1e-5)


def kernel(*shape: int, seed: int = 0) -> np.ndarray:
    keras.utils.set_random_seed(seed)
    return keras.ops.convert_to_numpy(PassThrough()(shape, "float32"))


class TestPassThrough:
    def test_hands_its_inputs_on(self):
        """The first filters give the very picture, edges too; the others something else."""
        pictures = np.random.default_rng(0).normal(size=(2, 7, 9, 4)).astype(np.float32)
        found = keras.ops.convert_to_numpy(keras.ops.conv(pictures, kernel(3, 3, 4, 6), padding="same"))
        np.testing.assert_array_equal(pictures, found[..., :4])
        assert abs(found[..., 4:]).min() > 0

    @pytest.mark.parametrize("shape", [(3, 3, 64, 32), (1, 1, 64, 128)], ids=["fewer filters", "size 1"])
    def test_all_noise(self, shape):
        """With fewer filters than inputs, or of one pixel, every number is drawn, uniformly within ±1/√n."""
        found, bound = kernel(*shape), (shape[0] * shape[1] * shape[2]) ** -0.5
        assert bound == pytest.approx(abs(found).max(), rel=0.01)
        assert bound / 3**0.5 == pytest.approx(found.std(), rel=0.05)

    def test_seed_gives_the_noise(self):
        """Two kernels drawn after one seed differ, and come again after it."""
        keras.utils.set_random_seed(3)
        first, second = (PassThrough()((3, 3, 8, 4)) for _ in range(2))
        assert not np.array_equal(first, second)
        np.testing.assert_array_equal(first, kernel(3, 3, 8, 4, seed=3))

    def test_known_to_keras(self):
        """A layer that begins with it can be written down and read."""
        layer = keras.layers.Conv2D(4, 3, kernel_initializer=PassThrough())
        again = keras.layers.Conv2D.from_config(layer.get_config())
        assert isinstance(again.kernel_initializer, PassThrough)
