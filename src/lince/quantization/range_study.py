"""The choice of activation ranges, tried out: methods × numbers of calibration images × draws of them."""

from collections.abc import Callable
from typing import get_args

import numpy as np

from lince.data.splits import sample
from lince.model_file.manifest import Arithmetic, RangeMethod, Study, StudyPoint
from lince.quantization import divergence, flatbuffer_inference, quantizer
from lince.quantization.activation_ranges import Ranges, observe, span
from lince.quantization.export import FloatNetwork
from lince.training.recipe import Quantize
from lince.types import Split

_SIZES = (50, 200, 1000)
_DRAWS = 4  # enough to see whether methods differ by more than the luck of the draw


def run(
    network: FloatNetwork,
    *,
    train: Split,
    validation: Split,
    options: Quantize,
    seed: int,
    say: Callable[[str], None],
) -> Study:
    """Quantises the network by every method from every number of images, several times, and compares with float.

    Args:
        network: exported.
        train: where calibration images are drawn from, the same share of every class.
        validation: what the networks are compared on.
        options: the choice in use, which is studied as well.
        seed: of the first draw, which is the one in use.
        say: told what is being done.
    """
    sizes = sorted({min(size, len(train)) for size in (*_SIZES, options.calibration_images)})
    numbers = ", ".join(f"{size:,}" for size in sizes)
    say(f"Studying activation ranges from {numbers} images, {_DRAWS} draws of each, on {len(validation):,} others …")
    exact = flatbuffer_inference.logits(quantizer.in_float(network), validation.images)
    points = []
    for size in sizes:
        for draw in range(_DRAWS):
            with quantizer.silenced():
                extremes = observe(network, train.images[sample(train, size, seed=seed + draw)])
            for method in get_args(RangeMethod):
                logits = _logits(network, span(extremes, method), validation)
                accuracy = float((logits.argmax(axis=1) == validation.labels).mean())
                points.append(StudyPoint(method, size, draw, divergence.measure(exact, logits), accuracy))
    return Study(
        n=len(validation),
        float_accuracy=float((exact.argmax(axis=1) == validation.labels).mean()),
        method=options.ranges,
        images=min(options.calibration_images, len(train)),
        points=tuple(points),
    )


def _logits(network: FloatNetwork, ranges: Ranges, images: Split) -> np.ndarray:
    with quantizer.silenced():
        flatbuffer = quantizer.to_arithmetic(network, ranges, Arithmetic())
    return flatbuffer_inference.logits(flatbuffer, images.images)
