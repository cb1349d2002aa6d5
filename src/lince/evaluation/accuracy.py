"""How good are the answers? The same code for a float model, an int8 model file and a running server."""

import numpy as np
from jaxtyping import Float32, UInt8

from lince import calibration, metrics
from lince.errors import LinceError
from lince.progress import Progress, silent
from lince.types import Calibration, Mistake, Predict, Prediction, Report, Split


def evaluate(
    predict: Predict,
    split: Split,
    *,
    fitted: Calibration = Calibration(),
    batch_size: int = 256,
    progress: Progress = silent,
    worst: int = 20,
) -> Report:
    """Lets `predict` answer every image of a split once, and measures the answers.

    Args:
        predict: u8[n,H,W,3] → logits f32[n,K].
        split: labelled images, at least 1.
        fitted: turns logits into probabilities; without one they are the softmax of the logits.
        batch_size: images handed over at once. Memory beyond the split: one batch, and N×K logits.
        progress: told of images answered.
        worst: mistakes to name.

    Returns:
        The report; the answer is the class with the highest logit, the lowest index on a tie.

    Raises:
        LinceError: there are no images, or `predict` returns something other than logits.
    """
    found = logits(predict, split, batch_size=batch_size, progress=progress)
    return report_from(calibration.apply(found, fitted), split, worst=worst)


def logits(
    predict: Predict, split: Split, *, batch_size: int = 256, progress: Progress = silent
) -> Float32[np.ndarray, "n k"]:
    """Lets `predict` answer every image of a split once, in order.

    Args: as of `evaluate`.

    Returns:
        f32[N,K], finite.

    Raises:
        LinceError: there are no images, or `predict` returns something other than logits.
    """
    if len(split) == 0:
        raise LinceError("Received a split without images. Expected at least 1 to evaluate on.")
    if batch_size < 1:
        raise LinceError(f"Received batch_size={batch_size}. Expected at least 1 image a batch.")
    found = np.empty((len(split), len(split.classes)), np.float32)
    for start in range(0, len(split), batch_size):
        images = split.images[start : start + batch_size]
        found[start : start + batch_size] = checked_logits(predict, images, num_classes=len(split.classes))
        progress(start + len(images), len(split), "evaluating")
    return found


def checked_logits(
    predict: Predict, images: UInt8[np.ndarray, "n h w 3"], *, num_classes: int
) -> Float32[np.ndarray, "n k"]:
    """Lets `predict` answer one batch, and checks what it returns.

    Args:
        predict: u8[n,H,W,3] → logits f32[n,K].
        images: u8[n,H,W,3], of the size that `predict` takes.
        num_classes: K.

    Returns:
        f32[n,K], finite.

    Raises:
        LinceError: `predict` returns something other than logits.
    """
    found, shape = np.asarray(predict(images)), (len(images), num_classes)
    expected = f"Expected logits f32[{shape[0]},{shape[1]}], one row an image and one column a class."
    if found.shape != shape or not np.issubdtype(found.dtype, np.floating):
        raise LinceError(f"Received answers of shape {found.shape} and type {found.dtype}. {expected}")
    if not np.isfinite(found).all():
        count = int((~np.isfinite(found)).any(axis=1).sum())
        raise LinceError(f"Received answers that are not finite for {count} of {len(found)} images. {expected}")
    return found.astype(np.float32, copy=False)


def report_from(prediction: Prediction, split: Split, *, worst: int = 20) -> Report:
    """Measures answers that were already given.

    Args:
        prediction: of the N images, in the order of the split.
        split: the labelled images, at least 1.
        worst: mistakes to name.

    Raises:
        LinceError: the shape is not (images, classes) of the split.
    """
    probabilities, predicted = prediction.probabilities, prediction.indices
    if probabilities.shape != (len(split), len(split.classes)):
        raise LinceError(
            f"Received answers of shape {probabilities.shape} for {len(split)} images and {len(split.classes)} "
            "classes. Expected one row an image and one column a class."
        )
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
        mistakes=_worst_mistakes(prediction, split, worst),
    )


def _worst_mistakes(prediction: Prediction, split: Split, worst: int) -> tuple[Mistake, ...]:
    """The wrong answers with the highest probability, worst first, in the order of the split on a tie."""
    probabilities, predicted = prediction.probabilities, prediction.indices
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
