"""Answers before and after quantization, by figures that were worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from lince import calibration, metrics
from lince.quantization.comparison import compare, compare_calibrated, divergence
from lince.types import Calibration, Interval, Split

FITTED = Calibration(temperature=1.0, set_threshold=0.5, abstain_below=0.0, coverage=0.9, n=100)


def test_each_network_by_its_own_answers():
    """The float network is right three times, the other once: what is lost is float minus int8."""
    labels = np.array([0, 0, 1, 1])
    images = Split(np.zeros((4, 1, 1, 3), np.uint8), labels, ("a", "b"), tuple("wxyz"))
    before = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1]], np.float32)
    after = np.array([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.9, 0.1]], np.float32)
    predictions = [calibration.apply(np.log(one), FITTED) for one in (before, after)]
    found = compare_calibrated(*predictions, float_fitted=FITTED, fitted=FITTED, images=images)
    mean = -np.log([0.9, 0.1])
    assert found.float32.nll == pytest.approx((3 * mean[0] + mean[1]) / 4, rel=1e-5)
    assert found.int8.nll == pytest.approx((mean[0] + 3 * mean[1]) / 4, rel=1e-5)
    covered = [one.sets[np.arange(4), labels].mean() for one in predictions]
    assert [0.75, 0.25] == covered
    assert found.coverage_drop_points.value == pytest.approx(50)
    assert found.set_size_growth == 0


def test_without_sets_there_is_nothing_to_compare():
    """Too few validation images: probabilities are compared, sets are not."""
    images = Split(np.zeros((2, 1, 1, 3), np.uint8), np.array([0, 1]), ("a", "b"), ("x", "y"))
    few = Calibration(n=17)
    answers = calibration.apply(np.log(np.array([[0.9, 0.1], [0.9, 0.1]], np.float32)), few)
    found = compare_calibrated(answers, answers, float_fitted=few, fitted=few, images=images)
    assert (found.coverage_drop_points, found.set_size_growth, found.int8.sets.coverage) == (None, None, None)


def test_each_network_by_its_own_calibration():
    """The same answers, and another threshold: sets of both classes instead of one."""
    images = Split(np.zeros((2, 1, 1, 3), np.uint8), np.array([0, 1]), ("a", "b"), ("x", "y"))
    logits = np.log(np.array([[0.9, 0.1], [0.9, 0.1]], np.float32))
    wide = replace(FITTED, set_threshold=0.05, temperature=1.5)
    found = compare_calibrated(
        calibration.apply(logits, FITTED),
        calibration.apply(logits, wide),
        float_fitted=FITTED,
        fitted=wide,
        images=images,
    )
    assert (1.0, 1.5) == (found.float32.temperature, found.int8.temperature)
    assert found.set_size_growth == 1
    assert found.coverage_drop_points.value == pytest.approx(-50)


class TestPaired:
    """Float against quantized, image by image."""

    def test_needs_no_distances(self):
        """They decide on "I don't know" alone, and the certificate says nothing of that."""
        logits, labels = np.log(np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)), np.array([0, 1])
        weighing = replace(FITTED, abstain_below=0.3, distance_weight=0.5)
        expected, found = (
            compare(logits, logits, fitted=fitted, labels=labels, classes=("a", "b")) for fitted in (FITTED, weighing)
        )
        assert expected == found

    # Five images of cat, cat, dog, dog, fox, of which the second and the fourth are answered wrongly.
    LOGITS = np.log(
        np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.6, 0.3], [0.8, 0.1, 0.1], [0.25, 0.25, 0.5]], np.float32)
    )
    LABELS = np.array([0, 0, 1, 1, 2])
    CLASSES = ("cat", "dog", "fox")

    def compare(self, logits, *, fitted=Calibration()):
        return compare(self.LOGITS, logits, fitted=fitted, labels=self.LABELS, classes=self.CLASSES)

    def test_match_values_by_hand(self):
        """int8 loses the third image (dog answered as fox), and nothing else changes: 60 % against 40 %."""
        logits = self.LOGITS.copy()
        logits[2] = np.log([0.1, 0.3, 0.6])
        found = self.compare(logits)
        assert (found.n, found.float_accuracy, found.int8_accuracy, found.disagreement) == (5, 0.6, 0.4, 0.2)
        assert (found.worst_class, found.worst_class_drop_points) == ("dog", 50.0)
        interval = metrics.paired_difference(np.array([1, 0, 1, 0, 1], bool), np.array([1, 0, 0, 0, 1], bool))
        assert Interval(100 * interval.value, 100 * interval.low, 100 * interval.high) == found.drop_points
        assert pytest.approx(20) == found.drop_points.value

    def test_same_answers_have_no_drop(self):
        """A network against itself."""
        found = self.compare(self.LOGITS)
        assert (found.drop_points.value, found.disagreement, found.worst_class_drop_points) == (0, 0, 0)
        assert found.drop_points.low < 0 < found.drop_points.high

    def test_errors_are_of_each_network(self):
        """Float, int8, and int8 at its temperature: three calibration errors."""
        generator = np.random.default_rng(0)
        logits = generator.normal(scale=4, size=(400, 3)).astype(np.float32)
        labels = (logits / 3 + generator.gumbel(size=(400, 3))).argmax(axis=1)  # drawn at temperature 3: overconfident
        fitted = calibration.fit(logits, labels)
        found = compare(logits, 2 * logits, fitted=fitted, labels=labels, classes=self.CLASSES)
        raw, doubled = metrics.softmax(logits), metrics.softmax(2 * logits)
        calibrated = calibration.apply(2 * logits, fitted).probabilities
        assert metrics.expected_calibration_error(raw, labels) == found.float_ece
        assert metrics.expected_calibration_error(doubled, labels) == found.int8_ece > found.float_ece
        assert metrics.expected_calibration_error(calibrated, labels) == found.calibrated_ece < found.int8_ece


class TestDivergence:
    """How far the logits of two networks are apart."""

    def test_same(self):
        """Equal logits, or logits shifted by a constant an image, do not diverge at all."""
        logits = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
        found = divergence(logits, logits + np.arange(9, dtype=np.float32)[:, None])
        assert 0 == pytest.approx(found.kl, abs=1e-9)
        assert (0, 0) == pytest.approx((found.logit_error, found.disagreement), abs=1e-6)

    def test_by_hand(self):
        """Half against a fifth: KL = ½·ln(½/0.2) + ½·ln(½/0.8)."""
        exact, other = np.log([[0.5, 0.5]]).astype(np.float32), np.log([[0.2, 0.8]]).astype(np.float32)
        assert 0.5 * np.log(2.5) + 0.5 * np.log(0.625) == pytest.approx(divergence(exact, other).kl, rel=1e-5)

    def test_opposite(self):
        """All signs changed: twice as far off as the logits spread, every answer changed."""
        logits = np.array([[1, -1], [-2, 2]], np.float32)
        found = divergence(logits, -logits)
        assert (2, 1) == pytest.approx((found.logit_error, found.disagreement))
