"""A service's answers as records. Servers are not trusted: every type and range is checked, and texts are shortened."""

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from jaxtyping import Float64
from msgspec import Meta

from lince import schema
from lince.errors import ServiceError
from lince.text import printable
from lince.types import Calibration, ImageSpec, ResizeRule

_SHOWN_CHARACTERS = 300
_Decoded = TypeVar("_Decoded")

_Side = Annotated[int, Meta(ge=1, le=1024)]  # of a model file's images
_Count = Annotated[int, Meta(ge=1, le=2**40)]
_Distance = Annotated[float, Meta(ge=0, le=1e38)]
_GRID = Meta(min_length=1, max_length=1024)
_Index = Annotated[int, Meta(ge=0, lt=2**16)]
_Logit = Annotated[float, Meta(ge=-1e38, le=1e38)]  # within float32
_Name = Annotated[str, Meta(min_length=1, max_length=1000)]
_Probability = Annotated[float, Meta(ge=0, le=1.0001)]  # a sum of float32 may be rounded up


@dataclass(frozen=True)
class Reply:
    """What a server has sent: status, body and the header Retry-After."""

    status: int
    content: bytes
    retry_after: str | None = None


class NoAnswerError(ServiceError):
    """There is no whole answer: nothing listens, the connection ended, or the time was over."""


@dataclass(frozen=True)
class Failure:
    """Why an image has no answer: a stable `code` for programs, a `message` for people."""

    code: str
    message: str


@dataclass(frozen=True)
class ClassProbability:
    """One class, and how probable it is: 0..1, calibrated."""

    label: _Name
    index: _Index
    probability: _Probability


@dataclass(frozen=True)
class Answer:
    """The answer for one image.

    Attributes:
        model, version: of the model that answered.
        label, index, probability: of the most probable class.
        top: the most probable classes, best first.
        prediction_set: the classes that together hold the true one with the model's stated coverage, best first; None
            for a model without sets.
        abstain: true for "I don't know"; `label` is then the best guess all the same.
        logits: the network's output, in the order of the classes; empty unless asked for.
        distance: of the picture from the training images, about 1 for one of them; None unless `logits` were asked
            for, and for a model that does not measure it.
        error: why the image could not be read; None where it was. With an error, `label` is empty, `index` −1, and
            `abstain` true.
    """

    model: str
    version: str
    label: str = ""
    index: int = -1
    probability: float = 0.0
    top: tuple[ClassProbability, ...] = ()
    prediction_set: tuple[str, ...] | None = None
    abstain: bool = True
    logits: tuple[float, ...] = ()
    distance: float | None = None
    error: Failure | None = None


@dataclass(frozen=True)
class Explanation:
    """Which places of an image support a class.

    Attributes:
        answer: for the image.
        label, index, probability: of the class that is explained; the answer's unless another one was asked for.
        without_most, without_least: its probability without the quarter of the image that supports it most, and
            without the quarter that supports it least.
        sentences: the explanation in words.
        heat: f64[rows, columns], over what the network saw of the image: how much the log-odds of the class, in nats,
            fall when the place is hidden.
    """

    answer: Answer
    label: str
    index: int
    probability: float
    without_most: float
    without_least: float
    sentences: str
    heat: Float64[np.ndarray, "rows columns"]


@dataclass(frozen=True)
class Limits:
    """What one request may hold.

    Attributes:
        max_parts: images.
        max_body_bytes: bytes of its body.
        max_pixels: width × height of one image; None where the service does not say.
    """

    max_parts: _Count
    max_body_bytes: _Count
    max_pixels: _Count | None = None


@dataclass(frozen=True)
class ServedModel:
    """A model, as the service describes it.

    Attributes:
        created: when, as the model file says.
        classes: K labels, in the order of the logits.
        image: the size that the network takes. Images of other sizes are resized by the service.
        calibration: turns logits into probabilities, sets and "I don't know".
        arithmetic, certificate, verdict, pretrained: as in `GET /model`.
        card: the model card, in Markdown.
    """

    name: str
    version: str
    classes: tuple[str, ...]
    image: ImageSpec
    limits: Limits
    calibration: Calibration
    created: str = ""
    arithmetic: dict[str, Any] | None = None
    certificate: dict[str, Any] | None = None
    verdict: dict[str, Any] | None = None
    pretrained: dict[str, Any] | None = None
    card: str = ""


class _Image(msgspec.Struct):
    height: _Side
    width: _Side
    resize: ResizeRule


class _Model(msgspec.Struct):
    """`GET /model`."""

    name: _Name
    version: _Name
    classes: Annotated[tuple[_Name, ...], Meta(min_length=2, max_length=2**16)]
    image: _Image
    limits: Limits
    calibration: Calibration
    created: str = ""
    arithmetic: dict[str, Any] | None = None
    certificate: dict[str, Any] | None = None
    verdict: dict[str, Any] | None = None
    pretrained: dict[str, Any] | None = None
    card: str = ""


class _Prediction(msgspec.Struct):
    """An image that the server could not read has an `error`, and nothing else."""

    label: _Name | None = None
    index: _Index | None = None
    probability: _Probability | None = None
    top: tuple[ClassProbability, ...] = ()
    prediction_set: tuple[_Name, ...] | None = None
    abstain: bool | None = None
    logits: tuple[_Logit, ...] = ()
    distance: _Distance | None = None
    error: Failure | None = None


