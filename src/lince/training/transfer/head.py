"""A linear head: multinomial logistic regression on the features of a pretrained network."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.optimize
from jaxtyping import Float32, Float64, Int64

from lince.errors import ResumeError, TrainingError
from lince.system.files import DAMAGED_NPZ, open_regular, reason_of, write_atomically

# Candidates for the weight of the penalty, the strongest first. Features are scaled to a mean variance of 1.
STRENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01)
FOLDS = 5
_MOST_ITERATIONS = 200


@dataclass(frozen=True)
class Head:
    """A dense layer, and how it was chosen.

    Attributes:
        kernel: f32[D,K].
        bias: f32[K].
        strength: the weight of the penalty.
        loss, accuracy: of the images that it was fitted to.
    """

    kernel: Float32[np.ndarray, "d k"]
    bias: Float32[np.ndarray, " k"]
    strength: float
    loss: float
    accuracy: float


def fit(
    views: Sequence[Float32[np.ndarray, "n d"]],
    labels: Int64[np.ndarray, " n"],
    *,
    num_classes: int,
    strength: float | None = None,
    seed: int,
) -> Head:
    """Fits a head to the features of training images.

    Args:
        views: features f32[N,D] of the images, and of other views of the same images.
        labels: i64[N].
        num_classes: K.
        strength: the weight of the penalty; None chooses it of `STRENGTHS` by cross-validation.
        seed: of the folds.
    """
    if strength is None:
        strength = choose_strength(views, labels, num_classes=num_classes, seed=seed)
    mean, scale = _scaling(views)
    rows = [(view - mean) / scale for view in views]
    weights = _regress(np.concatenate(rows), np.tile(labels, len(views)), num_classes, [strength])[0]
    kernel = weights[:-1] / scale
    bias = weights[-1] - mean @ kernel
    logs = _log_softmax(views[0] @ kernel + bias)
    loss, accuracy = -logs[np.arange(len(labels)), labels].mean(), (logs.argmax(axis=1) == labels).mean()
    return Head(kernel.astype(np.float32), bias.astype(np.float32), strength, float(loss), float(accuracy))


def save(path: Path, head: Head) -> None:
    """Writes a head; raises TrainingError when it cannot be written."""
    file = io.BytesIO()
    np.savez(file, **vars(head))
    try:
        write_atomically(path, file.getvalue())
    except OSError as error:
        raise TrainingError(
            f"The head {str(path)!r} could not be written ({error.strerror}). Free disk space, then continue with "
            f"lince train --resume {path.parent}."
        ) from error


def read(path: Path) -> Head:
    """Reads a head; raises ResumeError when the file is missing or damaged."""
    try:
        with open_regular(path) as file, np.load(file, allow_pickle=False) as arrays:
            numbers = {name: float(arrays[name]) for name in ("strength", "loss", "accuracy")}
            return Head(arrays["kernel"], arrays["bias"], **numbers)
    except (*DAMAGED_NPZ, KeyError) as error:
        raise ResumeError(f"{str(path)!r} cannot be read ({reason_of(error)}). Start a new run.") from error


def choose_strength(
    views: Sequence[Float32[np.ndarray, "n d"]], labels: Int64[np.ndarray, " n"], *, num_classes: int, seed: int
) -> float:
    """The strength of the lowest cross-entropy of images that the head was not fitted to, in `FOLDS` folds.

    All views of an image are in one fold. Only the first is measured.
    """
    mean, scale = _scaling(views)
    fold, losses = folds(labels, seed=seed), np.zeros(len(STRENGTHS))
    for number in range(fold.max() + 1):
        inside, held = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        rows = np.concatenate([(view[inside] - mean) / scale for view in views])
        path = _regress(rows, np.tile(labels[inside], len(views)), num_classes, STRENGTHS)
        seen = (views[0][held] - mean) / scale
        for place, weights in enumerate(path):
            logits = seen @ weights[:-1] + weights[-1]
            losses[place] -= _log_softmax(logits)[np.arange(len(held)), labels[held]].sum()
    return STRENGTHS[int(np.argmin(losses))]


def out_of_fold(
    views: Sequence[Float32[np.ndarray, "n d"]],
    labels: Int64[np.ndarray, " n"],
    *,
    num_classes: int,
    strength: float,
    seed: int,
) -> Float32[np.ndarray, "n k"]:
    """The logits f32[N,K] of each image, of a head that was fitted to the other folds. Arguments are those of `fit`."""
    mean, scale = _scaling(views)
    fold, logits = folds(labels, seed=seed), np.empty((len(labels), num_classes), np.float32)
    for number in range(fold.max() + 1):
        inside, held = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        rows = np.concatenate([(view[inside] - mean) / scale for view in views])
        weights = _regress(rows, np.tile(labels[inside], len(views)), num_classes, [strength])[0]
        logits[held] = (views[0][held] - mean) / scale @ weights[:-1] + weights[-1]
    return logits


def folds(labels: Int64[np.ndarray, " n"], *, seed: int) -> Int64[np.ndarray, " n"]:
    """The fold of each image, 0 to `FOLDS` − 1: every class is spread over all folds as evenly as possible."""
    rng, fold, first = np.random.default_rng(seed), np.empty(len(labels), np.int64), 0
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        fold[members] = (np.arange(len(members)) + first) % FOLDS
        first += len(members)
    return fold


def _scaling(views: Sequence[np.ndarray]) -> tuple[Float64[np.ndarray, " d"], float]:
    """The mean of each feature, and one number that scales their mean variance to 1."""
    mean = np.mean([view.mean(axis=0, dtype=np.float64) for view in views], axis=0)
    return mean, float(np.sqrt(np.mean([view.var(axis=0, dtype=np.float64).mean() for view in views]))) or 1.0


def _regress(
    rows: np.ndarray, labels: Int64[np.ndarray, " n"], num_classes: int, strengths: Sequence[float]
) -> list[Float64[np.ndarray, "d1 k"]]:
    """Weights f64[D+1,K], the bias last, for each strength; each begins at the weights of the one before."""
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1).astype(np.float32)
    truth = np.eye(num_classes, dtype=np.float32)[labels]
    weights, found = np.zeros((rows.shape[1], num_classes)), []
    for strength in strengths:

        def loss(flat: np.ndarray, strength: float = strength) -> tuple[float, np.ndarray]:
            weights = flat.reshape(-1, num_classes)
            penalised = np.concatenate([weights[:-1], np.zeros((1, num_classes))])
            logs = _log_softmax(rows @ weights.astype(np.float32))
            gradient = rows.T @ (np.exp(logs) - truth) / len(rows) + strength * penalised
            value = -(logs * truth).sum() / len(rows) + strength * (penalised**2).sum() / 2
            return float(value), gradient.ravel().astype(np.float64)

        options = {"maxiter": _MOST_ITERATIONS}
        weights = scipy.optimize.minimize(loss, weights.ravel(), jac=True, method="L-BFGS-B", options=options).x
        found.append(weights.reshape(-1, num_classes))
    return found


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted: np.ndarray = logits - logits.max(axis=1, keepdims=True)
    normalized: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalized
