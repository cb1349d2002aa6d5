"""One image's answer as plain data."""

import numpy as np

from lince import calibration
from lince.inference.answers import answer
from lince.types import Calibration

LOGITS = np.log(np.array([[1, 7, 2]], np.float32))


def test_set_is_in_the_order_of_probabilities():
    """Best first, as `top`."""
    found = answer(calibration.apply(LOGITS, Calibration(set_threshold=0.15, n=99)), 0, ("a", "b", "c"), top=2)
    assert found["prediction_set"] == ["b", "c"]
    assert [entry["label"] for entry in found["top"]] == ["b", "c"]


def test_without_sets_there_is_none():
    """Null in JSON, and not every class: too few images promise nothing."""
    found = answer(calibration.apply(LOGITS, Calibration(n=17)), 0, ("a", "b", "c"), top=1)
    assert found["prediction_set"] is None
    assert (found["label"], found["abstain"]) == ("b", False)
