"""Probability calibration: temperature, prediction sets and "I don't know", fitted once and applied everywhere.

These numbers are fitted on held-out images, with the network that is served:

- **Temperature.** Logits are divided by it so that the true classes are most probable a posteriori. The answer does not
  change, only its probability. Source: Guo et al. 2017, arXiv:1706.04599, who maximise the likelihood alone. When a
  few images are all answered rightly, there is no maximum: the likelihood rises as the temperature falls to 0.
  Therefore 1 / temperature has a weakly informative prior, see `_PRIOR_WEIGHT`; thousands of images outweigh it.
- **Uniform share.** n images cannot show that a mistake is rarer than about one in n. Therefore the probabilities of
  each image are mixed with the uniform distribution until none exceeds (n + ½) / (n + 1) and none is 0. This is the
  rule of succession with half an image for either outcome. The order of the classes stays, and probabilities below the
  bound do not change. Source: Krichevsky and Trofimov 1981, IEEE Trans. Inf. Theory 27:199.
- **Set threshold.** Split conformal prediction with the score 1 − p(true class). It assumes that the fitted images and
  new ones are exchangeable. Then the set {classes with probability >= threshold} holds the true class of a new image
  with at least the stated probability. The top class is always added, so that a set is never empty; this can only
  raise the coverage. The guarantee is marginal, over images and classes, not for each class. Fewer images than
  coverage / (1 − coverage), 19 for 95 %, can promise nothing: then there are no sets.
  Source: Sadinle, Lei, Wasserman 2019, J. Am. Stat. Assoc. 114:223, arXiv:1609.00451; Vovk, Gammerman, Shafer 2005,
  *Algorithmic Learning in a Random World*.
- **Abstention threshold.** The answer is "I don't know" when a score is below a quantile of the held-out images'
  scores. By the same argument, a new image is below it with at most that probability. The score is the top probability,
  times exp(−weight · distance) where the model measures the distance of a picture from its training images
  (`lince.familiarity`): the stranger the picture, the more probable its class must be. In logarithms it is a sum. The
  weight gives both terms the same standard deviation over the held-out images. No foreign picture is needed for that.

The temperature is fitted on the same images as the thresholds, which the assumption of exchangeability does not cover
strictly. It keeps the order of every image's classes; a test measures that the coverage is as promised.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float32, Int64
from msgspec import Meta, Struct

from lince import metrics
from lince.errors import LinceError
from lince.schema import Share
from lince.text import quantity
from lince.types import Calibration, Prediction, SetReport

# 1 / T has the gamma distribution of shape weight + 1 and rate weight. Its mode is T = 1, the aim of training by
# cross-entropy; 95 % of it are T from 0.28 to 3.2. Optima of our networks were 0.58 to 2.61.
# Weights from 1 to 8, log-normal priors and smoothed targets were compared: docs/experiments.md, 2026-11-25. A gamma
# density is log-concave in 1 / T, as the likelihood is, so that there is one mode.
# Sources: Gelman, Jakulin, Pittau, Su 2008, Ann. Appl. Stat. 2:1360, arXiv:0901.4011: weakly informative priors where
# classes are separated; Chung, Rabe-Hesketh, Dorie, Gelman, Liu 2013, Psychometrika 78:685: gamma priors that keep a
# scale from its boundary.
_PRIOR_WEIGHT = 2.0
_TEMPERATURE_BOUNDS = (1e-3, 1e3)  # of the search for the mode: 300 times beyond every measured value
_HALVINGS = 50  # of a bracket 14 wide in log T: T to 13 digits, in 50 softmaxes

_TINY = float(np.finfo(np.float64).tiny)
_ROUNDING = 1e-4  # of distances, which are about 1 and come from float32

# A probability that is printed like the highest one is never answered with "I don't know".
_PRINTED_STEP = 0.001


class Calibrate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Probability calibration, fitted on images that were held out from training.

    Attributes:
        coverage: share of images whose prediction set should contain the true class. 0.95 needs 19 validation images,
            0.9 needs 9; with fewer there are no sets.
        abstain: share of validation images for which the model answers "I don't know".
    """

    coverage: Annotated[float, Meta(gt=0, lt=1)] = 0.95
    abstain: Share = 0.05


