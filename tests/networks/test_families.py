"""Every family gives a network that normalises its own pixels, ends in probabilities and folds into plain layers."""

import keras
import numpy as np
import pytest

import synthetic
from lince import metrics
from lince.errors import RecipeError
from lince.inference.classifier import Network
from lince.networks import families as models
from lince.networks import whitening
from lince.networks.batch_norm import BatchNorm
from lince.quantization import flatbuffer
from lince.quantization.quantizer import quantize
from lince.training import optimizers
from lince.training.recipe import Pooled, ResNet, Train, Vgg
from lince.types import ImageSpec

# A small network of each family; a new family joins by adding its line here, and the tests say so when it is forgotten.
SMALL = {
    Vgg: Vgg(blocks=((8, 8), (16,)), block_dropout=(0.1, 0.2), dense=(16,), dense_dropout=0.5),
    Pooled: Pooled(stem=6, stages=((8, 12, 8), (16,)), shortcut=True, dropout=0.5),
    ResNet: ResNet(stages=(8, 16)),
}

# Those whose convolutions batch norm follows while they are trained.
NORMALISED = (Pooled, ResNet)


@pytest.fixture(params=SMALL, ids=lambda family: family.__name__)
def small(request: pytest.FixtureRequest):
    """The `[model]` table of a small network of each family."""
    return SMALL[request.param]


def build(recipe, *, spec: ImageSpec = ImageSpec(), precision: str = "float32", seed: int = 0, folded: bool = False):
    return models.build(recipe, spec=spec, num_classes=3, precision=precision, seed=seed, folded=folded)


def draw(n: int, spec: ImageSpec = ImageSpec()) -> np.ndarray:
    """Pixels u8[n,H,W,3] of pictures that are not square, if need be."""
    images, _ = synthetic.batch(n, seed=5, size=max(spec.height, spec.width))
    return images[:, : spec.height, : spec.width]


def answers(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(images.astype(np.float32)))


def trained(recipe, spec: ImageSpec = ImageSpec(), *, steps: int = 4) -> keras.Model:
    """A network that has whitened, and taken a few real steps: its moving statistics are those of its activations."""
    model, images = build(recipe, spec=spec), draw(24, spec)
    models.initialise_from(images, model, recipe)
    options = Train(epochs=1, batch_size=24, learning_rate=0.1, optimizer="muon")
    model.compile(optimizers.create(options), "categorical_crossentropy", jit_compile=False)
    for _ in range(steps):
        model.train_on_batch(images.astype(np.float32), np.eye(3)[np.arange(24) % 3])
    return model


def folded(recipe, model: keras.Model, spec: ImageSpec = ImageSpec()) -> keras.Model:
    """Its folded twin, which began with other weights."""
    twin = build(recipe, spec=spec, seed=1, folded=True)
    models.fold(model, twin)
    return twin


def test_every_family_is_tested():
    """The table of families and the networks of these tests name the same ones."""
    assert models.FAMILIES.keys() == SMALL.keys()


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
        assert (1 / 128, -1.0) == (models.PIXEL_SCALE, models.PIXEL_OFFSET)

    def test_last_layers_stay_in_float32(self, small):
        """In bfloat16 the weights, the logits and the probabilities are float32 all the same."""
        model = build(small, precision="bfloat16")
        assert {"float32"} == {keras.backend.standardize_dtype(weight.dtype) for weight in model.weights}
        assert "float32" == model.get_layer(models.LOGITS).compute_dtype
        assert "float32" == model.get_layer("probabilities").compute_dtype
        assert any(layer.compute_dtype == "bfloat16" for layer in model.layers)

    @pytest.mark.parametrize("family", [Vgg, Pooled])
    def test_dropout_only_in_training(self, family):
        """Answers do not vary; in training they do."""
        model, images = build(SMALL[family]), draw(4).astype(np.float32)
        np.testing.assert_array_equal(model(images), model(images))
        assert not np.array_equal(model(images, training=True), model(images, training=True))

    def test_smallest_image(self, small):
        """What a recipe says of itself is so: at that size a network answers, and none can be built below."""
        size = small.smallest_image
        spec = ImageSpec(size, size)
        assert (2, 3) == answers(build(small, spec=spec, folded=True), np.zeros((2, *spec.shape), np.uint8)).shape
        if size > 1:
            with pytest.raises(ValueError, match=r"size|dimension|shape"):
                build(small, spec=ImageSpec(size - 1, size - 1), folded=True)

    @pytest.mark.parametrize("family", NORMALISED)
    def test_takes_any_size_until_it_is_folded(self, family):
        """Training may go through images of several sizes with one network."""
        model = build(SMALL[family])
        assert [(2, 3)] * 3 == [
            answers(model, draw(2, ImageSpec(*size))).shape for size in ((32, 32), (24, 24), (9, 17))
        ]
        assert (None, 32, 32, 3) == build(SMALL[family], folded=True).input_shape


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


