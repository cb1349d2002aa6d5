"""Metrics against values computed by hand, and what must hold whatever the numbers."""

import math

import numpy as np
import pytest

from lince import metrics
from lince.errors import LinceError
from lince.types import ClassScore

# Row = true class: 3 cats (2 right), 2 dogs (1 right), no fox in the data and one answer "fox"; nothing ever "owl".
CONFUSION = np.array([[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
CLASSES = ("cat", "dog", "fox", "owl")


def random_answers(seed: int, *, n: int = 200, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=3, size=(n, k)).astype(np.float32)
    return metrics.softmax(logits), generator.integers(0, k, n)


class TestSoftmax:
    def test_matches_values_by_hand(self):
        """Logits ln 1, ln 2, ln 5 are odds of 1 : 2 : 5."""
        logits = np.log(np.array([[1, 2, 5]], np.float32))
        np.testing.assert_allclose([[1 / 8, 2 / 8, 5 / 8]], metrics.softmax(logits), rtol=1e-6)

    def test_temperature_divides_logits(self):
        """At temperature 2 odds become their square roots."""
        logits = np.log(np.array([[1, 16, 9]], np.float32))
        np.testing.assert_allclose([[1 / 8, 4 / 8, 3 / 8]], metrics.softmax(logits, 2.0), rtol=1e-6)

    def test_survives_large_logits(self):
        """Logits whose exponential overflows give the limit, without a warning."""
        logits = np.array([[1e4, 0.0, 1e4], [-3e38, 3e38, 0]], np.float32)
        expected = np.array([[0.5, 0, 0.5], [0, 1, 0]], np.float32)
        np.testing.assert_array_equal(expected, metrics.softmax(logits))

    def test_rows_are_distributions(self):
        """Every row is float32, non-negative, and sums to 1."""
        probabilities, _ = random_answers(0)
        assert np.float32 == probabilities.dtype
        assert probabilities.min() >= 0
        np.testing.assert_allclose(1, probabilities.sum(axis=1), rtol=1e-6)

    def test_leaves_logits_alone(self):
        """The caller's array is not written to."""
        logits = np.array([[1, 2]], np.float32)
        metrics.softmax(logits, 3.0)
        np.testing.assert_array_equal([[1, 2]], logits)


class TestAccuracyInterval:
    def test_matches_published_values(self):
        """81 of 263: 0.3080 with 0.2553 to 0.3662, the worked example of Newcombe 1998, Stat. Med. 17:857, method 3."""
        interval = metrics.accuracy_interval(81, 263)
        assert tuple(round(x, 4) for x in (interval.value, interval.low, interval.high)) == (0.3080, 0.2553, 0.3662)

    def test_matches_small_values_by_hand(self):
        """5 of 10: the centre is 1/2 and the half width z/(2·√(10 + z²)), z² = 3.8415."""
        interval = metrics.accuracy_interval(5, 10)
        half = 1.959964 / (2 * math.sqrt(10 + 3.841459))
        assert (0.5, 0.5 - half, 0.5 + half) == pytest.approx((interval.value, interval.low, interval.high), abs=1e-6)

    def test_ends_are_exact(self):
        """No right answer is bounded by exactly 0, all right by exactly 1, and neither interval is empty."""
        none, all_of_them = metrics.accuracy_interval(0, 50), metrics.accuracy_interval(50, 50)
        assert (none.low, all_of_them.high) == (0.0, 1.0)
        assert none.high == pytest.approx(1 - all_of_them.low)
        assert none.high > 0.05

    @pytest.mark.parametrize(("correct", "n"), [(0, 0), (3, 2), (-1, 2)])
    def test_refuses_impossible_counts(self, correct, n):
        """There is something to count, and no more right answers than answers."""
        with pytest.raises(LinceError, match=rf"Received {correct} right answers of {n}\. Expected 0 <= right"):
            metrics.accuracy_interval(correct, n)


class TestConfusion:
    def test_counts_by_hand(self):
        """Row is the true class, column the predicted one."""
        labels, predicted = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 2])
        np.testing.assert_array_equal(CONFUSION, metrics.confusion_matrix(labels, predicted, 4))

    def test_margins_are_counts(self):
        """Rows add up to labels, columns to answers."""
        probabilities, labels = random_answers(1)
        predicted = probabilities.argmax(axis=1)
        confusion = metrics.confusion_matrix(labels, predicted, 5)
        np.testing.assert_array_equal(np.bincount(labels, minlength=5), confusion.sum(axis=1))
        np.testing.assert_array_equal(np.bincount(predicted, minlength=5), confusion.sum(axis=0))


class TestClassScores:
    def test_matches_values_by_hand(self):
        """Classes without images or without answers score 0, not NaN."""
        expected = (
            ClassScore("cat", precision=1.0, recall=2 / 3, f1=0.8, support=3),
            ClassScore("dog", precision=0.5, recall=0.5, f1=0.5, support=2),
            ClassScore("fox", precision=0.0, recall=0.0, f1=0.0, support=0),
            ClassScore("owl", precision=0.0, recall=0.0, f1=0.0, support=0),
        )
        assert expected == metrics.class_scores(CONFUSION, CLASSES)

    def test_balanced_accuracy_averages_classes_with_images(self):
        """(2/3 + 1/2) / 2; fox and owl have no images."""
        assert pytest.approx(7 / 12) == metrics.balanced_accuracy(CONFUSION)

    def test_macro_f1_averages_classes_with_images(self):
        """(0.8 + 0.5) / 2, the classes of balanced accuracy; fox was only answered, owl occurs nowhere."""
        assert pytest.approx(1.3 / 2) == metrics.macro_f1(CONFUSION)


class TestUnevenClasses:
    """90 cats, 8 dogs, 2 foxes: by hand, what scikit-learn calls `balanced_accuracy_score` and macro `f1_score`."""

    ALWAYS_CAT = np.array([[90, 0, 0], [8, 0, 0], [2, 0, 0]])
    MIXED = np.array([[81, 9, 0], [2, 6, 0], [0, 1, 1]])

    def test_always_the_largest_class_is_worth_no_more_than_chance(self):
        """90 % accuracy, but a third of the classes: recalls 1, 0 and 0."""
        assert pytest.approx(1 / 3) == metrics.balanced_accuracy(self.ALWAYS_CAT)

    def test_always_the_largest_class_has_one_f1(self):
        """F1 of cats is 2·90 / (90 + 100), of the others 0."""
        assert pytest.approx(180 / 190 / 3) == metrics.macro_f1(self.ALWAYS_CAT)

    def test_every_class_counts_alike(self):
        """Recalls 81/90, 6/8, 1/2; F1 162/173, 12/24, 2/3: the two foxes weigh as much as the ninety cats."""
        assert pytest.approx((0.9 + 0.75 + 0.5) / 3) == metrics.balanced_accuracy(self.MIXED)
        assert pytest.approx((162 / 173 + 0.5 + 2 / 3) / 3) == metrics.macro_f1(self.MIXED)

    @pytest.mark.parametrize("copies", [2, 10])
    def test_balanced_accuracy_does_not_see_how_many_a_class_has(self, copies):
        """More cats, answered in the same proportions, change nothing; accuracy they would."""
        more = self.MIXED * np.array([[copies], [1], [1]])
        assert pytest.approx(metrics.balanced_accuracy(self.MIXED)) == metrics.balanced_accuracy(more)

    def test_even_classes_make_it_accuracy(self):
        """With as many images of each class, balanced accuracy is accuracy."""
        even = np.array([[7, 2, 1], [3, 5, 2], [0, 1, 9]])
        assert pytest.approx(21 / 30) == metrics.balanced_accuracy(even)


class TestLikelihood:
    def test_matches_value_by_hand(self):
        """Probabilities 1/2 and 1/8 of the true class cost ln 2 and ln 8: 2·ln 2 on average."""
        probabilities = np.array([[0.5, 0.5], [0.875, 0.125]], np.float32)
        found = metrics.negative_log_likelihood(probabilities, np.array([0, 1]))
        assert pytest.approx(2 * math.log(2)) == found

    def test_is_finite_for_impossible_classes(self):
        """A probability of 0 costs −ln of the smallest normal float32."""
        found = metrics.negative_log_likelihood(np.array([[1, 0]], np.float32), np.array([1]))
        assert pytest.approx(126 * math.log(2)) == found

    def test_refuses_nothing(self):
        """A mean over no image does not exist."""
        with pytest.raises(LinceError, match=r"Received 0 images\. Expected at least 1"):
            metrics.negative_log_likelihood(np.zeros((0, 2), np.float32), np.zeros(0, np.int64))

    @pytest.mark.parametrize("probability", [1.0, 1.0001])
    def test_is_never_minus_zero(self, probability):
        """All right and certain costs nothing, and is printed as 0.0000; a sum of float32 may exceed one."""
        found = metrics.negative_log_likelihood(np.array([[probability, 0]], np.float32), np.array([0]))
        assert f"{found:.4f}" == "0.0000"


class TestCalibrationError:
    def test_matches_value_by_hand(self):
        """Two bins: 0.9 and 0.8 with one right of two (gap 0.35), 0.6 right and alone (gap 0.4): (2·0.35 + 0.4) / 3."""
        probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32)
        found = metrics.expected_calibration_error(probabilities, np.array([0, 0, 0]), bins=4)
        assert pytest.approx((2 * 0.35 + 0.4) / 3, abs=1e-6) == found

    def test_bins_hold_their_upper_edge(self):
        """Bins are (low, high], as in Guo et al.: 0.5 of two bins is in the first, 1 in the last."""
        probabilities = np.array([[0.5, 0.5], [1, 0]], np.float32)
        counts, confidence, accuracy = metrics.reliability_bins(probabilities, np.array([0, 1]), bins=2)
        assert (counts.tolist(), confidence.tolist(), accuracy.tolist()) == ([1, 1], [0.5, 1.0], [1.0, 0.0])

    def test_is_nothing_when_always_sure_and_right(self):
        """Certain and right is perfectly calibrated; certain and wrong as badly as can be."""
        sure = np.eye(3, dtype=np.float32)
        assert metrics.expected_calibration_error(sure, np.array([0, 1, 2])) == 0
        assert metrics.expected_calibration_error(sure, np.array([1, 2, 0])) == 1

    def test_is_small_when_labels_follow_the_probabilities(self):
        """Labels drawn from the probabilities themselves leave only sampling noise, 1 % at 20,000 images."""
        generator = np.random.default_rng(2)
        probabilities = metrics.softmax(generator.normal(scale=2, size=(20_000, 4)).astype(np.float32))
        labels = (probabilities.cumsum(axis=1) < generator.random((20_000, 1))).sum(axis=1).clip(max=3)
        assert metrics.expected_calibration_error(probabilities, labels) < 0.01

    @pytest.mark.usefixtures("wrong_arrays")
    def test_refuses_labels_of_other_images(self):
        """One label an image."""
        with pytest.raises(LinceError, match=r"Received 1 and 2 entries\. Expected one each for the same images"):
            metrics.expected_calibration_error(np.eye(2, dtype=np.float32), np.array([0]))


