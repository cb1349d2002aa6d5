"""Batch norm: the fused kernel and the plain formula agree, and at rest it is an affine map."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lince.networks.batch_norm import BatchNorm, _normalise, _normalise_fused

EPSILON = 1e-5


@pytest.fixture
def inputs() -> np.ndarray:
    """f32[6,5,4,3], each channel with a mean and spread of its own."""
    return np.random.default_rng(0).normal((1, -2, 5), (0.5, 1, 3), (6, 5, 4, 3)).astype(np.float32)


class TestNormalise:
    @pytest.mark.parametrize("normalise", [_normalise, _normalise_fused])
    def test_is_the_formula(self, inputs, normalise):
        """Minus the mean, over the deviation, plus the bias; the variance that comes back is the unbiased one."""
        bias = np.array([0.5, 0, -1], np.float32)
        found, mean, variance = normalise(tf.constant(inputs), tf.constant(bias), EPSILON)
        expected = (inputs - inputs.mean((0, 1, 2))) / np.sqrt(inputs.var((0, 1, 2)) + EPSILON) + bias
        np.testing.assert_allclose(expected, found, atol=2e-5)
        np.testing.assert_allclose(inputs.mean((0, 1, 2)), mean, atol=1e-5)
        np.testing.assert_allclose(inputs.var((0, 1, 2), ddof=1), variance, rtol=1e-5)

    @pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.05)])
    def test_gradients_agree(self, inputs, dtype, tolerance):
        """Whichever path is taken, inputs and bias are told the same."""
        rows, bias = tf.cast(inputs, dtype), tf.constant([0.5, 0, -1])
        weights = tf.cast(np.random.default_rng(1).normal(size=inputs.shape), dtype)
        gradients = []
        for normalise in (_normalise, _normalise_fused):
            with tf.GradientTape() as tape:
                tape.watch([rows, bias])
                loss = tf.reduce_sum(tf.cast(weights * normalise(rows, bias, EPSILON)[0], "float32"))
            gradients.append([tf.cast(one, "float32") for one in tape.gradient(loss, [rows, bias])])
        for one, two in zip(*gradients, strict=True):
            np.testing.assert_allclose(one, two, rtol=tolerance, atol=tolerance)

    def test_one_value_a_channel(self):
        """A single image of one pixel has no spread; nothing is divided by 0."""
        for normalise in (_normalise, _normalise_fused):
            found, _, variance = normalise(tf.ones((1, 1, 1, 2)), tf.zeros(2), EPSILON)
            np.testing.assert_array_equal(np.zeros((1, 1, 1, 2)), found)
            np.testing.assert_array_equal(np.zeros(2), variance)


class TestLayer:
    def test_follows_the_batches(self, inputs):
        """Each step moves mean and variance by 40 % of the way to the batch's."""
        layer = BatchNorm()
        for _ in range(2):
            layer(inputs, training=True)
        share = 1 - 0.6**2
        np.testing.assert_allclose(share * inputs.mean((0, 1, 2)), layer.moving_mean, rtol=1e-4)
        expected = 0.6**2 + share * inputs.var((0, 1, 2), ddof=1)
        np.testing.assert_allclose(expected, layer.moving_variance, rtol=1e-4)

    def test_at_rest_it_is_affine(self, inputs):
        """Not in training, one batch's values do not touch another's: scale and shift are all."""
        layer = BatchNorm()
        layer(inputs, training=True)
        layer.bias.assign([0.5, 0, -1])
        scale, shift = layer.affine()
        before = layer.get_weights()
        np.testing.assert_allclose(inputs * scale + shift, layer(inputs), rtol=1e-5, atol=1e-5)
        assert all(np.array_equal(*pair) for pair in zip(before, layer.get_weights(), strict=True))

    def test_a_constant_channel_is_its_bias(self, inputs):
        """Its weights would be 300 times all others', and int8 has one range for what they answer."""
        layer, constant = BatchNorm(), np.where(np.arange(3) == 1, 7, inputs).astype(np.float32)
        for _ in range(60):
            layer(constant, training=True)
        layer.bias.assign([0.5, 0.25, -1])
        scale, shift = layer.affine()
        assert (0, 0.25) == (scale[1], shift[1])
        np.testing.assert_allclose(constant * scale + shift, layer(constant), atol=2e-3)
        assert (np.asarray(layer(constant + 1))[..., 1] == 0.25).all()

    @pytest.mark.parametrize("training", [True, False])
    def test_computes_in_the_type_of_its_input(self, inputs, training):
        """bf16 in, bf16 out, near what float32 gives; weights and statistics stay float32."""
        exact, rounded = BatchNorm(), BatchNorm(dtype="mixed_bfloat16")
        found = rounded(keras.ops.cast(inputs, "bfloat16"), training=training)
        assert "bfloat16" == keras.backend.standardize_dtype(found.dtype)
        assert {"float32"} == {keras.backend.standardize_dtype(weight.dtype) for weight in rounded.weights}
        difference = abs(keras.ops.cast(found, "float32") - exact(inputs, training=training))
        assert float(keras.ops.max(difference)) < 0.1

    def test_comes_back_from_its_config(self):
        """Keras can write it down and read it."""
        layer = BatchNorm(momentum=0.9, epsilon=1e-3, name="stage1_conv1_norm")
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        assert isinstance(again, BatchNorm)
        assert (0.9, 1e-3, "stage1_conv1_norm") == (again.momentum, again.epsilon, again.name)