class _ModelName(msgspec.Struct):
    name: _Name
    version: _Name


class _Predictions(msgspec.Struct):
    """The answer of `POST /predict`."""

    model: _ModelName
    predictions: tuple[_Prediction, ...]


class _Explained(msgspec.Struct):
    label: _Name
    index: _Index
    probability: _Probability
    without_most: _Probability
    without_least: _Probability


class _Heat(msgspec.Struct):
    values: Annotated[tuple[Annotated[tuple[_Logit, ...], _GRID], ...], _GRID]


class _Explanation(msgspec.Struct):
    """The answer of `POST /explain`."""

    model: _ModelName
    prediction: _Prediction
    explained: _Explained
    sentences: Annotated[str, Meta(max_length=10_000)]
    heat: _Heat


class _Error(msgspec.Struct):
    error: Failure


def read_model(url: str, reply: Reply, *, name: str | None) -> ServedModel:
    """The answer of `GET /model`.

    Args:
        url: address of the service, for sentences.
        reply: what it answered.
        name: of the model that was asked for; None for the default one.

    Raises:
        ServiceError: it is an error, does not fit, or describes another model.
    """
    model = _decode(url, "/model", require_success(url, "/model", reply), _Model)
    if len(set(model.classes)) < len(model.classes):
        raise foreign(url, "/model", "it names a class twice")
    _require_name(url, "/model", received=model.name, expected=name)
    fields = msgspec.structs.asdict(model)
    return ServedModel(**fields | {"image": ImageSpec(model.image.height, model.image.width, model.image.resize)})


def read_answers(url: str, reply: Reply, *, count: int, name: str | None) -> list[Answer]:
    """The answer of `POST /predict` with `count` images; see `read_model`.

    Raises:
        ServiceError: it is an error, does not fit, or is of another model.
    """
    found = _decode(url, "/predict", require_success(url, "/predict", reply), _Predictions)
    if len(found.predictions) != count:
        raise foreign(url, "/predict", f"{len(found.predictions)} predictions for {count} images")
    _require_name(url, "/predict", received=found.model.name, expected=name)
    return [_answer(url, "/predict", found.model, one) for one in found.predictions]


def read_explanation(url: str, reply: Reply, *, name: str | None) -> Explanation:
    """The answer of `POST /explain`; see `read_answers`.

    Raises:
        ServiceError: it is an error, does not fit, or is of another model.
    """
    found = _decode(url, "/explain", require_success(url, "/explain", reply), _Explanation)
    _require_name(url, "/explain", received=found.model.name, expected=name)
    if len({len(row) for row in found.heat.values}) > 1:
        raise foreign(url, "/explain", "rows of different lengths")
    fields = msgspec.structs.asdict(found.explained)
    answer = _answer(url, "/explain", found.model, found.prediction)
    return Explanation(answer, **fields, sentences=printable(found.sentences), heat=np.array(found.heat.values))


def _answer(url: str, path: str, model: _ModelName, found: _Prediction) -> Answer:
    if found.error is not None:
        return Answer(model.name, model.version, error=found.error)
    if found.label is None or found.index is None or found.probability is None or found.abstain is None:
        raise foreign(url, path, "a prediction without label, index, probability or abstain")
    return Answer(
        model.name,
        model.version,
        label=found.label,
        index=found.index,
        probability=found.probability,
        top=found.top,
        prediction_set=found.prediction_set,
        abstain=found.abstain,
        logits=found.logits,
        distance=found.distance,
    )


def require_success(url: str, path: str, reply: Reply) -> bytes:
    """The body of an answer with status 200. Raises ServiceError for any other, with the service's own sentence."""
    if reply.status == 200:
        return reply.content
    failure = read_failure(url, path, reply)
    message = f"{url}{path} answered with status {reply.status}: {shown(failure.message)}"
    raise ServiceError(message, code=failure.code, status=reply.status)


def read_failure(url: str, path: str, reply: Reply) -> Failure:
    """Code and sentence of an answer with another status than 200.

    Raises:
        ServiceError: it does not have the shape of Lince's errors.
    """
    try:
        return msgspec.json.decode(reply.content, type=_Error).error
    except msgspec.ValidationError as error:
        raise foreign(url, path, f"status {reply.status}", status=reply.status) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise foreign(url, path, f"status {reply.status}, no JSON", status=reply.status) from error


def foreign(url: str, path: str, reason: str, *, status: int | None = None) -> ServiceError:
    """The error for a server whose answers are not Lince's."""
    expected = "Expected the address of a `lince serve` of this version."
    return ServiceError(f"{url}{path} does not answer as Lince does ({shown(reason)}). {expected}", status=status)


def shown(text: str) -> str:
    """A server's own text for a sentence: shortened, and with control characters escaped."""
    return printable(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…")


def _decode(url: str, path: str, content: bytes, kind: type[_Decoded]) -> _Decoded:
    try:
        return schema.from_json(content, kind)
    except schema.MisfitError as error:
        raise foreign(url, path, f"status 200, {str(error).rstrip('.')}") from error


def _require_name(url: str, path: str, *, received: str, expected: str | None) -> None:
    """An older server would ignore the name, and answer with its only model."""
    if expected not in (None, received):
        message = (
            f"{url}{path} answered with the model {shown(repr(received))}. Expected {expected!r}: it is not served."
        )
        raise ServiceError(message)
