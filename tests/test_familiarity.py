"""Familiarity: distances by hand, from few images, alone and among others, and of features that never vary."""

import numpy as np
import pytest

from lince import familiarity


def drawn(n: int, d: int, *, seed: int = 0) -> np.ndarray:
    """Positive features of unequal variance, correlated in pairs."""
    rng = np.random.default_rng(seed)
    features = rng.gamma(np.linspace(1, 9, d), size=(n, d))
    return (features + np.roll(features, 1, axis=1) / 2).astype(np.float32)


def test_is_the_squared_mahalanobis_distance_by_dimension():
    """With many images shrinkage vanishes; the reference is the formula, with the inverse of the covariance."""
    features = drawn(20_000, 6)
    unit = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float64)
    offsets = unit - unit.mean(axis=0)
    expected = np.einsum("ni,ij,nj->n", offsets, np.linalg.inv(offsets.T @ offsets / len(unit)), offsets) / 6
    np.testing.assert_allclose(expected, familiarity.fit(features).distances(features), rtol=0.05, atol=0.02)


def test_is_one_on_average_for_the_fitted_images():
    """Whatever the scale of the features."""
    features = drawn(5000, 12)
    assert 1 == pytest.approx(float(familiarity.fit(features).distances(features).mean()), rel=0.05)


def test_length_does_not_matter():
    """A picture of twice the contrast is as familiar, up to rounding."""
    features = drawn(300, 8)
    known = familiarity.fit(features)
    np.testing.assert_allclose(known.distances(features), known.distances(3 * features), rtol=1e-3)


def test_fewer_images_than_features_tell_others_apart():
    """Shrinkage makes a covariance of rank 39 usable: features in another order are further away than new images."""
    known = familiarity.fit(drawn(40, 100))
    new = drawn(200, 100, seed=1)
    others = new[:, ::-1]
    assert known.distances(new).max() < known.distances(others).min()


def test_a_picture_has_one_distance():
    """Alone and among others, to the bit: an answer does not depend on what came with it."""
    features = drawn(300, 176)
    known = familiarity.fit(features)
    np.testing.assert_array_equal(
        np.concatenate([known.distances(one[None]) for one in features]), known.distances(features)
    )
    assert (0,) == known.distances(features[:0]).shape


@pytest.mark.parametrize("features", [np.ones((1, 5)), np.ones((4, 5)), np.zeros((4, 5)), np.eye(5)])
def test_features_that_hardly_vary_give_numbers(features):
    """One image, equal images, dead channels: distances are finite, and the numbers within the reader's bound."""
    known = familiarity.fit(features.astype(np.float32))
    assert np.isfinite(known.distances(drawn(7, 5))).all()
    assert max(np.abs(known.mean).max(), np.abs(known.whitening).max()) < familiarity.LARGEST


def test_the_largest_numbers_give_finite_distances():
    """The reader's bound on a stranger's file keeps every distance within float32."""
    shape = 1024
    known = familiarity.Familiarity(
        np.full(shape, -familiarity.LARGEST, np.float32), np.full((shape, shape), familiarity.LARGEST, np.float32)
    )
    assert np.isfinite(known.distances(np.ones((1, shape), np.float32))).all()
