"""The certificate: float against int8, on the same images, and the gate that a model must pass to be published."""

import numpy as np
from jaxtyping import UInt8

from lince import latency, machine
from lince.classifier import Network
from lince.errors import GateError
from lince.published import Arithmetic, Certificate, Comparison


def certify(
    comparison: Comparison,
    flatbuffer: bytes,
    image: UInt8[np.ndarray, "1 h w 3"],
    *,
    max_drop_points: float,
    force: bool,
    arithmetic: Arithmetic = Arithmetic(),
) -> Certificate:
    """Judges a comparison of float and quantised network on the test split, and adds size and latency.

    Args:
        comparison: both networks' answers, paired.
        flatbuffer: the quantised network; its latency is measured here, on one thread.
        image: what to measure the latency with; its content does not matter.
        max_drop_points: refuse when it loses more accuracy than this, percentage points; see `loses_too_much`.
        force: publish all the same, and say so in the certificate.
        arithmetic: what the network computes in; another than int8 was chosen because it passed on validation images.

    Raises:
        GateError: more was lost than the bound, and `force` is off.
    """
    above = loses_too_much(comparison.drop_points.value, n=comparison.n, max_drop_points=max_drop_points)
    if above and not force:
        what = "int8" if arithmetic.kind == "int8" else f"The network ({arithmetic.description})"
        raise GateError(
            f"{what} answers {comparison.drop_points.value:.2f} points worse than float "
            f"({comparison.float_accuracy:.2%} → {comparison.int8_accuracy:.2%}, n = {comparison.n:,}). "
            f"Expected a drop of at most {max_drop_points} points, or one image. What was trained is kept: by lince "
            "quantize, read the ranges from more training images, if there are more (--set "
            "quantize.calibration_images=5000), keep what is sensitive out of int8 (--fallback, judged on validation "
            "images: lower quantize.max_drop_points if it passed there), or publish all the same with --force."
        )
    return Certificate(
        **vars(comparison),
        split="test",
        flatbuffer_bytes=len(flatbuffer),
        latency_us=latency.time_network(Network(flatbuffer), image, threads=1).median_us,
        machine=machine.describe(),
        bound_points=max_drop_points,
        forced=above,
    )


def loses_too_much(drop_points: float, *, n: int, max_drop_points: float) -> bool:
    """Whether a network fails the gate: it loses more than the bound, and more than one image.

    A bound of 0.5 points is finer than one image where there are fewer than 200: these cannot show that it is kept, and
    one of them that falls the other way by chance must not stop a user with few images.

    Args:
        drop_points: by how much it answers worse than float, percentage points.
        n: images compared.
        max_drop_points: the bound.
    """
    return drop_points > max_drop_points and round(drop_points * n / 100) > 1
