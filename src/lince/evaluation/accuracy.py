"""Accuracy and the other measures of answers, by one code for a float model, a model file and a running server."""

import numpy as np
from jaxtyping import Int64, UInt8

from lince import calibration, metrics
from lince.errors import LinceError
from lince.progress import Progress, silent
from lince.types import Calibration, Mistake, Outputs, Predict, Prediction, Report, SetReport, Split


def evaluate(
    predict: Predict, split: Split, *, fitted: Calibration | None = None, progress: Progress = silent
) -> tuple[Report, SetReport | None]:
    """Lets `predict` answer every image of a split once, and measures the answers.

    Args:
        predict: u8[n,H,W,3] → logits f32[n,K], and distances.
        split: labelled images, at least 1.
        fitted: turns logits into probabilities. None: the softmax is taken, without sets and abstention.
        progress: receives the number of images answered.

    Returns:
        The report, and the behaviour of prediction sets and abstention; None without a calibration.

    Raises:
        LinceError: there are no images, `predict` returns something other than logits, or a server fails.
    """
    found = outputs(predict, split, progress=progress)
    prediction = calibration.apply(found.logits, fitted or Calibration(), distances=found.distances)
    sets = calibration.set_report(prediction, split.labels, fitted) if fitted else None
    return report_from(prediction, split), sets


def outputs(predict: Predict, split: Split, *, batch_size: int = 256, progress: Progress = silent) -> Outputs:
    """Lets `predict` answer every image of a split once, in order.

    Args:
        predict: u8[n,H,W,3] → logits f32[n,K].
        split: labelled images.
        batch_size: images given to `predict` at once. Memory beyond the split: one batch, and the outputs.
        progress: receives the number of images answered.

    Returns:
        Of N images, finite.

    Raises:
        LinceError: `predict` returns something other than logits.
    """
    found = np.empty((len(split), len(split.classes)), np.float32)
    distances = []
    for start in range(0, len(split), batch_size):
        images = split.images[start : start + batch_size]
        batch = checked_outputs(predict, images, num_classes=len(split.classes))
        found[start : start + batch_size] = batch.logits
        distances += [] if batch.distances is None else [batch.distances]
        progress(start + len(images), len(split), "evaluating")
    return Outputs(found, np.concatenate(distances) if distances else None)


def checked_outputs(predict: Predict, images: UInt8[np.ndarray, "n h w 3"], *, num_classes: int) -> Outputs:
    """Lets `predict` answer one batch, and checks what it returns.

    Args:
        predict: u8[n,H,W,3] → logits f32[n,K], and distances.
        images: u8[n,H,W,3], of the size that `predict` takes.
        num_classes: K.

    Returns:
        Of n images, finite.

    Raises:
        LinceError: `predict` returns something other than logits.
    """
    answered = predict(images)
    found, shape = np.asarray(answered.logits), (len(images), num_classes)
    expected = f"Expected logits f32[{shape[0]},{shape[1]}], one row an image and one column a class."
    if found.shape != shape or not np.issubdtype(found.dtype, np.floating):
        raise LinceError(f"Received answers of shape {found.shape} and type {found.dtype}. {expected}")
    if not np.isfinite(found).all():
        count = int((~np.isfinite(found)).any(axis=1).sum())
        raise LinceError(f"Received answers that are not finite for {count} of {len(found)} images. {expected}")
    return Outputs(found.astype(np.float32, copy=False), answered.distances)


def report_from(prediction: Prediction, split: Split, *, worst: int = 20) -> Report:
    """Measures answers that were given before.

    Args:
        prediction: of the N images, in the order of the split.
        split: the labelled images, at least 1.
        worst: the number of mistakes to list.
    """
    probabilities, predicted = prediction.probabilities, prediction.indices
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
        mistakes=tuple(
            _mistake(prediction, split, image) for image in worst_mistakes(prediction, split.labels, most=worst)
        ),
    )


def worst_mistakes(prediction: Prediction, labels: Int64[np.ndarray, " n"], *, most: int) -> Int64[np.ndarray, " m"]:
    """The images with wrong answers of the highest probability, worst first, in their order on a tie.

    Args:
        prediction: of N images.
        labels: i64[N], their true classes.
        most: the largest number of images to return.
    """
    wrong = np.flatnonzero(prediction.indices != labels)
    order = np.argsort(-prediction.probabilities[wrong, prediction.indices[wrong]], kind="stable")
    found: Int64[np.ndarray, " m"] = wrong[order[:most]]
    return found


def _mistake(prediction: Prediction, split: Split, image: int) -> Mistake:
    predicted = prediction.indices[image]
    return Mistake(
        name=split.names[image],
        label=split.classes[split.labels[image]],
        predicted=split.classes[predicted],
        probability=float(prediction.probabilities[image, predicted]),
    )
