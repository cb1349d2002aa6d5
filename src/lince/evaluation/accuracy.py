"""How good are the answers? The same code for a float model, an int8 model file and a running server."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from lince import metrics
from lince.errors import LinceError
from lince.model_file.manifest import Comparison
from lince.types import Mistake, Predict, Report, Split

Progress = Callable[[int, int], None]
"""Called after every batch with (images done, images in all)."""

# Rows of a float32 softmax over 1,000 classes sum to 1 within 1e-5, in bfloat16 or after rounding to JSON within
# 1e-2; logits, or independent sigmoids, are further off than that.
_SUM_TOLERANCE = 1e-2


def evaluate(
    predict: Predict, split: Split, *, batch_size: int = 256, progress: Progress | None = None, worst: int = 20
) -> Report:
    """Lets `predict` answer every image of a split once, and measures the answers.

    Args:
        predict: u8[n,H,W,3] → probabilities f32[n,K].
        split: labelled images, at least 1.
        batch_size: images handed over at once. Memory beyond the split: one batch, and N×K probabilities.
        progress: called after every batch.
        worst: mistakes to name.

    Returns:
        The report; the answer is the class with the highest probability, the lowest index on a tie.

    Raises:
        LinceError: when there are no images, or `predict` returns something other than probabilities.
    """
    found = probabilities(predict, split, batch_size=batch_size, progress=progress)
    return report_from(found, split, worst=worst)


def probabilities(
    predict: Predict, split: Split, *, batch_size: int = 256, progress: Progress | None = None
) -> Float32[np.ndarray, "n k"]:
    """Lets `predict` answer every image of a split once, in order.

    Args: as of `evaluate`.

    Returns:
        f32[N,K], checked: finite, not negative, rows that sum to 1.

    Raises:
        LinceError: when there are no images, or `predict` returns something other than probabilities.
    """
    if len(split) == 0:
        raise LinceError("Received a split without images. Expected at least 1 to evaluate on.")
    if batch_size < 1:
        raise LinceError(f"Received batch_size={batch_size}. Expected at least 1 image a batch.")
    found = np.empty((len(split), len(split.classes)), np.float32)
    for start in range(0, len(split), batch_size):
        images = split.images[start : start + batch_size]
        found[start : start + batch_size] = ask(predict, images, num_classes=len(split.classes))
        if progress is not None:
            progress(start + len(images), len(split))
    return found


def ask(predict: Predict, images: UInt8[np.ndarray, "n h w 3"], *, num_classes: int) -> Float32[np.ndarray, "n k"]:
    """Lets `predict` answer one batch, and checks what it says.

    Args:
        predict: u8[n,H,W,3] → probabilities f32[n,K].
        images: u8[n,H,W,3], of the size that it wants.
        num_classes: K.

    Returns:
        f32[n,K], checked: finite, not negative, rows that sum to 1.

    Raises:
        LinceError: when `predict` returns something other than probabilities.
    """
    answers = np.asarray(predict(images))
    _check_answers(answers, (len(images), num_classes))
    return answers.astype(np.float32, copy=False)


def report_from(probabilities: Float32[np.ndarray, "n k"], split: Split, *, worst: int = 20) -> Report:
    """Measures answers that were already given.

    Args:
        probabilities: f32[N,K], in the order of the split.
        split: the labelled images, at least 1.
        worst: mistakes to name.

    Raises:
        LinceError: when the shape is not (images, classes) of the split.
    """
    _check_answers(probabilities, (len(split), len(split.classes)))
    predicted = probabilities.argmax(axis=1)
    confusion = metrics.confusion_matrix(split.labels, predicted, len(split.classes))
    return Report(
        n=len(split),
        accuracy=metrics.accuracy_interval(int((predicted == split.labels).sum()), len(split)),
        balanced_accuracy=metrics.balanced_accuracy(confusion),
        macro_f1=metrics.macro_f1(confusion),
        nll=metrics.negative_log_likelihood(probabilities, split.labels),
        ece=metrics.expected_calibration_error(probabilities, split.labels),
        per_class=metrics.class_scores(confusion, split.classes),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        mistakes=_worst_mistakes(probabilities, split, worst),
    )


def paired_certificate_numbers(
    float_probabilities: Float32[np.ndarray, "n k"],
    int8_probabilities: Float32[np.ndarray, "n k"],
    *,
    calibrated_probabilities: Float32[np.ndarray, "n k"],
    labels: Int64[np.ndarray, " n"],
    classes: tuple[str, ...],
) -> Comparison:
    """Compares a float network with its int8 version on the same images, for the certificate.

    Args:
        float_probabilities: f32[N,K] of the float network.
        int8_probabilities: f32[N,K] of the int8 network at temperature 1.
        calibrated_probabilities: f32[N,K] of the int8 network at its fitted temperature, as it is served.
        labels: i64[N], the true classes.
        classes: K names.

    Returns:
        Accuracies and calibration errors 0..1; drops in percentage points, positive when int8 is worse.

    Raises:
        LinceError: when the three are not probabilities for the same images and classes.
    """
    for answers in (float_probabilities, int8_probabilities, calibrated_probabilities):
        _check_answers(answers, (len(labels), len(classes)))
    float_answers, int8_answers = float_probabilities.argmax(axis=1), int8_probabilities.argmax(axis=1)
    float_right, int8_right = float_answers == labels, int8_answers == labels
    worst, worst_drop = metrics.worst_class_drop(float_right, int8_right, labels=labels)
    return Comparison(
        n=len(labels),
        float_accuracy=float(float_right.mean()),
        int8_accuracy=float(int8_right.mean()),
        drop_points=metrics.points(metrics.paired_difference(float_right, int8_right)),
        disagreement=metrics.disagreement(float_answers, int8_answers),
        worst_class=classes[worst],
        worst_class_drop_points=100 * worst_drop,
        float_ece=metrics.expected_calibration_error(float_probabilities, labels),
        int8_ece=metrics.expected_calibration_error(int8_probabilities, labels),
        calibrated_ece=metrics.expected_calibration_error(calibrated_probabilities, labels),
    )


def _worst_mistakes(probabilities: np.ndarray, split: Split, worst: int) -> tuple[Mistake, ...]:
    """The wrong answers with the highest probability, worst first, in the order of the split on a tie."""
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != split.labels)
    order = np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")
    return tuple(
        Mistake(
            name=split.names[i],
            label=split.classes[split.labels[i]],
            predicted=split.classes[predicted[i]],
            probability=float(probabilities[i, predicted[i]]),
        )
        for i in wrong[order[:worst]]
    )


def _check_answers(answers: np.ndarray, shape: tuple[int, int]) -> None:
    """Refuses what is not one row of probabilities an image."""
    expected = f"Expected probabilities f32[{shape[0]},{shape[1]}], one row an image and one column a class."
    if answers.shape != shape or not np.issubdtype(answers.dtype, np.floating):
        raise LinceError(f"Received answers of shape {answers.shape} and type {answers.dtype}. {expected}")
    if not np.isfinite(answers).all():
        count = int((~np.isfinite(answers)).any(axis=1).sum())
        raise LinceError(f"Received answers that are not finite for {count} of {len(answers)} images. {expected}")
    sums = answers.sum(axis=1, dtype=np.float64)
    if answers.size and (answers.min() < 0 or np.abs(sums - 1).max() > _SUM_TOLERANCE):
        values, rows = f"{answers.min():.3g}..{answers.max():.3g}", f"{sums.min():.3g}..{sums.max():.3g}"
        received = f"Received values {values}, rows that sum to {rows}."
        raise LinceError(f"{received} {expected} Logits need a softmax first.")
