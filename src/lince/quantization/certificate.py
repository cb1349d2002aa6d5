"""The certificate, float against int8 on the same images; the gate before publishing; the certificate as a table."""

import numpy as np
from jaxtyping import UInt8

from lince.errors import GateError
from lince.evaluation import verdict
from lince.inference import latency
from lince.inference.interpreter import Network
from lince.model_file.manifest import Arithmetic, Certificate, Comparison
from lince.number_formats import file_size, microseconds, percent, points, points_range
from lince.system import machine
from lince.text import quantity
from lince.types import Interval, Report, TextTable

# A drop above both is refused, whatever its interval. 5 points are ten times the default bound. Suppose that five
# answers change by chance, better or worse with equal probability. Then a net loss of three or more has a probability
# of 19 %, and of more than three 3 %.
_LARGE_DROP_POINTS, _FEW_IMAGES = 5, 3


def certify(
    comparison: Comparison,
    flatbuffer: bytes,
    image: UInt8[np.ndarray, "1 h w 3"],
    *,
    max_drop_points: float,
    force: bool,
    advice: str,
    arithmetic: Arithmetic = Arithmetic(),
) -> Certificate:
    """Judges a comparison of float and quantized network on the test split, and adds size and latency.

    Args:
        comparison: both networks' answers, paired.
        flatbuffer: the quantized network; its latency is measured here, on one thread.
        image: the image to measure the latency with; its content does not matter.
        max_drop_points: the bound on the loss, percentage points; see `is_refused`.
        force: do not refuse; the certificate says so.
        advice: the end of the error message; see `advice.after_loss`.
        arithmetic: of the quantized network.

    Raises:
        GateError: too much was lost, and `force` is off.
    """
    refused = is_refused(comparison.drop_points, n=comparison.n, max_drop_points=max_drop_points)
    if refused and not force:
        what = "int8" if arithmetic.kind == "int8" else f"The network ({arithmetic.description})"
        drop = comparison.drop_points
        raise GateError(
            f"{what} answers {drop.value:.2f} points worse than float ({percent(comparison.float_accuracy)} → "
            f"{percent(comparison.int8_accuracy)}, n = {comparison.n:,}, 95 % interval {drop.low:.2f} to "
            f"{drop.high:.2f}). {expected(max_drop_points)} {advice}"
        )
    return Certificate(
        comparison=comparison,
        split="test",
        flatbuffer_bytes=len(flatbuffer),
        latency_us=latency.time_network(Network(flatbuffer), image, threads=1).median_us,
        machine=machine.describe(),
        bound_points=max_drop_points,
        forced=refused,
    )


def table(certificate: Certificate, arithmetic: Arithmetic = Arithmetic()) -> TextTable:
    """The certificate of a model as a table: float, quantized, their difference, and a remark."""
    found, kind = certificate.comparison, arithmetic.kind
    error = f"{points(100 * (found.int8_ece - found.float_ece))} points"
    rows = (
        (
            "accuracy",
            percent(found.float_accuracy),
            percent(found.int8_accuracy),
            f"{points(found.difference_points.value)} points",
            f"paired 95 % interval of the difference {points_range(found.difference_points)}",
        ),
        (
            "calibration error",
            percent(found.float_ece),
            percent(found.int8_ece),
            error,
            f"ECE, 15 bins; as served, after temperature: {percent(found.calibrated_ece)}",
        ),
        ("worst class", "", "", f"{points(-found.worst_class_drop_points)} points", found.fallen),
        ("different answers", "", "", percent(found.disagreement), "of the images, right or wrong"),
        ("size", "", file_size(certificate.flatbuffer_bytes), "", f"{certificate.flatbuffer_bytes:,} bytes"),
        ("latency", "", microseconds(certificate.latency_us), "", "one image, one thread, median"),
    )
    fallback = "" if kind == "int8" else f" Computes in {arithmetic.description}, by --fallback."
    return TextTable(
        name="certificate",
        title=f"Certificate: float against {kind}, {quantity(found.n, 'image')} of the {certificate.split} split",
        header=("", "float", kind, "difference", "remark"),
        rows=rows,
        caption=f"Bound on the drop: {certificate.bound_points:.2f} points, {certificate.verdict}.{fallback} "
        f"Latency on {certificate.machine}.",
        words=(0, 4),
    )


def require_above_one_class(report: Report, *, force: bool, advice: str) -> None:
    """Raises GateError when a model is no better than always naming the largest class; `force` turns this off.

    Args:
        report: of the model file on the test split.
        force: do not refuse; the verdict says so.
        advice: the end of the error message; see `advice.after_chance`.
    """
    if not force and not verdict.is_above_one_class(report):
        raise GateError(
            f"The network is {verdict.against_one_class(report)}. Expected more right answers than that. {advice}"
        )


def is_refused(drop: Interval, *, n: int, max_drop_points: float) -> bool:
    """Whether a network fails the gate: its loss is significantly above the bound, or much larger in these images.

    When the images are too few to decide, the network passes, and the certificate says so.

    Args:
        drop: float minus quantized accuracy, percentage points, with its paired interval.
        n: images compared.
        max_drop_points: the bound.
    """
    is_shown = drop.low > max_drop_points
    is_large = is_above(drop, n, max(_LARGE_DROP_POINTS, max_drop_points)) and images_lost(drop, n) > _FEW_IMAGES
    return is_shown or is_large


def is_above(drop: Interval, n: int, points: float) -> bool:
    """Whether the measured drop exceeds so many points, counted in whole images so that rounding is harmless."""
    return 100 * images_lost(drop, n) > points * n


def images_lost(drop: Interval, n: int) -> int:
    """Right answers of the float network minus those of the quantized one, of `n` images."""
    return round(drop.value * n / 100)


def expected(max_drop_points: float) -> str:
    """The condition of the gate, as a sentence."""
    large = max(_LARGE_DROP_POINTS, max_drop_points)
    return (
        f"Expected a drop that is not shown to exceed {max_drop_points} points, and that is at most {large:g} points "
        f"or {_FEW_IMAGES} images."
    )
