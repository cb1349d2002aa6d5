"""Measures of answers, in NumPy alone: each function takes arrays and returns numbers.

Probabilities are f32[N,K] with rows that sum to 1; the answer is the class with the highest probability, the lowest
index on a tie. Intervals are two-sided at 95 %.
"""

import math
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from lince.errors import LinceError
from lince.types import ClassScore, Interval

Z95 = NormalDist().inv_cdf(0.975)  # 1.96: 2.5 % of a normal distribution lie on each side of ±1.96

# The smallest normal float32, the type of probabilities: one that underflowed to 0 costs 87.3 nats, not infinity.
_SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)


def softmax(logits: Float32[np.ndarray, "n k"], temperature: float = 1.0) -> Float32[np.ndarray, "n k"]:
    """Turns logits into probabilities, in float64 inside.

    Args:
        logits: f32[N,K], finite.
        temperature: > 0; logits are divided by it. Above 1, answers become less confident; below 1, more.

    Returns:
        f32[N,K], each row non-negative with sum 1. Equal logits of a row give equal probabilities.
    """
    scaled: Float64[np.ndarray, "n k"] = logits.astype(np.float64) / temperature
    scaled -= np.maximum.reduce(scaled, axis=1, keepdims=True)  # `max` and `sum` would be slower for one image
    weights = np.exp(scaled)
    sums = np.add.reduce(weights, axis=1, keepdims=True)
    probabilities: Float32[np.ndarray, "n k"] = (weights / sums).astype(np.float32)
    return probabilities


def accuracy_interval(correct: int, n: int) -> Interval:
    """The share of right answers with its 95 % Wilson score interval.

    Args:
        correct: right answers, 0..n.
        n: answers, at least 1.

    Returns:
        value = correct / n, and bounds that stay inside 0..1 and are not empty at 0 or n right answers.

    Raises:
        LinceError: there is nothing to count, or there are more right answers than answers.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22:209; recommended by Brown, Cai, DasGupta 2001, Stat. Sci. 16:101.
    """
    if not 0 <= correct <= n or n == 0:
        raise LinceError(
            f"Received {correct} right answers of {n}. Expected 0 <= right <= answers, and at least 1 answer."
        )
    share = correct / n
    scale = 1 + Z95**2 / n
    centre = (share + Z95**2 / (2 * n)) / scale
    half = Z95 * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2)) / scale
    # At 0 and at n right answers the bound is the share itself; the subtraction would leave a rounding error there.
    low = 0.0 if correct == 0 else centre - half
    high = 1.0 if correct == n else centre + half
    return Interval(share, low, high)


def confusion_matrix(
    labels: Int64[np.ndarray, " n"], predicted: Int64[np.ndarray, " n"], num_classes: int
) -> Int64[np.ndarray, "k k"]:
    """Counts answers: row = true class, column = predicted class.

    Args:
        labels, predicted: i64[N], 0..num_classes-1.
        num_classes: K.

    Returns:
        i64[K,K]; its sum is N.

    Raises:
        LinceError: there are none, or their numbers differ.
    """
    _check_lengths(labels, predicted)
    cells = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes).astype(np.int64)


def class_scores(confusion: Int64[np.ndarray, "k k"], classes: tuple[str, ...]) -> tuple[ClassScore, ...]:
    """Precision, recall and F1 of every class, in the order of `classes`.

    Args:
        confusion: i64[K,K], row = true class, column = predicted class.
        classes: K names.

    Returns:
        One score a class. A ratio with denominator 0 is 0: the precision of a class that was never predicted, the
        recall of a class without images.
    """
    right, support, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    columns = (_ratio(right, predicted), _ratio(right, support), _ratio(2 * right, support + predicted), support)
    return tuple(
        ClassScore(label, float(precision), float(recall), float(f1), int(count))
        for label, precision, recall, f1, count in zip(classes, *columns, strict=True)
    )


def balanced_accuracy(confusion: Int64[np.ndarray, "k k"]) -> float:
    """The mean recall of the classes that have images, 0..1: accuracy as if every class were equally frequent.

    Args:
        confusion: i64[K,K], row = true class, column = predicted class.

    Source: Brodersen et al. 2010, ICPR, doi:10.1109/ICPR.2010.764.
    """
    support = confusion.sum(axis=1)
    return _mean_where(_ratio(confusion.diagonal(), support), support > 0)


def macro_f1(confusion: Int64[np.ndarray, "k k"]) -> float:
    """The mean F1 of the classes that have images, 0..1.

    Args:
        confusion: i64[K,K], row = true class, column = predicted class.
    """
    occurrences = confusion.sum(axis=1) + confusion.sum(axis=0)
    return _mean_where(_ratio(2 * confusion.diagonal(), occurrences), confusion.sum(axis=1) > 0)


def negative_log_likelihood(probabilities: Float32[np.ndarray, "n k"], labels: Int64[np.ndarray, " n"]) -> float:
    """The mean of −log p(true class), in nats.

    Args:
        probabilities: f32[N,K], N at least 1.
        labels: i64[N].
    """
    _check_lengths(labels, probabilities)
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    nats = np.log(np.clip(true, _SMALLEST_PROBABILITY, 1)).mean()  # float32's rounding may exceed one
    return abs(float(nats))  # −0.0 is printed with its sign


