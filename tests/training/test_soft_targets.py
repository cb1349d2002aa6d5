"""Targets are labels, softened or mixed with a teacher's answers; rare classes weigh more where that is asked for."""

import numpy as np
import pytest

from lince.training.recipe import Train
from lince.training.soft_targets import Targets, class_weights

LABELS = np.array([0, 1, 2, 2])
PIXELS = np.zeros((4, 2, 2, 3), np.float32)
EVERY = np.arange(4)


def options(**changes: object) -> Train:
    return Train(**{"epochs": 1, "batch_size": 8, "learning_rate": 0.1} | changes)


def sure_of_class_1(images: np.ndarray) -> np.ndarray:
    """A teacher whose answer at temperature 2 is e / (e + 2) and 1 / (e + 2)."""
    return np.tile(np.array([0, 2, 0], np.float32), (len(images), 1))


class TestRows:
    def test_labels_alone(self):
        """Without smoothing and teacher: a 1 for the label of each index, in the order of the indices."""
        found = Targets(LABELS, 3, options(), None)(np.array([3, 0]), PIXELS[:2])
        assert np.float32 == found.dtype
        np.testing.assert_array_equal([[0, 0, 1], [1, 0, 0]], found)

    def test_smoothing(self):
        """The share is spread over all classes, the label's too."""
        found = Targets(LABELS, 3, options(label_smoothing=0.3), None)(EVERY[:1], PIXELS[:1])
        np.testing.assert_allclose([[0.8, 0.1, 0.1]], found, rtol=1e-6)

    def test_teacher(self):
        """Its share of each target is its answer at its temperature; the smoothed label has the rest."""
        recipe = options(label_smoothing=0.3, teacher_weight=0.75, teacher_temperature=2.0)
        found = Targets(LABELS, 3, recipe, sure_of_class_1)(EVERY[:1], PIXELS[:1])
        taught = np.array([1, np.e, 1]) / (np.e + 2)
        np.testing.assert_allclose([0.25 * np.array([0.8, 0.1, 0.1]) + 0.75 * taught], found, rtol=1e-6)

    @pytest.mark.parametrize("teacher", [None, sure_of_class_1])
    @pytest.mark.parametrize(("balance", "sums"), [(0, [1, 1, 1, 1]), (1, [4 / 3, 4 / 3, 2 / 3, 2 / 3])])
    def test_add_up_to_the_weight_of_the_class(self, teacher, balance, sums):
        """Whatever is mixed in: 1 each, or, with one image of two classes and two of the third, these."""
        found = Targets(LABELS, 3, options(label_smoothing=0.2, class_balance=balance), teacher)(EVERY, PIXELS)
        np.testing.assert_allclose(sums, found.sum(axis=1), rtol=1e-6)

    def test_teacher_sees_the_very_pixels(self):
        """As a server would get them: rounded to whole pixels, within 0..255."""
        seen = []

        def teacher(images: np.ndarray) -> np.ndarray:
            seen.append(images)
            return sure_of_class_1(images)

        pixels = np.array([-3, 0.4, 0.6, 254.6, 300, 128], np.float32).reshape(1, 1, 2, 3)
        Targets(LABELS, 3, options(), teacher)(EVERY[:1], pixels)
        assert np.uint8 == seen[0].dtype
        assert [0, 0, 1, 255, 255, 128] == seen[0].ravel().tolist()


class TestClassWeights:
    @pytest.mark.parametrize(
        ("counts", "balance", "expected"),
        [
            ([90, 10], 0, [1, 1]),
            ([90, 10], 1, [5 / 9, 5]),
            ([90, 10], 0.5, [5 / 6, 2.5]),
            ([25, 25, 50], 1, [4 / 3, 4 / 3, 2 / 3]),
            ([40, 40], 0.7, [1, 1]),
        ],
    )
    def test_worked_by_hand(self, counts, balance, expected):
        """The count to the power of −balance, scaled to 1 on average over the images."""
        found = class_weights(np.array(counts), balance=balance)
        np.testing.assert_allclose(expected, found, rtol=1e-6)
        assert np.average(found, weights=counts) == pytest.approx(1)

    def test_full_balance_gives_every_class_the_same_say(self):
        """Weight times count is one number."""
        counts = np.array([7, 50, 3, 20])
        assert np.ptp(class_weights(counts, balance=1) * counts) < 1e-4

    @pytest.mark.parametrize(
        ("counts", "expected"),
        [([999, 1], [990 / 999, 10]), ([9990] + [1] * 10, [9900 / 9990] + [10] * 10), ([1000, 30, 1], None)],
        ids=["one image", "ten classes of one", "one after the other"],
    )
    def test_rare_images_are_bounded(self, counts, expected):
        """Ten means are enough, of all images as they weigh in the end: the others get what is cut off."""
        counts = np.array(counts)
        found = class_weights(counts, balance=1)
        assert np.average(found, weights=counts) == pytest.approx(1)
        assert 10 == found.max()
        if expected:
            np.testing.assert_allclose(expected, found, rtol=1e-6)

    def test_class_without_images(self):
        """It weighs something finite, and takes nothing from the others."""
        found = class_weights(np.array([10, 0, 10]), balance=1)
        assert np.isfinite(found).all()
        np.testing.assert_allclose([1, 1], found[[0, 2]], rtol=1e-6)
