"""Labels that are unlikely: how many are listed, in which order, and which never are."""

import numpy as np

from lince.data.label_errors import unlikely_labels


def listed(probabilities: list[list[float]], labels: list[int]) -> list[int]:
    """The indices that are listed."""
    return unlikely_labels(np.asarray(probabilities, np.float32), np.asarray(labels)).tolist()


def test_confident_contradictions_in_order():
    """Two images whose other class is at least as probable as usual there; the less probable label comes first."""
    sure = [[0.9, 0.1]] * 8 + [[0.1, 0.9]] * 8
    labels = [0] * 8 + [1] * 8
    assert [17, 16] == listed([*sure, [0.08, 0.92], [0.05, 0.95]], [*labels, 0, 0])


def test_thresholds_are_those_of_the_class():
    """Class 1 is answered with 0.6, so that 0.6 contradicts there; in class 0, answered with 0.9, it does not."""
    answers, labels = [[0.9, 0.1]] * 8 + [[0.4, 0.6]] * 8, [0] * 8 + [1] * 8
    assert [16] == listed([*answers, [0.4, 0.6]], [*labels, 0])
    assert [] == listed([*answers, [0.6, 0.4]], [*labels, 1])


def test_number_is_counted_and_order_is_by_the_label():
    """One image contradicts confidently. The image whose label is least probable is listed, which may be another."""
    answers, labels = [[0.9, 0.1, 0.0]] * 8 + [[0.1, 0.9, 0.0]] * 8 + [[0.0, 0.1, 0.9]] * 8, np.repeat([0, 1, 2], 8)
    unsure, contradicting = [0.02, 0.49, 0.49], [0.05, 0.95, 0.0]
    assert [25] == listed([*answers, contradicting, unsure], [*labels, 0, 0])


def test_nothing_to_list():
    """Labels that are the most probable class are not listed, however improbable; nor is a class without images."""
    assert [] == listed([[0.51, 0.49, 0.0], [0.9, 0.1, 0.0], [0.2, 0.8, 0.0]], [0, 0, 1])
    assert [] == listed([[0.4, 0.3, 0.3]], [0])
