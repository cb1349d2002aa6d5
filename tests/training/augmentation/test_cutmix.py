"""CutMix takes whole rectangles from other images, and the targets follow their areas."""

import numpy as np
import pytest

from lince.training.augmentation.cutmix import Mix, cutmix
from lince.training.distillation.cached_teacher import CachedTeacher
from lince.training.recipe import Train
from lince.training.soft_targets import Targets
from lince.types import Split


def numbered(n: int, *, height: int = 8, width: int = 10) -> np.ndarray:
    """Images of which every pixel is the number of the image."""
    return np.broadcast_to(np.arange(n, dtype=np.float32)[:, None, None, None], (n, height, width, 3)).copy()


class TestCutmix:
    def test_without_a_share_nothing_is_drawn(self):
        """The same array, and what follows from the generator is what it was."""
        pixels, rng = numbered(4), np.random.default_rng(0)
        found, mix = cutmix(pixels, 0, rng)
        assert (pixels is found, None) == (True, mix)
        assert np.random.default_rng(0).random() == rng.random()

    def test_a_rectangle_of_another_at_its_own_place(self):
        """In each image: its own pixels, and one rectangle from the image that is named, of the area that is told."""
        pixels = numbered(50) + np.random.default_rng(1).random(
            (1, 8, 10, 1), np.float32
        )  # each place has its own digits
        before = pixels.copy()
        found, mix = cutmix(pixels, 1, np.random.default_rng(0))
        np.testing.assert_array_equal(before, pixels)
        for index, image in enumerate(found):
            own = (image == pixels[index]).all(axis=2)
            np.testing.assert_array_equal(pixels[mix.others[index]][~own], image[~own])
            rows, columns = np.flatnonzero(~own.all(axis=1)), np.flatnonzero(~own.all(axis=0))
            if mix.others[index] != index:
                assert own.mean() == pytest.approx(mix.shares[index], abs=1e-6)
                assert (~own).sum() == len(rows) * len(columns)
        assert mix.shares.min() < 0.3
        assert mix.shares.max() > 0.9

    def test_befalls_its_share_of_the_images(self):
        """A quarter of a thousand, within five standard errors, less those whose rectangle has no pixel."""
        _, mix = cutmix(numbered(1000), 0.25, np.random.default_rng(0))
        assert 170 < (mix.shares < 1).sum() < 320
        assert sorted(mix.others) == list(range(1000))

    def test_area_is_uniform_but_for_the_border(self):
        """Of side s, (s − s²/4)² is inside on average; with s² uniform that is 1/2 − 1/5 + 1/48 of a picture."""
        _, mix = cutmix(numbered(4000, height=32, width=32), 1, np.random.default_rng(0))
        assert 1 - mix.shares.mean() == pytest.approx(1 / 2 - 1 / 5 + 1 / 48, abs=0.02)

    def test_one_image(self):
        """It is mixed with itself."""
        found, mix = cutmix(numbered(1), 1, np.random.default_rng(0))
        np.testing.assert_array_equal(numbered(1), found)
        assert [0] == mix.others.tolist()


class TestTargets:
    labels = np.array([0, 1, 2, 2])
    mix = Mix(np.array([1, 0, 3, 0]), np.array([0.75, 0.5, 0.2, 0], np.float32))

    def test_follow_the_areas(self):
        """Three quarters of the first label, one of the second's, and so on; smoothing stays what it is."""
        options = Train(epochs=1, batch_size=4, learning_rate=0.1)
        found = Targets(self.labels, 3, options, None)(np.arange(4), np.zeros((4, 2, 2, 3)), self.mix)
        np.testing.assert_allclose([[0.75, 0.25, 0], [0.5, 0.5, 0], [0, 0, 1], [1, 0, 0]], found)

    def test_each_label_keeps_its_weight(self):
        """A rare class counts for as much of a picture as it has, and the other in it for no more than it would."""
        options = Train(epochs=1, batch_size=4, learning_rate=0.1, class_balance=1)
        mix = Mix(np.array([2, 0, 3, 0]), np.array([0.5, 0.5, 0.2, 0], np.float32))
        found = Targets(self.labels, 3, options, None)(np.arange(4), np.zeros((4, 2, 2, 3)), mix)
        rare, common = 4 / 3, 2 / 3
        expected = [[rare / 2, 0, common / 2], [rare / 2, rare / 2, 0], [0, 0, common], [rare, 0, 0]]
        np.testing.assert_allclose(expected, found, rtol=1e-6)

    def test_a_teacher_weighs_what_the_labels_weigh(self):
        """Its answer is spread over as much weight as the mixed picture has."""
        options = Train(
            epochs=1, batch_size=4, learning_rate=0.1, class_balance=1, teacher_weight=1.0, teacher_temperature=1.0
        )
        logits = np.log(np.array([[0.7, 0.2, 0.1]], np.float32))
        targets = Targets(self.labels, 3, options, lambda images: np.repeat(logits, len(images), axis=0))
        mix = Mix(np.array([2, 0, 3, 0]), np.array([0.5, 0.5, 0.2, 0], np.float32))
        found = targets(np.arange(4), np.zeros((4, 2, 2, 3)), mix)
        np.testing.assert_allclose(np.outer([1, 4 / 3, 2 / 3, 4 / 3], [0.7, 0.2, 0.1]), found, rtol=1e-5)

    @pytest.mark.parametrize("balance", [0, 1])
    def test_cached_answers_are_mixed_like_labels(self, balance):
        """They are for the training images: a teacher that answers the labels changes nothing, whatever they weigh."""
        pixels = np.tile(np.arange(4, dtype=np.uint8)[:, None, None, None], (1, 2, 2, 3))
        split = Split(images=pixels, labels=self.labels, classes=("a", "b", "c"), names=("0", "1", "2", "3"))

        def teacher(images: np.ndarray) -> np.ndarray:
            return 100 * np.eye(3, dtype=np.float32)[self.labels[images[:, 0, 0, 0]]]

        options = Train(epochs=1, batch_size=4, learning_rate=0.1, class_balance=balance, teacher_weight=0.9)
        mix, order = Mix(np.array([2, 0, 3, 0]), np.array([0.5, 0.5, 0.2, 0], np.float32)), np.array([3, 0, 1, 2])
        labels, taught = (
            Targets(self.labels, 3, options, None, cached)(order, pixels, mix)
            for cached in (None, CachedTeacher(teacher, split, mirror=False))
        )
        np.testing.assert_allclose(labels, taught, atol=1e-6)

    def test_a_teacher_answers_for_what_it_sees(self):
        """It has seen the mixed picture itself: its part of the target is not mixed."""
        options = Train(epochs=1, batch_size=4, learning_rate=0.1, teacher_weight=1.0, teacher_temperature=1.0)
        logits = np.log(np.array([[0.7, 0.2, 0.1]], np.float32))
        targets = Targets(self.labels, 3, options, lambda images: np.repeat(logits, len(images), axis=0))
        found = targets(np.arange(4), np.zeros((4, 2, 2, 3)), self.mix)
        np.testing.assert_allclose(np.repeat([[0.7, 0.2, 0.1]], 4, axis=0), found, rtol=1e-5)
