"""The stem's filters make neighbouring pixels uncorrelated and equally strong."""

import numpy as np
import pytest

import synthetic
from lince.networks import whitening


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Pictures in which neighbours are alike."""
    return synthetic.batch(30, seed=1)[0]


def patches(images: np.ndarray) -> np.ndarray:
    """f64[N,12], every 2×2 patch of every image, written out."""
    found = [
        image[y : y + 2, x : x + 2].ravel()
        for image in images
        for y in range(image.shape[0] - 1)
        for x in range(image.shape[1] - 1)
    ]
    return np.array(found, np.float64)


class TestPatchCovariance:
    def test_is_that_of_every_patch(self, images):
        """To the last digits what NumPy finds in all patches at once."""
        np.testing.assert_allclose(np.cov(patches(images[:4]).T), whitening.patch_covariance(images[:4]), rtol=1e-9)

    def test_images_need_not_be_square(self):
        """Rows and columns are not mixed up."""
        images = np.random.default_rng(0).integers(0, 256, (3, 5, 9, 3), dtype=np.uint8)
        np.testing.assert_allclose(np.cov(patches(images).T), whitening.patch_covariance(images), rtol=1e-9)


class TestFilters:
    @pytest.mark.parametrize("floor", [5e-4, 0.5])
    def test_responses_are_uncorrelated(self, images, floor):
        """On the images themselves; each has variance λ / (λ + floor), all near 1 where the floor is low."""
        covariance = whitening.patch_covariance(images)
        kernel = whitening.filters(covariance, count=24, floor=floor).reshape(12, 24)
        found = np.cov((patches(images) @ kernel[:, :12]).T)
        variances = np.linalg.eigvalsh(covariance)[::-1]
        expected = variances / (variances + floor * np.diag(covariance).mean())
        np.testing.assert_allclose(np.diag(expected), found, atol=1e-4)

    def test_leading_directions_and_their_negatives(self, images):
        """Fewer filters are the first of all; the second half mirrors the first, since ReLU takes half of each."""
        covariance = whitening.patch_covariance(images)
        every, few = (whitening.filters(covariance, count=count, floor=0.01) for count in (24, 8))
        assert ((2, 2, 3, 8), np.float32) == (few.shape, few.dtype)
        np.testing.assert_array_equal(every[..., :4], few[..., :4])
        np.testing.assert_array_equal(-few[..., :4], few[..., 4:])

    def test_images_of_one_colour(self):
        """There is nothing to tell apart, and nothing to divide by."""
        covariance = whitening.patch_covariance(np.full((3, 8, 8, 3), 90, np.uint8))
        assert np.isfinite(whitening.filters(covariance, count=24, floor=0.01)).all()

    def test_floor_bounds_what_is_hardly_there(self):
        """Directions with a variance of 1 beside 3,000: their filters grow as the floor lets them."""
        covariance = np.diag([3000.0] * 4 + [1.0] * 8)
        low, high = (abs(whitening.filters(covariance, count=24, floor=floor)).max() for floor in (1e-2, 1))
        assert low / high == pytest.approx((1001 / 11) ** 0.5, rel=0.05)

    def test_mixtures_stand_in_for_what_does_not_vary(self):
        """Eight of twelve directions hold nothing but rounding: every filter keeps to the four that vary."""
        covariance = np.diag([3000.0] * 4 + [0.08] * 8)
        kernel = whitening.filters(covariance, count=24, floor=1e-4).reshape(12, 24)[:, :12]
        assert not kernel[4:].any()
        np.testing.assert_allclose(np.diag(kernel.T @ covariance @ kernel), 1, rtol=1e-3)
        assert 12 == len({column.tobytes() for column in kernel.T})
