"""Calibrated answers before and after quantisation: each network with a calibration of its own."""

import numpy as np
from jaxtyping import Float32

from lince import calibration, metrics
from lince.model_file.manifest import CalibratedAnswers, CalibrationComparison
from lince.types import Calibration, Prediction, Split

_SMALLEST = np.finfo(np.float32).tiny  # what underflowed to 0 gets a finite logarithm


def logits_from(probabilities: Float32[np.ndarray, "n k"]) -> Float32[np.ndarray, "n k"]:
    """Logits that give these probabilities at temperature 1: their logarithms.

    Args:
        probabilities: f32[N,K].
    """
    return np.log(np.maximum(probabilities, _SMALLEST))


def compare(
    float_prediction: Prediction,
    prediction: Prediction,
    *,
    float_fitted: Calibration,
    fitted: Calibration,
    images: Split,
) -> CalibrationComparison:
    """Measures both networks' calibrated answers on the same images.

    Args:
        float_prediction: the float network's, by `float_fitted`.
        prediction: the quantised network's, by `fitted`.
        float_fitted, fitted: calibrations, from the validation images, each through its own network.
        images: of the test split.
    """
    before, after = (
        _measure(float_prediction, float_fitted, images),
        _measure(prediction, fitted, images),
    )
    if prediction.sets is None or float_prediction.sets is None:
        return CalibrationComparison(before, after, coverage_drop_points=None, set_size_growth=None)
    rows = np.arange(len(images))
    covered, covered_after = (one.sets[rows, images.labels] for one in (float_prediction, prediction))
    return CalibrationComparison(
        float32=before,
        int8=after,
        coverage_drop_points=metrics.points(metrics.paired_difference(covered, covered_after)),
        set_size_growth=after.sets.mean_size - before.sets.mean_size,
    )


def _measure(prediction: Prediction, fitted: Calibration, images: Split) -> CalibratedAnswers:
    return CalibratedAnswers(
        temperature=fitted.temperature,
        nll=metrics.negative_log_likelihood(prediction.probabilities, images.labels),
        ece=metrics.expected_calibration_error(prediction.probabilities, images.labels),
        sets=calibration.set_report(prediction, images.labels, fitted),
    )
