"""What the service says, as frozen dataclasses: msgspec writes them, FastAPI documents them. No FastAPI in here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lince.records import Calibration, Certificate, ImageSpec, Prediction


@dataclass(frozen=True)
class ClassProbability:
    """One class, and how probable it is: 0..1, calibrated."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True)
class ImageAnswer:
    """The answer for one image.

    Attributes:
        label, index, probability: of the most probable class.
        top: the most probable classes, best first.
        prediction_set: the classes that together hold the true one with the model's stated coverage, best first.
        abstain: true for "I don't know"; `label` is then the best guess all the same.
    """

    label: str
    index: int
    probability: float
    top: tuple[ClassProbability, ...]
    prediction_set: tuple[str, ...]
    abstain: bool


@dataclass(frozen=True)
class ImageAnswerWithLogits(ImageAnswer):
    """The same, with the network's dequantised output, in the order of the classes."""

    logits: tuple[float, ...]


@dataclass(frozen=True)
class Failure:
    """Why there is no answer: a stable `code` for programs, a `message` for people."""

    code: str
    message: str


@dataclass(frozen=True)
class ErrorAnswer:
    """The one shape of every error."""

    error: Failure


@dataclass(frozen=True)
class ModelName:
    name: str
    version: str


@dataclass(frozen=True)
class PredictAnswer:
    """Answers in the order of the images; an image of a form that could not be read has an error in its place."""

    model: ModelName
    predictions: tuple[ImageAnswer | ImageAnswerWithLogits | ErrorAnswer, ...]


@dataclass(frozen=True)
class Limits:
    """What one request may hold."""

    max_parts: int
    max_body_bytes: int
    max_pixels: int
    formats: tuple[str, ...]


@dataclass(frozen=True)
class ModelAnswer:
    """What is served."""

    name: str
    version: str
    created: str
    classes: tuple[str, ...]
    image: ImageSpec
    calibration: Calibration
    certificate: Certificate | None
    limits: Limits
    card: str


@dataclass(frozen=True)
class Health:
    status: str


def image_answers(
    prediction: Prediction, classes: Sequence[str], *, top: int, logits: bool = False
) -> Iterator[ImageAnswer]:
    """Turns arrays into answers, one an image.

    Args:
        prediction: of N images and K classes.
        classes: K names.
        top: how many classes to list, at most K of them.
        logits: whether the answers carry the network's output.
    """
    # Sorted by logits, stable, as the answer itself is chosen: equal probabilities cannot disagree with it.
    orders = np.argsort(-prediction.logits, axis=1, kind="stable").tolist()
    rows = zip(
        orders,
        prediction.probabilities.tolist(),
        prediction.sets.tolist(),
        prediction.abstain.tolist(),
        prediction.logits.tolist(),
        strict=True,
    )
    for order, probabilities, members, abstain, raw in rows:
        listed = tuple(ClassProbability(classes[index], index, probabilities[index]) for index in order[:top])
        best = listed[0]
        prediction_set = tuple(classes[index] for index in order if members[index])
        answer = (best.label, best.index, best.probability, listed, prediction_set, abstain)
        yield ImageAnswerWithLogits(*answer, logits=tuple(raw)) if logits else ImageAnswer(*answer)