class TestPooled:
    def test_layers_are_those_of_the_recipe(self):
        """A 2 × 2 stem, 3 × 3 convolutions without bias, one pooling and at most one shortcut a stage."""
        layers = build(SMALL[Pooled]).layers
        stem, *convolutions = [layer for layer in layers if isinstance(layer, keras.layers.Conv2D)]
        assert (6, (2, 2), "valid") == (stem.filters, stem.kernel_size, stem.padding)
        assert [8, 12, 8, 16] == [layer.filters for layer in convolutions]
        assert {((3, 3), "same", False)} == {
            (layer.kernel_size, layer.padding, layer.use_bias) for layer in convolutions
        }
        assert 2 == sum(isinstance(layer, keras.layers.MaxPooling2D) for layer in layers)
        assert 1 == sum(isinstance(layer, keras.layers.Add) for layer in layers)

    def test_stem_whitens(self):
        """Its kernel is that of the images' own patches, by `initialise_from`."""
        model, images = build(SMALL[Pooled]), draw(24)
        models.initialise_from(images, model, SMALL[Pooled])
        kernel = model.get_layer(models.STEM).get_weights()[0]
        expected = 128 * whitening.filters(whitening.patch_covariance(images), count=6, floor=5e-4)
        np.testing.assert_array_equal(expected, kernel)

    def test_of_the_stem_only_the_bias_is_trained(self):
        """Steps leave its filters as they are."""
        (before, zeros), (after, bias) = (
            trained(SMALL[Pooled], steps=steps).get_layer(models.STEM).get_weights() for steps in (0, 2)
        )
        np.testing.assert_array_equal(before, after)
        assert not zeros.any()
        assert bias.any()

    def test_first_logits_are_small(self):
        """Before the first step answers are nearly even, though the largest values of a map are far from 0."""
        recipe = Pooled(stem=24, stages=((32, 32), (64, 64)))
        model, images = build(recipe), draw(24)
        models.initialise_from(images, model, recipe)
        assert answers(model, images).max() < 0.6


class TestResNet:
    def test_is_the_network_of_mlperf_tiny(self):
        """Three stages of 16, 32 and 64: its 78,666 numbers (Banbury et al. 2021), less four of each of 240 norms."""
        recipe = ResNet(stages=(16, 32, 64))
        model = models.build(recipe, spec=ImageSpec(), num_classes=10, precision="float32", seed=0, folded=True)
        assert 78_666 - 4 * (3 * 16 + 2 * 32 + 2 * 64) == model.count_params()


class TestInitialiseFrom:
    @pytest.mark.parametrize("family", [Vgg, ResNet])
    def test_most_families_take_nothing_from_images(self, family):
        """Their weights stay as they were drawn."""
        model = build(SMALL[family])
        before = model.get_weights()
        models.initialise_from(draw(6), model, SMALL[family])
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
        content = quantize(model, images, method="min_max")
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
