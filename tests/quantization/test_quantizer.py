"""Static int8 answers as the float model does, and refuses what it cannot turn into int8."""

import keras
import numpy as np
import pytest

import synthetic
from lince import metrics
from lince.errors import QuantizationError
from lince.inference.interpreter import Network
from lince.inference.interpreter import logits as logits_of
from lince.model_file.manifest import Arithmetic
from lince.networks import models
from lince.networks.vgg import Vgg
from lince.quantization.comparison import divergence
from lince.quantization.quantizer import quantize, without_quantization
from lince.types import ImageSpec
from training_fixtures import quantized


@pytest.fixture(scope="module")
def logits(trained_model: keras.Model, int8: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Logits f32[90,3] of the float and the int8 network for new pictures."""
    images, _ = synthetic.batch(90, seed=11)
    exact = models.normalised_to_logits(trained_model)((images.astype(np.float32) - 128) / 128)
    network = Network(int8)
    return keras.ops.convert_to_numpy(exact), network.dequantize(network.run(images))


class TestQuantize:
    def test_logits_agree(self, logits):
        """Int8 logits are those of the float model, but for a few steps of 1/256 of their range."""
        exact, rounded = logits
        assert np.corrcoef(exact.ravel(), rounded.ravel())[0, 1] > 0.99
        assert abs(exact - rounded).mean() < 0.03 * np.ptp(exact)

    def test_answers_agree(self, logits):
        """The two answer alike on nearly all pictures, with nearly the same probability."""
        exact, rounded = logits
        assert (exact.argmax(axis=1) == rounded.argmax(axis=1)).mean() >= 0.95
        assert abs(metrics.softmax(exact) - metrics.softmax(rounded)).mean() < 0.03

    def test_deterministic(self, trained_model, int8, splits):
        """The same model and images give the same network: its version says what it is."""
        network = Network(quantized(trained_model, splits[0].images[::3]))
        images, _ = synthetic.batch(30, seed=2)
        np.testing.assert_array_equal(Network(int8).run(images), network.run(images))

    def test_order_of_the_images_does_not_matter(self, trained_model, int8, splits):
        """Ranges are those of all images: sorted by class or backwards, they give the same network."""
        network = Network(quantized(trained_model, splits[0].images[::3][::-1]))
        images, _ = synthetic.batch(30, seed=2)
        np.testing.assert_array_equal(Network(int8).run(images), network.run(images))

    def test_no_two_classes_meet_at_the_end_of_the_range(self, int8, splits):
        """Of the images that ranges were read from, one in a hundred may exceed them, but by one class alone."""
        logits = Network(int8).run(splits[0].images[::3])
        assert (logits == 127).sum(axis=1).max() <= 1

    def test_quarter_of_the_bytes(self, trained_model, int8):
        """A weight is a byte: the network is well under half the size of its float weights."""
        assert len(int8) < trained_model.count_params() * 4 / 2

    def test_leaves_no_files_and_says_nothing(self, trained_model, splits, capfd, tmp_path, monkeypatch):
        """Exporter and quantizer keep quiet on stdout, where results belong, and clean up after themselves."""
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr("tempfile.tempdir", None)
        quantized(trained_model, splits[0].images[:2])
        assert "" == capfd.readouterr().out
        assert [] == list(tmp_path.iterdir())

    def test_refuses_operations_in_float(self, splits):
        """A network with an operation that the quantizer does not know is not handed out; the sentence names it."""
        pixels = keras.Input((32, 32, 3))
        hidden = keras.layers.Rescaling(1 / 128, -1, name="normalise")(pixels)
        hidden = keras.layers.Activation("elu", name="bend")(keras.layers.Conv2D(4, 3, name="conv")(hidden))
        logits = keras.layers.Dense(3, name="logits")(keras.layers.Flatten()(hidden))
        with pytest.raises(QuantizationError, match=r"operations are left in float: bend\. Expected none"):
            quantized(keras.Model(pixels, logits), splits[0].images[:2])

    def test_other_sizes(self):
        """Images need not be square, nor 32 pixels wide."""
        recipe = Vgg(blocks=((4,),), block_dropout=(0,), dense=(), dense_dropout=0)
        spec = ImageSpec(16, 24)
        model = models.build(recipe, spec=spec, num_classes=2, precision="float32", seed=0)
        images = np.random.default_rng(0).integers(0, 256, (4, *spec.shape), dtype=np.uint8)
        network = Network(quantized(model, images))
        assert ((16, 24, 3), 2) == (network.input_shape, network.num_classes)
        assert (4, 2) == network.run(images).shape

    @pytest.mark.parametrize("sign", [1, -1])
    def test_bias_of_a_filter_that_is_almost_zero(self, sign):
        """It is far above what 31 bits hold in the filter's own scale, and is neither clipped nor of another sign."""
        recipe = Vgg(blocks=((4,),), block_dropout=(0,), dense=(), dense_dropout=0)
        model = models.build(recipe, spec=ImageSpec(16, 16), num_classes=2, precision="float32", seed=0, folded=True)
        convolution = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
        kernel, bias = convolution.get_weights()
        kernel[..., 0], bias[0] = 1e-12 * kernel[..., 0], sign
        convolution.set_weights([kernel, bias])
        images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
        exact = models.float_predict(model)(images).logits
        found = logits_of(quantized(model, images), images)
        assert divergence(exact, found).logit_error < 0.1


class TestFloatLayers:
    def test_close_to_float(self, network, ranges, images):
        """With float layers the network takes pixels and gives real logits, no further from float than int8's."""
        flatbuffer = quantize(network, ranges, Arithmetic(("first", "shortcut")))
        assert not Network(flatbuffer).answers_in_int8
        exact = logits_of(without_quantization(network), images)
        whole = logits_of(quantize(network, ranges), images)
        found = divergence(exact, logits_of(flatbuffer, images))
        assert found.logit_error < 0.05
        assert found.kl <= 1.5 * divergence(exact, whole).kl
