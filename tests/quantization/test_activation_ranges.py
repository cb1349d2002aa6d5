"""Activation ranges cover 99 % of the images; the input's is known."""

import numpy as np
import pytest

from lince.inference.interpreter import logits
from lince.quantization.quantizer import without_quantization


def test_cover_99_percent_of_the_images(network, ranges, images):
    """The last activation's range is the quantiles of the smallest and the largest logit of each image."""
    exact = logits(without_quantization(network), images)
    expected = np.quantile(exact.min(axis=1), 0.01), np.quantile(exact.max(axis=1), 0.99)
    np.testing.assert_allclose(expected, (ranges["logits"]["min"][0], ranges["logits"]["max"][0]), atol=1e-5)


def test_input_is_known(ranges):
    """The input's range is that of pixels 0..255, whatever the images hold."""
    assert (-1, 127 / 128) == pytest.approx((ranges["pixels"]["min"][0], ranges["pixels"]["max"][0]))
