"""Input drift: exact statistics of pixels, and a reference whose bins are those in which later images are counted."""

import math

import numpy as np
import pytest

from lince import drift


def images(count: int, *, seed: int = 0, low: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, 256, (count, 8, 6, 3), np.uint8)


class TestStatistics:
    def test_are_mean_and_standard_deviation(self):
        """Of all values of a small image."""
        several = images(3)
        expected = ([image.mean() for image in several], [image.std() for image in several])
        assert drift.statistics(several) == (
            pytest.approx(expected[0], rel=1e-12),
            pytest.approx(expected[1], rel=1e-12),
        )

    def test_are_the_same_alone_and_among_others(self):
        """To the bit."""
        several = images(64, seed=3)
        alone = [drift.statistics(several[place : place + 1]) for place in range(64)]
        assert drift.statistics(several) == ([mean for [mean], _ in alone], [deviation for _, [deviation] in alone])

    @pytest.mark.parametrize("value", [0, 7, 255])
    def test_a_uniform_image_has_no_contrast(self, value):
        """Exactly none: rounding would scatter such images over the bins."""
        assert drift.statistics(np.full((1, 5, 7, 3), value, np.uint8)) == ([value], [0])

    def test_a_large_image_is_read_on_a_grid(self):
        """Every eighth row and fifth column of 128 × 80 pixels: 16 × 16 of them."""
        image = np.zeros((128, 80, 3), np.uint8)
        image[::8, ::5] = 200
        assert drift.statistics(image[None]) == ([200], [0])

    def test_a_size_that_the_grid_does_not_divide(self):
        """17 rows are read as 9, so that no more than 16 are."""
        image = np.zeros((17, 1, 3), np.uint8)
        image[::2] = 9
        assert drift.statistics(image[None]) == ([9], [0])


class TestReference:
    def test_bins_hold_a_tenth_each(self):
        """Of a hundred different images, whose classes are counted as well."""
        found = drift.reference(images(100), np.arange(100) % 4, num_classes=5)
        assert found.n == 100
        assert found.classes == (0.25, 0.25, 0.25, 0.25, 0)
        for binned in (found.brightness, found.contrast):
            assert binned.shares == pytest.approx([0.1] * 10)
            assert list(binned.edges) == sorted(set(binned.edges))

    def test_the_same_images_have_the_same_shares(self):
        """A service that gets the validation images counts the shares of the reference, also where values are equal."""
        pictures = np.concatenate([images(7), np.zeros((5, 8, 6, 3), np.uint8), images(3, seed=1, low=200)])
        found = drift.reference(pictures, np.zeros(15, int), num_classes=2)
        for place, binned in enumerate((found.brightness, found.contrast)):
            bins = [drift.bin_of(value, binned.edges) for value in drift.statistics(pictures)[place]]
            assert tuple(np.bincount(bins, minlength=10) / 15) == binned.shares

    def test_one_image(self):
        """All edges are its value, and it is in the last bin."""
        found = drift.reference(images(1), np.array([1]), num_classes=2)
        assert found.classes == (0, 1)
        assert found.brightness.shares == (*[0] * 9, 1)

    def test_other_images_are_in_other_bins(self):
        """Brighter ones are in the last bin: the index, which is 0 for the same images, is large."""
        found = drift.reference(images(50), np.zeros(50, int), num_classes=2).brightness
        bins = [drift.bin_of(value, found.edges) for value in drift.statistics(images(50, low=200))[0]]
        assert set(bins) == {9}
        assert math.log(1 / found.shares[9]) > 2