def fit(
    logits: Float32[np.ndarray, "n k"],
    labels: Int64[np.ndarray, " n"],
    *,
    coverage: float = 0.95,
    abstain: float = 0.05,
    distances: Float32[np.ndarray, " n"] | None = None,
) -> Calibration:
    """Fits temperature, set threshold and abstention threshold on held-out images.

    Args:
        logits: f32[N,K], finite, of images that the network was not trained on.
        labels: i64[N], their true classes.
        coverage: the probability, 0..1 exclusive, with which the set should hold the true class.
        abstain: the largest share of images, 0..1 exclusive or 0, that is answered with "I don't know".
        distances: f32[N], finite, from the training images; None where the model does not measure them.

    Returns:
        The calibration. When N is too small to promise the coverage (see `images_for_sets`), the set threshold is None:
        there are no sets. N < 1 / abstain − 1 never abstains.

    Raises:
        LinceError: logits or distances are not finite.
    """
    _require_finite(logits, distances)
    temperature = _fit_temperature(logits, labels)
    uniform_share = _uniform_share(*logits.shape)
    probabilities = _probabilities(logits, temperature, uniform_share)
    true = probabilities[np.arange(len(labels)), labels]
    fitted = Calibration(
        temperature=temperature,
        coverage=coverage,
        set_threshold=_set_threshold(true, coverage),
        n=len(labels),
        uniform_share=uniform_share,
    )
    return fit_abstention(fitted, logits, abstain=abstain, distances=distances)


def fit_abstention(
    calibration: Calibration,
    logits: Float32[np.ndarray, "n k"],
    *,
    abstain: float,
    distances: Float32[np.ndarray, " n"] | None = None,
) -> Calibration:
    """The calibration with a threshold and a weight for "I don't know"; arguments and errors as of `fit`.

    Args:
        calibration: gives the probabilities.
        logits: f32[N,K], of the images that it was fitted on.
    """
    _require_finite(logits, distances)
    top = _probabilities(logits, calibration.temperature, calibration.uniform_share).max(axis=1)
    weight = 0.0 if distances is None else _distance_weight(top, distances)
    scores = _scores(top, distances, weight)
    threshold = _abstain_threshold(scores, abstain, unit=float(scores.max()) if weight > 0 else 1.0)
    return replace(calibration, abstain_below=threshold, distance_weight=weight if threshold > 0 else 0.0)


def apply(
    logits: Float32[np.ndarray, "n k"],
    calibration: Calibration,
    *,
    distances: Float32[np.ndarray, " n"] | None = None,
) -> Prediction:
    """Turns logits into answers.

    Args:
        logits: f32[N,K], finite; N may be 0.
        calibration: from `fit`; `Calibration()` for a network that was never calibrated: it has no sets and never
            abstains.
        distances: f32[N], finite, from the training images; required where the calibration gives them a weight.

    Returns:
        The answers; `indices` are taken from the logits, where the softmax cannot round two classes to a tie.

    Raises:
        LinceError: logits or distances are not finite, or distances are missing.
    """
    _require_finite(logits, distances)
    weight = calibration.distance_weight
    if weight > 0 and distances is None:
        raise LinceError(
            f"Received logits alone for a calibration with distance_weight={weight:.4g}. Expected distances as well: "
            "use `Classifier.predict`, or `Classifier.outputs`."
        )
    probabilities = _probabilities(logits, calibration.temperature, calibration.uniform_share)
    indices = logits.argmax(axis=1)
    return Prediction(
        logits=logits,
        probabilities=probabilities,
        indices=indices,
        sets=_sets(probabilities, indices, calibration.set_threshold),
        abstain=_scores(np.maximum.reduce(probabilities, axis=1), distances, weight)
        < np.float32(calibration.abstain_below),
        distances=distances,
    )