class TestPairedDifference:
    def test_matches_values_by_hand(self):
        """8 images, 3 right in a only: 0.4 − 0.1 ± z·√((0.5 − 0.09) / 10)."""
        a, b = np.arange(8) < 6, (np.arange(8) >= 3) & (np.arange(8) < 6)
        interval = metrics.paired_difference(a, b)
        half = 1.959964 * math.sqrt(0.041)
        assert (3 / 8, 0.3 - half, 0.3 + half) == pytest.approx((interval.value, interval.low, interval.high), abs=1e-6)

    def test_does_not_vanish_without_disagreement(self):
        """10,000 equal answers still leave ±0.03 points, as the rule of three says."""
        same = np.ones(10_000, bool)
        interval = metrics.paired_difference(same, same)
        assert interval.value == 0
        assert pytest.approx((interval.low, interval.high), abs=1e-5) == (-2.8e-4, 2.8e-4)

    def test_turns_its_sign_with_the_order(self):
        """b against a is a against b with the sign turned."""
        generator = np.random.default_rng(3)
        a, b = generator.random(300) < 0.8, generator.random(300) < 0.7
        forth, back = metrics.paired_difference(a, b), metrics.paired_difference(b, a)
        assert (forth.value, forth.low, forth.high) == pytest.approx((-back.value, -back.high, -back.low))

    @pytest.mark.parametrize("n", [1, 2, 10, 1000])
    def test_holds_its_estimate_and_stays_in_range(self, n):
        """Even when one is always right and the other always wrong."""
        interval = metrics.paired_difference(np.ones(n, bool), np.zeros(n, bool))
        assert -1 <= interval.low <= interval.value == 1 == interval.high

    def test_covers_the_true_difference(self):
        """Of 2,000 draws with a true difference of 0.02, about 95 % of the intervals hold it."""
        generator = np.random.default_rng(4)
        kinds = generator.choice(4, p=(0.75, 0.05, 0.03, 0.17), size=(2000, 400))  # both, only a, only b, neither
        intervals = [metrics.paired_difference(row <= 1, (row == 0) | (row == 2)) for row in kinds]
        covered = np.mean([interval.low <= 0.02 <= interval.high for interval in intervals])
        assert 0.94 <= covered <= 0.97

    @pytest.mark.usefixtures("wrong_arrays")
    def test_refuses_other_images(self):
        """Pairs need the same images."""
        with pytest.raises(LinceError, match="Received 2 and 3 entries"):
            metrics.paired_difference(np.ones(2, bool), np.ones(3, bool))


class TestDisagreement:
    def test_counts_different_answers(self):
        """One of four differs; whether it is right does not matter."""
        assert metrics.disagreement(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0])) == 0.25

    def test_worst_class_is_the_one_that_lost_most(self):
        """Class 1 loses one of two, class 3 one of three, class 0 gains; class 2 has no images."""
        labels = np.array([0, 1, 1, 3, 3, 3])
        a = np.array([False, True, True, True, True, True])
        b = np.array([True, True, False, True, True, False])
        assert metrics.worst_class_drop(a, b, labels=labels) == (1, 0.5)

    def test_worst_class_may_have_gained(self):
        """When every class gained, the worst gained least, and classes without images are not it."""
        labels = np.array([1, 1, 2])
        nothing, everything = np.zeros(3, bool), np.ones(3, bool)
        assert metrics.worst_class_drop(nothing, everything, labels=labels) == (1, -1.0)
