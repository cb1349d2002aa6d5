"""The certificate: float against int8, on the same images, and the gate that a model must pass to be published."""

import time

import numpy as np
from jaxtyping import UInt8

from lince.classifier import Network
from lince.errors import GateError
from lince.records import Certificate, Comparison
from lince.training import backend

# The median of this many runs moves by less than 2 % between repetitions on an idle machine.
_LATENCY_RUNS = 300


def certify(
    comparison: Comparison,
    flatbuffer: bytes,
    image: UInt8[np.ndarray, "1 h w 3"],
    *,
    max_drop_points: float,
    force: bool,
) -> Certificate:
    """Judges a comparison of float and int8 on the test split, and adds size and latency.

    Args:
        comparison: both networks' answers, paired.
        flatbuffer: the int8 network; its latency is measured here, on one thread.
        image: what to measure the latency with; its content does not matter.
        max_drop_points: refuse when int8 loses more accuracy than this, percentage points.
        force: publish all the same, and say so in the certificate.

    Raises:
        GateError: int8 lost more than the bound, and `force` is off.
    """
    above = comparison.drop_points.value > max_drop_points
    if above and not force:
        raise GateError(
            f"int8 answers {comparison.drop_points.value:.2f} points worse than float "
            f"({comparison.float_accuracy:.2%} → {comparison.int8_accuracy:.2%}, n = {comparison.n:,}). "
            f"Expected a drop of at most {max_drop_points} points: give quantize.calibration_images more, "
            "or publish all the same with --force."
        )
    return Certificate(
        **vars(comparison),
        split="test",
        flatbuffer_bytes=len(flatbuffer),
        latency_us=latency_us(Network(flatbuffer), image),
        machine=backend.machine(),
        bound_points=max_drop_points,
        forced=above,
    )


def latency_us(network: Network, image: UInt8[np.ndarray, "1 h w 3"]) -> float:
    """Median time of one image through the network on one thread, microseconds."""
    for _ in range(20):  # the first runs pack weights and warm the caches
        network.run(image)
    times = []
    for _ in range(_LATENCY_RUNS):
        began = time.perf_counter()
        network.run(image)
        times.append(time.perf_counter() - began)
    return float(np.median(times)) * 1e6
