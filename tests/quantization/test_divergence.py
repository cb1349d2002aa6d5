"""The divergence of two networks' logits, by hand."""

import numpy as np
import pytest

from lince.quantization import divergence


def test_same():
    """Equal logits, or logits shifted by a constant an image, do not diverge at all."""
    logits = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    found = divergence.measure(logits, logits + np.arange(9, dtype=np.float32)[:, None])
    assert 0 == pytest.approx(found.kl, abs=1e-9)
    assert (0, 0) == pytest.approx((found.logit_error, found.disagreement), abs=1e-6)


def test_by_hand():
    """Half against a fifth: KL = ½·ln(½/0.2) + ½·ln(½/0.8)."""
    exact, other = np.log([[0.5, 0.5]]).astype(np.float32), np.log([[0.2, 0.8]]).astype(np.float32)
    assert 0.5 * np.log(2.5) + 0.5 * np.log(0.625) == pytest.approx(divergence.measure(exact, other).kl, rel=1e-5)


def test_opposite():
    """Everything turned round: twice as far off as the logits spread, every answer changed."""
    logits = np.array([[1, -1], [-2, 2]], np.float32)
    found = divergence.measure(logits, -logits)
    assert (2, 1) == pytest.approx((found.logit_error, found.disagreement))
