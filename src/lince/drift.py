"""Input drift: whether the pictures that a model gets are like those that it was validated on.

A model file carries how its validation images are distributed: by the class that it answers, and by brightness and
contrast of the pixels that the network reads, in ten bins that hold a tenth of them each. The service counts its
pictures in the same bins. The population stability index Σ (p − q) ln(p / q) compares both shares; Prometheus computes
it, see `docs/observability.md`.

Source: Siddiqi 2006, *Credit Risk Scorecards*: an index below 0.1 is no change, one above 0.25 a large one.
"""

from bisect import bisect_right

import numpy as np
from jaxtyping import Int64, UInt8

from lince.types import BinnedShares, DriftReference, Images

STATISTICS = ("brightness", "contrast")
"""What is measured of pixels, in the order of `statistics`."""

BINS = 10

_GRID = 16  # the statistics are of so many pixels a side at most: 3 µs an image, whatever its size


def statistics(images: UInt8[np.ndarray, "n h w 3"]) -> tuple[list[float], list[float]]:
    """Brightness and contrast of N images: mean and standard deviation of the values, 0..255, on a grid of the pixels.

    The sums are of integers, and so exact: an image has the same statistics on every machine, and in any batch.
    """
    n, height, width, _ = images.shape
    grid = np.ascontiguousarray(images[:, :: -(-height // _GRID), :: -(-width // _GRID)])
    values = grid.reshape(n, -1).astype(np.int32)  # 768 squares of 255 are far below its largest number
    means = np.add.reduce(values, axis=1) / values.shape[1]
    variances = np.einsum("ij,ij->i", values, values) / values.shape[1] - means * means
    return means.tolist(), np.sqrt(np.maximum(variances, 0)).tolist()


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
    found = (statistics(images[index : index + 1]) for index in range(n))
    brightness, contrast = zip(*((mean, deviation) for [mean], [deviation] in found), strict=True)
    counts = np.bincount(predicted, minlength=num_classes)
    return DriftReference(n, tuple((counts / n).tolist()), _binned(brightness), _binned(contrast))


def _binned(values: tuple[float, ...]) -> BinnedShares:
    edges = tuple(np.quantile(values, [place / BINS for place in range(1, BINS)]).tolist())
    counts = np.bincount([bin_of(value, edges) for value in values], minlength=BINS)
    return BinnedShares(edges, tuple((counts / len(values)).tolist()))
