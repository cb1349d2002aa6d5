"""A prediction as plain data, in the one shape that the command line and the service return."""

from typing import Any

from lince.types import Prediction


def answer(
    prediction: Prediction, index: int, classes: tuple[str, ...], *, top: int, logits: bool = False
) -> dict[str, Any]:
    """One image's answer, ready for JSON.

    Args:
        prediction: of a batch.
        index: of the image in the batch.
        classes: K labels, in index order.
        top: the number of classes to list, most probable first, the lower index on a tie; at most K.
        logits: add the network's raw output, in class order, and the picture's distance from the training images.

    Returns:
        `label`, `index`, `probability`, `top`, `prediction_set` (None for a model without sets), `abstain`, and
        with that option `logits` and `distance` (None for a model that does not measure it).
    """
    probabilities, sets = prediction.probabilities[index], prediction.sets
    order = (-prediction.logits[index]).argsort(kind="stable")
    listed = [_entry(int(k), classes, probabilities) for k in order[:top]]
    found = {
        **_entry(int(prediction.indices[index]), classes, probabilities),
        "top": listed,
        "prediction_set": None if sets is None else [classes[k] for k in order if sets[index, k]],
        "abstain": bool(prediction.abstain[index]),
    }
    if logits:
        found["logits"] = [float(value) for value in prediction.logits[index]]
        found["distance"] = None if prediction.distances is None else float(prediction.distances[index])
    return found


def _entry(k: int, classes: tuple[str, ...], probabilities: Any) -> dict[str, Any]:
    return {"label": classes[k], "index": k, "probability": float(probabilities[k])}
