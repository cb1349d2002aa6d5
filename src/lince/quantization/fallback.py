"""The fallback ladder: what to compute in when int8 throughout loses too much. The choice is made on validation images.

int8      everything in int8
mixed     the most sensitive layers in float, one more at a time, up to a bound
int16     int8 weights, 16-bit activations: precise, and slow, since LiteRT has plain kernels only
dynamic   int8 weights, activations in float, brought to int8 image by image
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from lince import metrics
from lince.errors import GateError
from lince.inference.interpreter import Network
from lince.model_file.manifest import Arithmetic, Attempt, Sensitivity
from lince.quantization import certificate, divergence, flatbuffer_inference, quantizer
from lince.quantization.activation_ranges import Ranges
from lince.quantization.export import FloatNetwork
from lince.text import quantity
from lince.training import advice
from lince.training.recipe import Quantize
from lince.types import Interval, Split


def climb(
    network: FloatNetwork,
    ranges: Ranges,
    *,
    costs: Sensitivity,
    images: Split,
    options: Quantize,
    folder: Path,
    say: Callable[[str], None],
) -> tuple[Arithmetic, tuple[Attempt, ...]]:
    """Tries one arithmetic after the other until one loses no more than the bound, or than one image.

    Where none does, it takes the one that lost least, if the gate would let it through. So few images as a user may
    have decide little, but a rung is not given up for one that lost more.

    Args:
        network: exported.
        ranges: of its activations.
        costs: of its layers, costliest first.
        images: of the validation split; the test split is read once, for the certificate of what is chosen here.
        options: the rungs, the bound, and how many layers may stay in float.
        folder: the run's, for the sentence that says how to go on.
        say: told of every attempt.

    Returns:
        What was chosen, and all attempts; the chosen one is marked.

    Raises:
        GateError: the gate would refuse every rung.
    """
    exact = flatbuffer_inference.logits(quantizer.in_float(network), images.images)
    attempts = []
    for arithmetic in _rungs(costs, options):
        with quantizer.silenced():
            flatbuffer = quantizer.to_arithmetic(network, ranges, arithmetic)
        attempts.append(_attempt(arithmetic, flatbuffer, exact, images, bound=options.max_drop_points))
        say(_sentence(attempts[-1]))
        if attempts[-1].passed:
            return arithmetic, tuple(attempts)
    least = min(attempts, key=lambda attempt: attempt.drop_points.value)
    right = int((exact.argmax(axis=1) == images.labels).sum()) - certificate.images_lost(least.drop_points, least.n)
    if certificate.is_refused(least.drop_points, n=least.n, max_drop_points=options.max_drop_points):
        raise GateError(
            f"Every rung loses more than {options.max_drop_points} points on "
            f"{quantity(len(images), 'validation image')}: {'; '.join(map(_sentence, attempts))}. "
            f"{certificate.expected(options.max_drop_points)} "
            + advice.after_ladder(
                least.drop_points.value,
                options,
                folder=folder,
                num_layers=len(costs.layers),
                is_above_one_class=right > np.bincount(images.labels).max(),
            )
        )
    say(f"None keeps the bound of {options.max_drop_points} points. Taken is what lost least.")
    return least.arithmetic, tuple(replace(one, passed=one is least) for one in attempts)


def suffices(drop: Interval, *, n: int, max_drop_points: float) -> bool:
    """Whether a rung is taken at once: what it loses is within the bound, or one image.

    A bound of 0.5 points is finer than one image where there are fewer than 200, and one that falls the other way by
    chance is no reason to compute in something slower.
    """
    return certificate.images_lost(drop, n) <= 1 or not certificate.is_above(drop, n, max_drop_points)


def _rungs(costs: Sensitivity, options: Quantize) -> Iterator[Arithmetic]:
    yield Arithmetic()
    layers = [cost.layer for cost in costs.layers]
    for kind in options.fallback:
        if kind == "mixed":
            # With every layer in float nothing would be left of the quantised network.
            for count in range(1, min(options.max_float_layers, len(layers) - 1) + 1):
                yield Arithmetic("mixed", tuple(layers[:count]))
        else:
            yield Arithmetic(kind)


def _attempt(arithmetic: Arithmetic, flatbuffer: bytes, exact: np.ndarray, images: Split, *, bound: float) -> Attempt:
    with quantizer.silenced():
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
        divergence=divergence.measure(exact, logits),
        flatbuffer_bytes=len(flatbuffer),
        latency_us=1e6 * seconds / len(images),
        passed=suffices(drop, n=len(images), max_drop_points=bound),
    )


def _sentence(attempt: Attempt) -> str:
    return f"{attempt.arithmetic.description}: {attempt.drop_points.value:+.2f} points lost"
