"""Calibrated answers before and after quantisation, by figures that were worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from lince import calibration
from lince.quantization.comparison import compare, logits_from
from lince.types import Calibration, Split

FITTED = Calibration(temperature=1.0, set_threshold=0.5, abstain_below=0.0, coverage=0.9, n=100)


def test_logits_give_their_probabilities_back():
    """Also a probability that underflowed to 0."""
    probabilities = np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]], np.float32)
    found = calibration.apply(logits_from(probabilities), FITTED).probabilities
    np.testing.assert_allclose(found, probabilities, atol=1e-6)


def test_each_network_by_its_own_answers():
    """The float network is right three times, the other once: what is lost is float minus int8."""
    labels = np.array([0, 0, 1, 1])
    images = Split(np.zeros((4, 1, 1, 3), np.uint8), labels, ("a", "b"), tuple("wxyz"))
    before = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1]], np.float32)
    after = np.array([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.9, 0.1]], np.float32)
    predictions = [calibration.apply(logits_from(one), FITTED) for one in (before, after)]
    found = compare(*predictions, float_fitted=FITTED, fitted=FITTED, images=images)
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
    answers = calibration.apply(logits_from(np.array([[0.9, 0.1], [0.9, 0.1]], np.float32)), few)
    found = compare(answers, answers, float_fitted=few, fitted=few, images=images)
    assert (found.coverage_drop_points, found.set_size_growth, found.int8.sets.coverage) == (None, None, None)


def test_each_network_by_its_own_calibration():
    """The same answers, and another threshold: sets of both classes instead of one."""
    images = Split(np.zeros((2, 1, 1, 3), np.uint8), np.array([0, 1]), ("a", "b"), ("x", "y"))
    logits = logits_from(np.array([[0.9, 0.1], [0.9, 0.1]], np.float32))
    wide = replace(FITTED, set_threshold=0.05, temperature=1.5)
    found = compare(
        calibration.apply(logits, FITTED),
        calibration.apply(logits, wide),
        float_fitted=FITTED,
        fitted=wide,
        images=images,
    )
    assert (1.0, 1.5) == (found.float32.temperature, found.int8.temperature)
    assert found.set_size_growth == 1
    assert found.coverage_drop_points.value == pytest.approx(-50)
