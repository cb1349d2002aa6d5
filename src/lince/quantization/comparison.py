"""Float against quantized on the same images: paired answers, calibrated answers, and divergence of the logits."""

import numpy as np
from jaxtyping import Float32, Float64, Int64

from lince import calibration, metrics
from lince.model_file.manifest import CalibratedAnswers, CalibrationComparison, Comparison, Divergence
from lince.types import Calibration, Prediction, Split


def compare(
    float_logits: Float32[np.ndarray, "n k"],
    logits: Float32[np.ndarray, "n k"],
    *,
    fitted: Calibration,
    labels: Int64[np.ndarray, " n"],
    classes: tuple[str, ...],
) -> Comparison:
    """Compares the answers of the float and the quantized network, image by image, for the certificate.

    Args:
        float_logits, logits: f32[N,K] of the float and of the quantized network, in the same order; N at least 1.
        fitted: the quantized network's calibration.
        labels: i64[N], the true classes.
        classes: K names.

    Returns:
        Accuracies and calibration errors 0..1; drops in percentage points, positive when the quantized network is
        worse.

    Raises:
        LinceError: the logits are not finite.
    """
    exact, raw = (calibration.apply(found, Calibration()) for found in (float_logits, logits))
    calibrated = calibration.probabilities(logits, fitted)
    exact_right, right = exact.indices == labels, raw.indices == labels
    worst, worst_drop = metrics.worst_class_drop(exact_right, right, labels=labels)
    return Comparison(
        n=len(labels),
        float_accuracy=float(exact_right.mean()),
        int8_accuracy=float(right.mean()),
        drop_points=metrics.points(metrics.paired_difference(exact_right, right)),
        disagreement=metrics.disagreement(exact.indices, raw.indices),
        worst_class=classes[worst],
        worst_class_drop_points=100 * worst_drop,
        float_ece=metrics.expected_calibration_error(exact.probabilities, labels),
        int8_ece=metrics.expected_calibration_error(raw.probabilities, labels),
        calibrated_ece=metrics.expected_calibration_error(calibrated, labels),
    )


def compare_calibrated(
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
        prediction: the quantized network's, by `fitted`.
        float_fitted, fitted: each network's own calibration, fitted on the validation images.
        images: of the test split.
    """
    before, after = _measure(float_prediction, float_fitted, images), _measure(prediction, fitted, images)
    float_sets, sets = float_prediction.sets, prediction.sets
    if float_sets is None or sets is None or before.sets.mean_size is None or after.sets.mean_size is None:
        return CalibrationComparison(before, after, coverage_drop_points=None, set_size_growth=None)
    rows = np.arange(len(images))
    covered, covered_after = float_sets[rows, images.labels], sets[rows, images.labels]
    return CalibrationComparison(
        float32=before,
        int8=after,
        coverage_drop_points=metrics.points(metrics.paired_difference(covered, covered_after)),
        set_size_growth=after.sets.mean_size - before.sets.mean_size,
    )


def divergence(exact: Float32[np.ndarray, "n k"], quantized: Float32[np.ndarray, "n k"]) -> Divergence:
    """Measures how far the logits of a quantized network are from the float network's, on the same images.

    Accuracy counts whole images; the divergence is a real number for each image. A few hundred images are therefore
    enough to rank layers of which each changes one answer in a thousand.

    Args:
        exact: f32[N,K] of the float network; N at least 1.
        quantized: f32[N,K].
    """
    logs, others = (_log_softmax(logits) for logits in (exact, quantized))
    centred, others_centred = (logits - logits.mean(axis=1, keepdims=True) for logits in (logs, others))
    spread = np.sqrt((centred**2).mean())
    difference = np.sqrt(((centred - others_centred) ** 2).mean())
    return Divergence(
        kl=max(0.0, float((np.exp(logs) * (logs - others)).sum(axis=1).mean())),  # rounding may leave −1e-17
        logit_error=float(difference / spread) if spread > 0 else float(difference > 0),
        disagreement=metrics.disagreement(exact.argmax(axis=1), quantized.argmax(axis=1)),
    )


def _log_softmax(logits: Float32[np.ndarray, "n k"]) -> Float64[np.ndarray, "n k"]:
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    normalized: Float64[np.ndarray, "n k"] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalized


def _measure(prediction: Prediction, fitted: Calibration, images: Split) -> CalibratedAnswers:
    return CalibratedAnswers(
        temperature=fitted.temperature,
        nll=metrics.negative_log_likelihood(prediction.probabilities, images.labels),
        ece=metrics.expected_calibration_error(prediction.probabilities, images.labels),
        sets=calibration.set_report(prediction, images.labels, fitted),
    )