def expected_calibration_error(
    probabilities: Float32[np.ndarray, "n k"], labels: Int64[np.ndarray, " n"], bins: int = 15
) -> float:
    """The mean distance of top probability and share of right answers, over bins of equal width, 0..1.

    Args:
        probabilities: f32[N,K], N at least 1.
        labels: i64[N].
        bins: intervals (m/bins, (m+1)/bins] of the top probability.

    Source: Naeini et al. 2015, AAAI; as used, with 15 bins, by Guo et al. 2017, arXiv:1706.04599.
    """
    counts, confidence, accuracy = reliability_bins(probabilities, labels, bins)
    return float((counts * np.abs(accuracy - confidence)).sum() / counts.sum())


def reliability_bins(
    probabilities: Float32[np.ndarray, "n k"], labels: Int64[np.ndarray, " n"], bins: int = 15
) -> tuple[Int64[np.ndarray, " b"], Float64[np.ndarray, " b"], Float64[np.ndarray, " b"]]:
    """Counts, mean top probability and share of right answers in bins of equal width of the top probability.

    Args:
        probabilities: f32[N,K], N at least 1.
        labels: i64[N].
        bins: intervals (m/bins, (m+1)/bins] of the top probability.

    Returns:
        counts i64[bins], confidence f64[bins], accuracy f64[bins]; the latter two are 0 in an empty bin.
    """
    _check_lengths(labels, probabilities)
    top = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    inner_edges = np.linspace(0, 1, bins + 1)[1:-1]
    members = np.digitize(top, inner_edges, right=True)
    counts = np.bincount(members, minlength=bins)
    confidence = _ratio(np.bincount(members, top, minlength=bins), counts)
    accuracy = _ratio(np.bincount(members, right, minlength=bins), counts)
    return counts.astype(np.int64), confidence, accuracy


def difference(first: Interval, second: Interval) -> Interval:
    """The difference of two shares of different images, first minus second, with its 95 % interval.

    Args:
        first, second: each with its Wilson interval; see `accuracy_interval`.

    Returns:
        value and bounds in −1..1.

    Source: Newcombe 1998, Stat. Med. 17:873, method 10.
    """
    value = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Interval(value, value - below, value + above)


def points(share: Interval) -> Interval:
    """A difference of shares, −1..1, in percentage points."""
    return Interval(100 * share.value, 100 * share.low, 100 * share.high)


def paired_difference(correct_a: Bool[np.ndarray, " n"], correct_b: Bool[np.ndarray, " n"]) -> Interval:
    """The accuracy of a minus that of b on the same images, with its paired 95 % interval.

    It is Wald's interval after adding one image to each kind of disagreement. Without disagreement in 10,000 images it
    is therefore ±0.03 points, as by the rule of three, and not empty.

    Args:
        correct_a, correct_b: bool[N], whether each answer was right, in the same order; N at least 1.

    Returns:
        value = accuracy(a) − accuracy(b), −1..1, and bounds in −1..1.

    Raises:
        LinceError: there is nothing to compare, or the numbers of answers differ.

    Source: Bonett and Price 2012, J. Educ. Behav. Stat. 37:479; recommended by Fagerland, Lydersen, Laake 2014,
        Stat. Med. 33:2850.
    """
    _check_lengths(correct_a, correct_b)
    n = len(correct_a)
    only_a, only_b = int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    share_a, share_b = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    centre = share_a - share_b
    half = Z95 * math.sqrt((share_a + share_b - centre**2) / (n + 2))
    return Interval((only_a - only_b) / n, max(-1.0, centre - half), min(1.0, centre + half))


def disagreement(predicted_a: Int64[np.ndarray, " n"], predicted_b: Int64[np.ndarray, " n"]) -> float:
    """The share of images that two models answer differently, right or wrong, 0..1.

    Args:
        predicted_a, predicted_b: i64[N], in the same order; N at least 1.
    """
    _check_lengths(predicted_a, predicted_b)
    return float((predicted_a != predicted_b).mean())


def worst_class_drop(
    correct_a: Bool[np.ndarray, " n"], correct_b: Bool[np.ndarray, " n"], *, labels: Int64[np.ndarray, " n"]
) -> tuple[int, float]:
    """The class whose recall falls most from a to b.

    Args:
        correct_a, correct_b: bool[N], whether each answer was right, in the same order; N at least 1.
        labels: i64[N], the true classes.

    Returns:
        (index of the class, recall in a minus recall in b, −1..1); classes without images are left out, and
        the lowest index wins a tie.
    """
    _check_lengths(correct_a, correct_b)
    _check_lengths(labels, correct_a)
    support = np.bincount(labels)
    lost = np.bincount(labels, correct_a) - np.bincount(labels, correct_b)
    drops = np.where(support > 0, _ratio(lost, support), -np.inf)
    worst = int(drops.argmax())
    return worst, float(drops[worst])


def _check_lengths(first: np.ndarray, second: np.ndarray) -> None:
    """Refuses arrays that do not have one row (or entry) for each of the same images."""
    if len(first) != len(second):
        raise LinceError(f"Received {len(first)} and {len(second)} entries. Expected one each for the same images.")
    if len(first) == 0:
        raise LinceError("Received 0 images. Expected at least 1 to measure anything.")


def _ratio(above: np.ndarray, below: np.ndarray) -> Float64[np.ndarray, " k"]:
    """above / below, and 0 where the denominator is 0."""
    ratios = np.zeros(len(below))
    np.divide(above, below, out=ratios, where=below > 0)
    return ratios


def _mean_where(values: np.ndarray, mask: np.ndarray) -> float:
    return float(values[mask].mean()) if mask.any() else 0.0
