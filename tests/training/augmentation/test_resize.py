"""Smaller images for the first phases are those that Keras would make."""

import numpy as np
import pytest
from keras import ops

from lince.training.augmentation.resize import shrink


@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, 24), (32, 32, 19), (9, 17, 8), (8, 8, 8)])
def test_as_keras_does(height, width, size):
    """Pixel by pixel, to a ten-thousandth of a grey level."""
    pixels = np.random.default_rng(0).uniform(0, 255, (3, height, width, 3)).astype(np.float32)
    expected = ops.convert_to_numpy(ops.image.resize(pixels, (size, size), antialias=True))
    found = ops.convert_to_numpy(shrink(pixels, size))
    assert found.shape == (3, size, size, 3)
    assert np.abs(found - expected).max() < 1e-4


def test_tensors_are_taken_too():
    """What the affine map returns is one."""
    pixels = np.full((2, 8, 8, 3), 7, np.float32)
    assert np.allclose(7, ops.convert_to_numpy(shrink(ops.convert_to_tensor(pixels), 5)))
