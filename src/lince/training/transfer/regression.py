"""Multinomial logistic regression on features that may be larger than memory, on several subsets of the images at once.

The features are rotated to their principal axes, along which the curvature is about the variance plus the penalty.
Scaled by it, L-BFGS needs two thirds of the passes over the features: 88 instead of 139 for four strengths, 2,000
images and two views. Subsets are fitted together, as far as memory allows: one pass costs about as much for five of
them as for one.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.optimize
from jaxtyping import Bool, Float32, Float64, Int64

from lince.errors import TrainingError
from lince.system import blas

_BLOCK = 2**22  # numbers that are multiplied at a time: 16 MB
_IN_MEMORY = 2**26  # numbers that are held in memory: 256 MB, 26,000 images with two views of 1,280 features
_SAMPLED = 2**13  # rows of which the axes are computed. They set the number of iterations, not the result.
_LEAST_VARIANCE = 1e-6  # of an axis, as a share of the largest; below it is float32's rounding

# The curvature along an axis is its variance times the mean of p · (1 − p). Passes over the features in the case above:
# 79 with 0.02, 88 with 0.05, 94 with 0.1, 127 with 0.5.
_CURVATURE = 0.05
_MOST_ITERATIONS = 200
_LEAST_GAIN = 1e-6  # of the loss: an iteration that gains less is the last
_PAIRS = 8  # of steps and gradients, from which L-BFGS estimates the curvature that the scaling leaves

# Weights that are fitted at a time; more only if one layer has more. L-BFGS keeps about 2.5 × `_PAIRS` copies of them,
# in float64: 340 MB. All layers at once would need 1 GB with five subsets, 1,000 classes and 1,280 features.
_MOST_WEIGHTS = 2**21


class Features(Protocol):
    """f16[N,V,D], features of N images in V views: an array in memory, or a `StoredFeatures` in a file.

    A slice of images gives an array.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, images: slice) -> Any: ...


