"""A running server as a `Predict`, so that the service is evaluated by the same code as the model file.

A server's answers are not trusted: the class and the probability of each must follow from its logits.
"""

import math

import numpy as np
from jaxtyping import UInt8

from lince import calibration
from lince.client import Answer, Client, ServedModel
from lince.errors import ServiceError
from lince.text import printable
from lince.types import Outputs, Predict

_TOLERANCE = 1e-4  # of a probability: machines differ in the last bits of a softmax


def server_predict(client: Client, served: ServedModel) -> Predict:
    """Makes a running server a `Predict`, by `POST /predict?logits=true`.

    Args:
        client: of the server.
        served: its model, from `client.model()`. Columns are in the order of its classes.

    Returns:
        A function u8[n,H,W,3] → logits f32[n,K] and distances, with H and W of the served model: nothing is resized on
        the way. It raises ServiceError when nothing answers there, or not as Lince does.
    """
    measures = served.calibration.distance_weight > 0

    def predict(images: UInt8[np.ndarray, "n h w 3"]) -> Outputs:
        _check_size(client.url, served, images)
        found = client.predict(list(images), top=1, logits=True)
        for answer in found:
            if answer.error is not None:
                raise ServiceError(f"The server refused an image: {printable(answer.error.message[:300])}")
        try:
            outputs = _outputs(found, served, measures=measures)
            _require_consistent(found, outputs, served)
        except ValueError as error:
            expected = "Expected the address of a `lince serve` of this version."
            message = f"{client.url}/predict does not answer as Lince does ({error}). {expected}"
            raise ServiceError(message) from error
        return outputs if measures else Outputs(outputs.logits)

    return predict


def _check_size(url: str, served: ServedModel, images: np.ndarray) -> None:
    image = served.image
    if images.shape[1:] != image.shape:
        height, width = images.shape[1:3]
        raise ServiceError(
            f"Received images of {width} × {height} pixels for {url}, whose model sees {image.width} × {image.height}. "
            "Expected this size: read the data for that model."
        )


def _outputs(found: list[Answer], served: ServedModel, *, measures: bool) -> Outputs:
    """Logits in the server's order of classes; ValueError where an answer lacks some, or is of another version."""
    num_classes = len(served.classes)
    for answer in found:
        if answer.version != served.version:
            raise ValueError(f"version {printable(answer.version)!r} in place of {printable(served.version)!r}")
        if len(answer.logits) != num_classes:
            raise ValueError(f"{len(answer.logits)} logits for {num_classes} classes and ?logits=true")
    logits = np.array([answer.logits for answer in found], np.float32).reshape(len(found), num_classes)
    distances = [answer.distance for answer in found if answer.distance is not None]
    if measures and len(distances) < len(found):
        raise ValueError(f"{len(distances)} distances for {len(found)} images and a calibration that weighs them")
    return Outputs(logits, np.array(distances, np.float32) if len(distances) == len(found) else None)


def _require_consistent(found: list[Answer], outputs: Outputs, served: ServedModel) -> None:
    """Raises ValueError where a label or a probability does not follow from the logits and the calibration."""
    expected = calibration.apply(outputs.logits, served.calibration, distances=outputs.distances)
    for row, answer in enumerate(found):
        index = int(expected.indices[row])
        label, probability = served.classes[index], float(expected.probabilities[row, index])
        if answer.label != label:
            raise ValueError(f"the class {printable(repr(answer.label[:100]))} where its logits say {label!r}")
        if not math.isclose(answer.probability, probability, abs_tol=_TOLERANCE):
            raise ValueError(f"probability {answer.probability:.4g} where its logits give {probability:.4g}")
