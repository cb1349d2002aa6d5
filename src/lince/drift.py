"""Input drift: whether the pictures that a model gets are like those that it was validated on.

A model file carries how its validation images are distributed: by the class that it answers, and by brightness and
contrast of the pixels that the network reads, in ten bins that hold a tenth of them each. The service counts its
pictures in the same bins. The population stability index Σ (p − q) ln(p / q) compares both shares; Prometheus computes
it, see `docs/observability.md`.

Source: Siddiqi 2006, *Credit Risk Scorecards*: an index below 0.1 is no change, one above 0.25 a large one.
"""

import math
from bisect import bisect_right

import numpy as np
from jaxtyping import Int64, UInt8

from lince.types import BinnedShares, DriftReference, Images

STATISTICS = ("brightness", "contrast")
"""What is measured of pixels, in the order of `statistics`."""

BINS = 10

# The statistics are of a grid of at most so many pixels a side: 3 µs an image, whatever its size. For products of
# 10,000 numbers and more, NumPy's matrix library starts threads that wait for each other (`system/blas.py`).
_GRID = 16


def statistics(image: UInt8[np.ndarray, "h w 3"]) -> tuple[float, float]:
    """Brightness and contrast of an image: mean and standard deviation of its values, 0..255, on a grid of its pixels.

    The sums are of integers in float64, and so exact: an image has the same statistics on every machine.
    """
    height, width, _ = image.shape
    values = image[:: -(-height // _GRID), :: -(-width // _GRID)].astype(np.float64).ravel()
    mean = float(values.sum()) / values.size
    variance = float(values.dot(values)) / values.size - mean * mean
    return mean, math.sqrt(max(0.0, variance))


def bin_of(value: float, edges: tuple[float, ...]) -> int:
    """The bin of a value, 0 to `BINS` − 1; a value on an edge is in the upper bin."""
    return bisect_right(edges, value)


def reference(images: Images, predicted: Int64[np.ndarray, " n"], *, num_classes: int) -> DriftReference:
    """What validation images are like.

    Args:
        images: u8[N,H,W,3], as the network reads them, N at least 1. They are read one by one.
        predicted: i64[N], the class that the published network answers for each.
        num_classes: K.
    """
    n = len(images)
    brightness, contrast = zip(*(statistics(images[index]) for index in range(n)), strict=True)
    counts = np.bincount(predicted, minlength=num_classes)
    return DriftReference(n, tuple((counts / n).tolist()), _binned(brightness), _binned(contrast))


def _binned(values: tuple[float, ...]) -> BinnedShares:
    edges = tuple(np.quantile(values, [place / BINS for place in range(1, BINS)]).tolist())
    counts = np.bincount([bin_of(value, edges) for value in values], minlength=BINS)
    return BinnedShares(edges, tuple((counts / len(values)).tolist()))
