"""The checks of arrays at run time are in force, and can fail."""

import jaxtyping
import numpy as np
import pytest

from lince import metrics
from lince.errors import LinceError


@pytest.mark.parametrize(
    ("probabilities", "labels"),
    [
        (np.zeros((3, 2), np.float64), np.zeros(3, np.int64)),
        (np.zeros(3, np.float32), np.zeros(3, np.int64)),
        (np.zeros((3, 2), np.float32), np.zeros(4, np.int64)),
    ],
    ids=["dtype", "rank", "another number of images"],
)
def test_an_array_of_another_shape_is_refused(probabilities, labels):
    """A call with an array that its annotation does not allow raises, whatever the function would do with it."""
    with pytest.raises(jaxtyping.TypeCheckError):
        metrics.expected_calibration_error(probabilities, labels)


def test_a_test_can_do_without(wrong_arrays):
    """The fixture turns the checks off for one test: what the function says itself is seen."""
    with pytest.raises(LinceError, match="Received 4 and 3 entries"):
        metrics.expected_calibration_error(np.zeros((3, 2), np.float32), np.zeros(4, np.int64))