def probabilities(logits: Float32[np.ndarray, "n k"], calibration: Calibration) -> Float32[np.ndarray, "n k"]:
    """The probabilities alone, for which no distances are needed; arguments and errors as of `apply`."""
    _require_finite(logits, None)
    return _probabilities(logits, calibration.temperature, calibration.uniform_share)


def images_for_sets(coverage: float) -> int:
    """The fewest images on which sets of that coverage, 0..1 exclusive, can be fitted: 19 for 95 %."""
    return _whole(math.ceil, coverage / (1 - coverage))


def what_is_missing(calibration: Calibration) -> str:
    """Why a model has no prediction sets, and that it never answers "I don't know"; empty when it has both."""
    never = "" if calibration.abstain_below > 0 else "The model never answers “I don't know”."
    return " ".join(filter(None, (_why_no_sets(calibration), never)))


def set_report(prediction: Prediction, labels: Int64[np.ndarray, " n"], calibration: Calibration) -> SetReport:
    """Measures sets and abstentions on labelled images.

    Args:
        prediction: answers for N images, N at least 1.
        labels: i64[N], their true classes.
        calibration: of these answers; its coverage is the target.

    Returns:
        Coverage with its Wilson interval and mean size of the sets (classes), both None when there are none; share of
        abstentions, and accuracy of the other answers (0 when there are none).
    """
    sets = prediction.sets
    covered = None if sets is None else int(sets[np.arange(len(labels)), labels].sum())
    right = (prediction.indices == labels)[~prediction.abstain]
    return SetReport(
        target_coverage=calibration.coverage,
        coverage=None if covered is None else metrics.accuracy_interval(covered, len(labels)),
        mean_size=None if sets is None else float(sets.sum(axis=1).mean()),
        abstained=float(prediction.abstain.mean()),
        accuracy_when_answering=float(right.mean()) if len(right) else 0.0,
    )


def coverage_spread_points(calibration: Calibration) -> float:
    """Two standard deviations, percentage points, of the coverage of sets that are fitted on so many images.

    It follows a beta distribution (Vovk 2012, arXiv:1209.2673); 2 points need about 500 images at 95 %.
    """
    coverage = calibration.coverage
    return 200 * math.sqrt(coverage * (1 - coverage) / (calibration.n + 2))


def _why_no_sets(calibration: Calibration) -> str:
    if calibration.set_threshold is not None:
        return ""
    if calibration.n == 0:
        return "No prediction sets: the model was never calibrated."
    coverage = calibration.coverage
    # a model file may state any share
    needed = f"{images_for_sets(coverage):,}" if 0 < coverage < 1 else "more than there are"
    return f"No prediction sets: {quantity(calibration.n, 'validation image')}, {100 * coverage:.4g} % needs {needed}."


