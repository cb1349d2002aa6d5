"""Convolutions begin by passing their inputs through; what is left over is noise."""

import keras
import numpy as np
import pytest

from lince.networks.initializer import PassThrough


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
