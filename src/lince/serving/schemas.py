"""The service's answers as frozen dataclasses, from which FastAPI generates `/openapi.json`.

`lince.inference.answers` makes the answer for an image, for the command line too. A test compares it with
`ImageAnswer`.
"""

from dataclasses import dataclass

from lince.model_file.manifest import Arithmetic, Certificate, CurvePoint, Pretrained, Verdict
from lince.types import Calibration, ImageSpec


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
        prediction_set: the classes that together hold the true one with the model's stated coverage, best first; null
            when the model was calibrated on too few images to promise it.
        abstain: true for "I don't know"; `label` is then the best guess all the same.
        logits: the network's dequantized output, in the order of the classes; only with `?logits=true`.
        distance: of the picture from the training images, about 1 for one of them; only with `?logits=true`, and null
            for a model that does not measure it.
    """

    label: str
    index: int
    probability: float
    top: tuple[ClassProbability, ...]
    prediction_set: tuple[str, ...] | None
    abstain: bool
    logits: tuple[float, ...] = ()
    distance: float | None = None


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
    predictions: tuple[ImageAnswer | ErrorAnswer, ...]


@dataclass(frozen=True)
class Explained:
    """The class that is explained.

    Attributes:
        probability: of the class, for the whole picture.
        without_most, without_least: of the class, when the quarter of the picture that supports it most is hidden, and
            when the quarter that supports it least is.
    """

    label: str
    index: int
    probability: float
    without_most: float
    without_least: float


@dataclass(frozen=True)
class Heat:
    """A heat map: a grid that divides what the network saw of the picture, after `image.resize` of `/model`.

    Attributes:
        rows, columns: of the grid.
        values: rows from the top, each from the left: how much the log-odds of the class, in nats, fall when the place
            is hidden. Above 0 the place supports the class, below 0 it speaks against it.
    """

    rows: int
    columns: int
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class ExplainAnswer:
    """The answer for an image, and what in the image supports a class; `sentences` says it in words."""

    model: ModelName
    prediction: ImageAnswer
    explained: Explained
    sentences: str
    heat: Heat


@dataclass(frozen=True)
class Limits:
    """What one request may hold."""

    max_parts: int
    max_body_bytes: int
    max_pixels: int
    formats: tuple[str, ...]


@dataclass(frozen=True)
class FeedbackTerms:
    """Corrections are taken; each is deleted after so many days."""

    retention_days: int


@dataclass(frozen=True)
class ModelAnswer:
    """What is served.

    Attributes:
        certificate, verdict: null for a network that was not measured.
        pretrained: the weights that training began with; null for a network that was trained from scratch.
        curves: the course of training, one point a validation; empty for a file that was written without them.
        feedback: null where the service takes no corrections.
    """

    name: str
    version: str
    created: str
    classes: tuple[str, ...]
    image: ImageSpec
    arithmetic: Arithmetic
    calibration: Calibration
    certificate: Certificate | None
    verdict: Verdict | None
    pretrained: Pretrained | None
    curves: tuple[CurvePoint, ...]
    limits: Limits
    feedback: FeedbackTerms | None
    card: str


@dataclass(frozen=True)
class FeedbackAnswer:
    """A correction that is stored.

    Attributes:
        id: deletes it, at `/feedback/ID`.
        model: that had answered.
        label: the right class.
        expires: when it is deleted, as ISO 8601.
    """

    id: str
    model: ModelName
    label: str
    expires: str


@dataclass(frozen=True)
class Health:
    status: str