def _fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Finds the T where the slope of the negative log-posterior vanishes, by bisection in log T.

    Likelihood and prior are log-concave in 1/T, so that the slope by 1/T only rises with 1/T. It is the sum of
    E_p[logit] − logit of the true class over the images, and weight · (1 − T). Bisection needs nothing else, and cannot
    diverge as Newton's method can where the slope is flat.
    """
    centred = logits.astype(np.float64)
    centred -= centred.max(axis=1, keepdims=True)
    true = centred[np.arange(len(labels)), labels].sum()

    def slope(temperature: float) -> float:
        weights = np.exp(centred / temperature)
        expected = ((weights * centred).sum(axis=1) / weights.sum(axis=1)).sum()
        return float(expected - true) + _PRIOR_WEIGHT * (1 - temperature)

    if slope(1.0) == 0:  # also a network whose logits are all equal: to 1 itself, not to 13 digits of it
        return 1.0
    low, high = (math.log(bound) for bound in _TEMPERATURE_BOUNDS)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(math.exp(middle)) > 0 else (low, middle)
    return math.exp((low + high) / 2)


def _uniform_share(n: int, k: int) -> float:
    """The share of the uniform distribution that lowers a probability of 1 to (n + ½) / (n + 1); 0 for one class."""
    return k / (k - 1) / (2 * (n + 1)) if k > 1 else 0.0


def _probabilities(logits: np.ndarray, temperature: float, uniform_share: float) -> Float32[np.ndarray, "n k"]:
    """The softmax, mixed with the uniform distribution until each class has at least the probability share / K."""
    probabilities = metrics.softmax(logits, temperature)
    if uniform_share == 0:
        return probabilities
    k = logits.shape[1]
    least = k * np.minimum.reduce(probabilities, axis=1, keepdims=True).astype(np.float64)
    # The least is 1 where all classes are as probable: nothing is needed there.
    needed = np.maximum(uniform_share - least, 0) / np.maximum(1 - least, _TINY)
    mixed: Float32[np.ndarray, "n k"] = ((1 - needed) * probabilities + needed / k).astype(np.float32)
    return mixed


def _sets(
    probabilities: Float32[np.ndarray, "n k"], indices: Int64[np.ndarray, " n"], threshold: float | None
) -> Bool[np.ndarray, "n k"] | None:
    """The prediction sets, which always hold the top class; None without a threshold."""
    if threshold is None:
        return None
    sets = probabilities >= np.float32(threshold)
    sets[np.arange(len(indices)), indices] = True
    return sets


def _set_threshold(true_probabilities: Float32[np.ndarray, " n"], coverage: float) -> float | None:
    """The probability that ceil((n+1)·coverage) of the n true classes reach; None when n is too small for that."""
    n = len(true_probabilities)
    rank = _whole(math.ceil, (n + 1) * coverage)
    return float(np.sort(true_probabilities)[n - rank]) if rank <= n else None


def _distance_weight(top_probabilities: Float32[np.ndarray, " n"], distances: Float32[np.ndarray, " n"]) -> float:
    """The weight with which −log(probability) and weight · distance have the same standard deviation.

    0 where the distances do not differ by more than rounding.
    """
    spread = float(distances.std(dtype=np.float64))
    return float(np.log(top_probabilities, dtype=np.float64).std()) / spread if spread > _ROUNDING else 0.0


def _scores(
    top_probabilities: Float32[np.ndarray, " n"], distances: Float32[np.ndarray, " n"] | None, weight: float
) -> Float32[np.ndarray, " n"]:
    """The top probability, discounted for the distance."""
    if distances is None or weight == 0:
        return top_probabilities
    # The largest weight and distance of a stranger's file overflow float32.
    discounted = top_probabilities * np.exp(-weight * distances.astype(np.float64))
    return discounted.astype(np.float32)


def _abstain_threshold(scores: Float32[np.ndarray, " n"], abstain: float, *, unit: float) -> float:
    """The floor((n+1)·abstain)-th lowest score; 0, never, when that is none of them.

    It stays below the highest by one image in n + 1, and by one printed step. When all n images have about the same
    score, they do not show which answers to withhold, and rounding must not decide it.

    Args:
        unit: of that distance; 1 for probabilities. Scores that distances discount have another scale.
    """
    n = len(scores)
    rank = _whole(math.floor, (n + 1) * abstain)
    if rank < 1:
        return 0.0
    surest = float(scores.max()) - unit * max(1 / (n + 1), _PRINTED_STEP)
    return max(0.0, min(float(np.sort(scores)[rank - 1]), surest))


def _whole(rounding: Callable[[float], int], product: float) -> int:
    """Rounds (n+1)·share without the error of the share's binary form: 0.07 · 100 is 7.000000000000001."""
    return rounding(round(product, 9))


def _require_finite(logits: np.ndarray, distances: np.ndarray | None) -> None:
    if not np.logical_and.reduce(np.isfinite(logits), axis=None):
        count = int((~np.isfinite(logits)).any(axis=1).sum())
        raise LinceError(
            f"Received logits that are not finite for {count} of {len(logits)} images. Expected numbers: the network's "
            "weights are damaged, or its training diverged."
        )
    if distances is not None and not np.logical_and.reduce(np.isfinite(distances)):
        raise LinceError(
            f"Received distances that are not finite for {int((~np.isfinite(distances)).sum())} of {len(distances)} "
            "images. Expected numbers: the model file's familiarity.npz is damaged."
        )