@dataclass(frozen=True)
class Layers:
    """F dense layers: one for each subset.

    Attributes:
        kernel: f32[D,F,K].
        bias: f32[F,K].
    """

    kernel: Float32[np.ndarray, "d f k"]
    bias: Float32[np.ndarray, "f k"]

    def logits(self, rows: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n f k"]:
        """The logits of each layer."""
        width, subsets, classes = self.kernel.shape
        found: np.ndarray = (rows @ self.kernel.reshape(width, -1)).reshape(len(rows), subsets, classes) + self.bias
        return found


class Regression:
    """Fits dense layers to the features of images and of other views of them.

    Args:
        features: f16[N,V,D].
        labels: i64[N].
        subsets: bool[N,F], the images that each layer is fitted to; every subset has one.
        num_classes: K.

    Raises:
        TrainingError: a feature is not a finite number.
    """

    def __init__(
        self,
        features: Features,
        labels: Int64[np.ndarray, " n"],
        *,
        subsets: Bool[np.ndarray, "n f"],
        num_classes: int,
    ):
        self._features, self._labels, self._subsets, self._classes = features, labels, subsets, num_classes
        fits = int(np.prod(features.shape)) <= _IN_MEMORY
        self._blocks: Sequence[tuple[slice, np.ndarray]] | None = list(_read(features)) if fits else None
        with blas.one_thread():
            self._axes = _Axes.of(self.blocks(), features.shape)

    def blocks(self) -> Iterable[tuple[slice, Float32[np.ndarray, "m v d"]]]:
        """The features, some images at a time."""
        return _read(self._features) if self._blocks is None else self._blocks

    def path(self, strengths: Iterable[float]) -> Iterator[Layers]:
        """The layers for each strength of the penalty; each fit begins where the one before ended.

        A layer minimises the mean cross-entropy plus strength / 2 times the squared norm of its kernel, whose features
        are scaled to a mean variance of 1. The bias is not penalised.
        """
        count = self._subsets.shape[1]
        rows = len(self._axes.variances) + 1  # the last is that of the biases
        at_once = max(1, _MOST_WEIGHTS // (rows * self._classes))
        parts = [self._subsets[:, first : first + at_once] for first in range(0, count, at_once)]
        fitted = [np.zeros((rows, part.shape[1] * self._classes)) for part in parts]
        for strength in strengths:
            fitted = [self._fit(part, strength, start) for part, start in zip(parts, fitted, strict=True)]
            weights = np.concatenate(fitted, axis=1)
            yield self._layers(weights[:-1], weights[-1])

    def _fit(
        self, subsets: Bool[np.ndarray, "n f"], strength: float, start: Float64[np.ndarray, "r1 c"]
    ) -> Float64[np.ndarray, "r1 c"]:
        """The weights along the axes and, in the last row, the biases of the layers of some subsets."""
        scales = 1 / np.sqrt(_CURVATURE * self._axes.variances + strength)
        scaling = np.concatenate([scales, [_CURVATURE**-0.5]])[:, None]

        def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            weights = flat.reshape(start.shape) * scaling
            value, gradient = self._loss(subsets, weights[:-1], weights[-1])
            value += strength / 2 * float((weights[:-1] ** 2).sum())
            gradient[:-1] += strength * weights[:-1]
            return value, (gradient * scaling).ravel()

        options = {"maxiter": _MOST_ITERATIONS, "ftol": _LEAST_GAIN, "gtol": 0, "maxcor": _PAIRS}
        with blas.one_thread():
            found = scipy.optimize.minimize(
                loss, (start / scaling).ravel(), jac=True, method="L-BFGS-B", options=options
            ).x
        fitted: np.ndarray = found.reshape(start.shape) * scaling
        return fitted

    def _layers(self, rotated: Float64[np.ndarray, "r c"], bias: Float64[np.ndarray, " c"]) -> Layers:
        """Layers for the features as they are, from weights for the scaled features along the axes."""
        axes, subsets = self._axes, len(bias) // self._classes
        kernel = axes.directions @ (rotated / axes.scale).astype(np.float32)
        shifted = (bias - axes.mean @ kernel).astype(np.float32)
        return Layers(kernel.reshape(-1, subsets, self._classes), shifted.reshape(subsets, self._classes))

    def _loss(
        self, subsets: Bool[np.ndarray, "n f"], rotated: np.ndarray, bias: np.ndarray
    ) -> tuple[float, Float64[np.ndarray, "r1 c"]]:
        """The sum of the layers' mean cross-entropies, and its gradient for the weights and, in the last row, bias."""
        axes, layers = self._axes, self._layers(rotated, bias)
        views, width = self._features.shape[1:]
        weights = (subsets / (subsets.sum(axis=0) * views)).astype(np.float32)
        value, kernel_gradient, bias_gradient = 0.0, np.zeros((width, rotated.shape[1])), np.zeros(rotated.shape[1])
        for images, block in self.blocks():
            rows = block.reshape(-1, width)
            truth = np.repeat(np.eye(self._classes, dtype=np.float32)[self._labels[images]], views, axis=0)[:, None, :]
            weight = np.repeat(weights[images], views, axis=0)
            logs = log_softmax(layers.logits(rows))
            value -= float(((logs * truth).sum(axis=2) * weight).sum(dtype=np.float64))
            errors = ((np.exp(logs) - truth) * weight[:, :, None]).reshape(len(rows), -1)
            kernel_gradient += rows.T @ errors
            bias_gradient += errors.sum(axis=0, dtype=np.float64)
        centred = (kernel_gradient - np.outer(axes.mean, bias_gradient)).astype(np.float32)
        gradient = np.concatenate([axes.directions.T @ centred / axes.scale, bias_gradient[None]])
        return value, gradient.astype(np.float64)


@dataclass(frozen=True)
class _Axes:
    """The principal axes of the features.

    Attributes:
        mean: f64[D].
        scale: features are divided by it, so that their mean variance is 1.
        directions: f32[D,R], orthonormal. Fewer rows than features span only some directions, and the best kernel has
            no part outside of them.
        variances: f64[R], of the scaled features.
    """

    mean: Float64[np.ndarray, " d"]
    scale: float
    directions: Float32[np.ndarray, "d r"]
    variances: Float64[np.ndarray, " r"]

    @classmethod
    def of(cls, blocks: Iterable[tuple[slice, np.ndarray]], shape: tuple[int, ...]) -> "_Axes":
        count, views, width = shape
        step = -(-count * views // max(_SAMPLED, width))
        rows = np.concatenate([block[::step].reshape(-1, width) for _, block in blocks])
        mean = rows.mean(axis=0, dtype=np.float64)
        rows = rows - mean.astype(np.float32)
        scale = float(np.sqrt(np.mean(rows**2, dtype=np.float64))) or 1.0
        if not np.isfinite(scale):
            raise TrainingError(
                "Some features of the images are not finite numbers. Expected numbers: start a new run."
            )
        rows /= np.float32(scale)
        if len(rows) >= width:
            variances, directions = np.linalg.eigh((rows.T @ rows / len(rows)).astype(np.float64))
            return cls(mean, scale, directions.astype(np.float32), np.maximum(variances, 0))
        squares, mixtures = np.linalg.eigh((rows @ rows.T).astype(np.float64))  # smaller than the features' covariance
        spans = squares > _LEAST_VARIANCE * squares[-1]
        directions = rows.T @ (mixtures[:, spans] / np.sqrt(squares[spans])).astype(np.float32)
        return cls(mean, scale, directions, squares[spans] / len(rows))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """The logarithms of probabilities, along the last axis."""
    shifted: np.ndarray = logits - logits.max(axis=-1, keepdims=True)
    normalized: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalized


def _read(features: Features) -> Iterator[tuple[slice, Float32[np.ndarray, "m v d"]]]:
    count, views, width = features.shape
    step = max(1, _BLOCK // (views * width))
    for start in range(0, count, step):
        images = slice(start, start + step)
        yield images, np.asarray(features[images], np.float32)
