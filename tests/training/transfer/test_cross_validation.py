"""Cross-validation of a head: its folds, the choice of the penalty, and answers out of the fold."""

import numpy as np
import pytest
from tests.training.transfer.drawn import CLASSES, draw

from lince.errors import TrainingError
from lince.training.transfer import cross_validation
from lince.training.transfer.cross_validation import FOLDS, STRENGTHS, choose_strength, folds, out_of_fold
from lince.training.transfer.regression import Regression

LABELS = np.repeat(np.arange(4), [10, 7, 23, 2])


class TestFolds:
    def test_classes_are_spread_evenly(self):
        """No fold has two images more of a class than another, nor of all classes together."""
        fold = folds(LABELS, seed=3)
        assert list(range(FOLDS)) == np.unique(fold).tolist()
        for label in range(4):
            counts = np.bincount(fold[LABELS == label], minlength=FOLDS)
            assert np.ptp(counts) <= 1
        assert np.ptp(np.bincount(fold)) <= 1

    def test_seed_decides(self):
        """The same seed gives the same folds, another one others."""
        assert np.array_equal(folds(LABELS, seed=0), folds(LABELS, seed=0))
        assert not np.array_equal(folds(LABELS, seed=0), folds(LABELS, seed=1))

    def test_groups_stay_together(self):
        """Images of one group share a fold, and classes are still spread as evenly as groups of three allow."""
        labels, groups = np.repeat(np.arange(2), 60), np.arange(120) // 3
        fold = folds(labels, seed=0, groups=groups)
        assert all(len(np.unique(fold[groups == group])) == 1 for group in range(40))
        assert np.ptp([np.bincount(fold[labels == label], minlength=FOLDS) for label in (0, 1)]) <= 3

    def test_fewer_groups_than_folds(self):
        """Every fold that is numbered has an image."""
        assert [0, 1] == np.unique(folds(np.array([0, 0, 1, 1]), seed=0, groups=np.array([5, 5, 9, 9]))).tolist()

    def test_one_group(self):
        """There is nothing to hold out."""
        with pytest.raises(TrainingError, match=r"All 4 training images are of one group\. Expected two"):
            folds(np.array([0, 0, 1, 1]), seed=0, groups=np.zeros(4, np.int64))


class TestChooseStrength:
    def test_noise_asks_for_a_strong_penalty(self):
        """Where the features tell the classes apart less, the chosen penalty is stronger."""
        clear, labels = draw(90, spread=0.3)
        noisy, _ = draw(90, spread=6)
        options = {"num_classes": CLASSES, "seed": 0}
        assert choose_strength(noisy, labels, **options) >= 0.3
        assert choose_strength(clear, labels, **options) < 0.1

    def test_many_images_are_held_out_in_fewer_folds(self, monkeypatch):
        """Fewer heads are fitted, and the images that none of them held out are not counted."""
        features, labels = draw(90, spread=2)
        fitted: list[int] = []
        init = Regression.__init__

        def recorded(self, *args, subsets, **options):
            fitted.append(subsets.shape[1])
            init(self, *args, subsets=subsets, **options)

        monkeypatch.setattr(Regression, "__init__", recorded)
        full = choose_strength(features, labels, num_classes=CLASSES, seed=0)
        monkeypatch.setattr(cross_validation, "_ENOUGH_HELD_OUT", 30)
        assert (
            abs(STRENGTHS.index(full) - STRENGTHS.index(choose_strength(features, labels, num_classes=3, seed=0))) < 2
        )
        assert [FOLDS, 2] == fitted


class TestOutOfFold:
    def test_answers_are_of_heads_that_do_not_know_the_image(self):
        """A head that is fitted by hand to the other folds gives the same answers to the first view."""
        features, labels = draw(90, spread=2)
        found = out_of_fold(features, labels, num_classes=CLASSES, strength=0.1, seed=0)
        assert (90, CLASSES) == found.logits.shape
        for number in range(FOLDS):
            held = found.folds == number
            regression = Regression(features, labels, subsets=~held[:, None], num_classes=CLASSES)
            [layers] = regression.path([0.1])
            expected = layers.logits(features[held, 0].astype(np.float32))[:, 0]
            np.testing.assert_allclose(expected, found.logits[held], atol=0.02)

    def test_copies_in_one_group_do_not_help_each_other(self):
        """Copies with random labels are recognised when they are in several folds, and not when they share one."""
        rng = np.random.default_rng(0)
        features = np.repeat(rng.normal(2, 1, (30, 1, 40)), 4, axis=0).astype(np.float16)
        labels, groups = np.repeat(rng.permutation(np.arange(30) % CLASSES), 4), np.arange(120) // 4
        options = {"num_classes": CLASSES, "strength": 0.01, "seed": 0}
        apart = out_of_fold(features, labels, **options).logits
        together = out_of_fold(features, labels, **options, groups=groups).logits
        assert (apart.argmax(axis=1) == labels).mean() > 0.95
        assert (together.argmax(axis=1) == labels).mean() < 0.6

    def test_images_whose_class_is_of_one_group_are_named(self):
        """The head of their fold has never seen the class, so that it is always wrong."""
        features, labels = draw(60)
        groups = np.where(labels == 1, 1000, np.arange(60))
        found = out_of_fold(features, labels, num_classes=CLASSES, strength=0.1, seed=0, groups=groups)
        np.testing.assert_array_equal(labels != 1, found.is_of_known_class)
        assert not (found.logits.argmax(axis=1) == labels)[labels == 1].any()
