"""The fallback, for a network that loses too much in int8: it keeps the most sensitive layers in float.

The number of float layers is chosen on validation images. The test images are used once, for the certificate.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Float32

from lince import metrics
from lince.inference import interpreter
from lince.inference.interpreter import Network
from lince.model_file.manifest import Arithmetic, Attempt, Sensitivity
from lince.quantization import certificate
from lince.quantization.activation_ranges import Ranges
from lince.quantization.comparison import divergence
from lince.quantization.export import FloatNetwork
from lince.quantization.quantizer import quantize, without_quantization
from lince.system import quiet
from lince.text import quantity
from lince.types import Interval, Split

IMAGES = 4000
"""Validation images to compare accuracies on: a change of 0.5 points is then 20 images."""

# On `classic`, one float layer regained two thirds of the loss, and the second to the fourth regained nothing that was
# measurable (docs/experiments.md, "the certificate"). Each one makes the model larger and slower.
_MOST_FLOAT_LAYERS = 4


def choose(
    network: FloatNetwork,
    ranges: Ranges,
    *,
    sensitivity: Sensitivity,
    images: Split,
    max_drop_points: float,
    say: Callable[[str], None],
) -> tuple[Attempt, ...]:
    """Tries int8, then one more float layer at a time, until the loss is within the bound or is one image.

    When every network loses more, the one that lost least is chosen if the gate would publish it: a few validation
    images cannot show a difference of half a point.

    Args:
        network: exported.
        ranges: of its activations.
        sensitivity: of its layers, most sensitive first.
        images: of the validation split.
        max_drop_points: the bound.
        say: receives a sentence about every attempt.

    Returns:
        All attempts, in order. One of them is marked as chosen, or none when the gate would refuse all.
    """
    if 100 > max_drop_points * len(images):
        few = quantity(len(images), "validation image")
        say(f"{few} cannot tell networks apart: one image is {100 / len(images):.1f} points.")
    exact = interpreter.logits(without_quantization(network), images.images)
    attempts = []
    for arithmetic in _candidates(sensitivity):
        flatbuffer = quantize(network, ranges, arithmetic)
        attempts.append(_attempt(arithmetic, flatbuffer, exact, images, max_drop_points=max_drop_points))
        say(describe(attempts[-1]))
        if attempts[-1].is_chosen:
            return tuple(attempts)
    best = least_loss(attempts)
    if certificate.is_refused(best.drop_points, n=best.n, max_drop_points=max_drop_points):
        return tuple(attempts)
    say(f"All lose more than {max_drop_points} points. The one that lost least is used.")
    return tuple(replace(one, is_chosen=one is best) for one in attempts)


def is_acceptable(drop: Interval, *, n: int, max_drop_points: float) -> bool:
    """Whether a loss on validation images is within the bound, or one image.

    With fewer than 200 images, one image is more than the usual bound of 0.5 points. A difference of one image is
    chance, and no reason to keep layers in float.
    """
    return certificate.images_lost(drop, n) <= 1 or not certificate.is_above(drop, n, max_drop_points)


def least_loss(attempts: tuple[Attempt, ...] | list[Attempt]) -> Attempt:
    """The attempt with the smallest loss; the first of several."""
    return min(attempts, key=lambda attempt: attempt.drop_points.value)


def describe(attempt: Attempt) -> str:
    """A sentence: what the network computes in, and what it lost."""
    return f"{attempt.arithmetic.description}: {attempt.drop_points.value:+.2f} points lost"


def _candidates(sensitivity: Sensitivity) -> Iterator[Arithmetic]:
    layers = [cost.layer for cost in sensitivity.layers]
    # At least one layer stays in int8: otherwise nothing is quantized.
    for count in range(min(_MOST_FLOAT_LAYERS, len(layers) - 1) + 1):
        yield Arithmetic(tuple(layers[:count]))


def _attempt(
    arithmetic: Arithmetic,
    flatbuffer: bytes,
    exact: Float32[np.ndarray, "n k"],
    images: Split,
    *,
    max_drop_points: float,
) -> Attempt:
    with quiet.captured_stderr():
        network = Network(flatbuffer)
    began = time.perf_counter()
    logits = network.dequantize(network.run(images.images))
    seconds = time.perf_counter() - began
    exact_right, right = (answers.argmax(axis=1) == images.labels for answers in (exact, logits))
    drop = metrics.points(metrics.paired_difference(exact_right, right))
    return Attempt(
        arithmetic=arithmetic,
        n=len(images),
        drop_points=drop,
        divergence=divergence(exact, logits),
        accuracy=float(right.mean()),
        flatbuffer_bytes=len(flatbuffer),
        latency_us=1e6 * seconds / len(images),
        is_chosen=is_acceptable(drop, n=len(images), max_drop_points=max_drop_points),
    )
