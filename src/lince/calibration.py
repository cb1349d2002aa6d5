"""From logits to honest answers: temperature, prediction sets and "I don't know"; fitted once, applied everywhere.

Three numbers are fitted on held-out images through the network that is served:

- **Temperature.** Logits are divided by it so that the likelihood of the true classes is highest. The answer does not
  change, only how sure it is. Source: Guo et al. 2017, arXiv:1706.04599.
- **Set threshold.** Split conformal prediction with the score 1 − p(true class): when the images it was fitted on and
  new ones are exchangeable, the set {classes with probability >= threshold} holds the true class of a new image with
  at least the stated probability. The top class is always added, so that a set is never empty; adding can only
  raise coverage, so the guarantee stays. It is marginal, over images and classes, not for each class.
  Source: Sadinle, Lei, Wasserman 2019, J. Am. Stat. Assoc. 114:223, arXiv:1609.00451; Vovk, Gammerman, Shafer 2005,
  *Algorithmic Learning in a Random World*.
- **Abstention threshold.** The answer is "I don't know" when the top probability is lower than it was for all but a
  stated share of the held-out images; by the same argument a new image meets this with at most that probability.

One scalar, the temperature, is fitted on the same images as the thresholds, which exchangeability does not cover to
the letter. It keeps the order of every image's classes; a test measures that coverage stays where it should.
"""

import math

import numpy as np
from jaxtyping import Bool, Float32, Int64

from lince import metrics
from lince.errors import LinceError
from lince.records import Calibration, Prediction, SetReport

# An honest network has T = 1, an overconfident one (the usual case) a small multiple of it. The bounds are for images
# that do not determine T: all answered rightly (likelihood grows as T falls to 0), or by chance (T to infinity).
_TEMPERATURE_BOUNDS = (0.05, 20.0)
_HALVINGS = 50  # of a bracket 6 wide in log T: T to 14 digits, in 50 softmaxes


def fit(
    logits: Float32[np.ndarray, "n k"],
    labels: Int64[np.ndarray, " n"],
    *,
    coverage: float = 0.95,
    abstain: float = 0.05,
) -> Calibration:
    """Fits temperature, set threshold and abstention threshold on held-out images.

    Args:
        logits: f32[N,K], finite, of images that the network was not trained on.
        labels: i64[N], their true classes.
        coverage: the probability, 0..1 exclusive, with which the set should hold the true class.
        abstain: the share of images, 0..1 exclusive or 0, that may be answered with "I don't know".

    Returns:
        The calibration. When N is too small to promise the coverage (N < coverage / (1 − coverage): 19 images
        for 95 %), the threshold is 0 and a set holds every class; N < 1 / abstain − 1 likewise never abstains.

    Raises:
        LinceError: when shapes do not fit, logits are not finite, labels are not classes, or a share is out of range.
    """
    _check_logits(logits)
    _check_labels(labels, logits)
    _check_shares(coverage, abstain)
    temperature = _fit_temperature(logits, labels)
    probabilities = metrics.softmax(logits, temperature)
    true = probabilities[np.arange(len(labels)), labels]
    return Calibration(
        temperature=temperature,
        coverage=coverage,
        set_threshold=_set_threshold(true, coverage),
        abstain_below=_abstain_threshold(probabilities.max(axis=1), abstain),
        n=len(labels),
    )


def apply(logits: Float32[np.ndarray, "n k"], calibration: Calibration) -> Prediction:
    """Turns the network's output into answers.

    Args:
        logits: f32[N,K], finite; N may be 0.
        calibration: what `fit` returned; `Calibration()` for a network that was never calibrated, whose sets
            then hold every class and which never abstains.

    Returns:
        The answers; `indices` are taken from the logits, so that no rounding of the softmax can make or break a tie.

    Raises:
        LinceError: when the logits are not f32[N,K] or not finite.
    """
    _check_logits(logits)
    probabilities = metrics.softmax(logits, calibration.temperature)
    indices = logits.argmax(axis=1)
    sets, abstain = decide(probabilities, indices, calibration=calibration)
    return Prediction(logits, probabilities, indices, sets, abstain)


def decide(
    probabilities: Float32[np.ndarray, "n k"], indices: Int64[np.ndarray, " n"], *, calibration: Calibration
) -> tuple[Bool[np.ndarray, "n k"], Bool[np.ndarray, " n"]]:
    """Reads calibrated probabilities with the thresholds that belong to them.

    Args:
        probabilities: f32[N,K], at the calibration's own temperature.
        indices: i64[N], the answers.
        calibration: the thresholds.

    Returns:
        The prediction sets bool[N,K], never empty, and bool[N], true for "I don't know".
    """
    sets = probabilities >= np.float32(calibration.set_threshold)
    sets[np.arange(len(indices)), indices] = True
    return sets, probabilities.max(axis=1) < np.float32(calibration.abstain_below)


def set_report(prediction: Prediction, labels: Int64[np.ndarray, " n"], calibration: Calibration) -> SetReport:
    """Measures sets and abstentions on labelled images.

    Args:
        prediction: answers for N images, N at least 1.
        labels: i64[N], their true classes.
        calibration: what the answers were made with; its coverage is the target.

    Returns:
        Coverage with its Wilson interval, mean size of the sets (classes), share of abstentions, and accuracy of the
        other answers (0 when there are none).

    Raises:
        LinceError: when shapes do not fit or labels are not classes.
    """
    _check_labels(labels, prediction.logits)
    covered = prediction.sets[np.arange(len(labels)), labels]
    right = (prediction.indices == labels)[~prediction.abstain]
    return SetReport(
        target_coverage=calibration.coverage,
        coverage=metrics.accuracy_interval(int(covered.sum()), len(labels)),
        mean_size=float(prediction.sets.sum(axis=1).mean()),
        abstained=float(prediction.abstain.mean()),
        accuracy_when_answering=float(right.mean()) if len(right) else 0.0,
    )


def coverage_spread_points(calibration: Calibration) -> float:
    """Two standard deviations, percentage points, of the coverage that sets fitted on so many images come to have.

    It follows a beta distribution (Vovk 2012, arXiv:1209.2673); 2 points need about 500 images at 95 %.
    """
    coverage = calibration.coverage
    return 200 * math.sqrt(coverage * (1 - coverage) / (calibration.n + 2))


def _fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Finds the T where the slope of the negative log-likelihood vanishes, by bisection in log T.

    The likelihood is convex in 1/T, so that its slope, mean(E_p[logit] − logit of the true class), only rises with
    1/T; halving a bracket needs nothing else, and cannot diverge as Newton's step can on a flat stretch.
    """
    centred = logits.astype(np.float64)
    centred -= centred.max(axis=1, keepdims=True)
    true = centred[np.arange(len(labels)), labels].mean()

    def slope(temperature: float) -> float:
        weights = np.exp(centred / temperature)
        return float(((weights * centred).sum(axis=1) / weights.sum(axis=1)).mean() - true)

    if slope(1.0) == 0:  # also a network whose logits are all equal: every T is as good, and 1 changes nothing
        return 1.0
    low, high = (math.log(bound) for bound in _TEMPERATURE_BOUNDS)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(math.exp(middle)) > 0 else (low, middle)
    return math.exp((low + high) / 2)


def _set_threshold(true_probabilities: Float32[np.ndarray, " n"], coverage: float) -> float:
    """The probability that ceil((n+1)·coverage) of the n true classes reach; 0 when n is too small for that."""
    n = len(true_probabilities)
    rank = _whole(math.ceil, (n + 1) * coverage)
    return float(np.sort(true_probabilities)[n - rank]) if rank <= n else 0.0


def _abstain_threshold(top_probabilities: Float32[np.ndarray, " n"], abstain: float) -> float:
    """The floor((n+1)·abstain)-th lowest top probability; 0, never, when that is none of them."""
    rank = _whole(math.floor, (len(top_probabilities) + 1) * abstain)
    return float(np.sort(top_probabilities)[rank - 1]) if rank >= 1 else 0.0


def _whole(rounding, product: float) -> int:
    """Rounds (n+1)·share without tripping over the share's binary form: 0.07 · 100 is 7.000000000000001."""
    return rounding(round(product, 9))


def _check_logits(logits: np.ndarray) -> None:
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise LinceError(f"Received logits of shape {logits.shape}. Expected (images, classes) with at least 1 class.")
    if not np.isfinite(logits).all():
        count = int((~np.isfinite(logits)).any(axis=1).sum())
        raise LinceError(
            f"Received logits that are not finite for {count} of {len(logits)} images. Expected numbers: the network's "
            "weights are damaged, or its training diverged."
        )


def _check_labels(labels: np.ndarray, logits: np.ndarray) -> None:
    if labels.shape != logits.shape[:1]:
        raise LinceError(
            f"Received labels of shape {labels.shape} for {len(logits)} images. Expected one label an image."
        )
    if len(labels) == 0:
        raise LinceError("Received 0 images. Expected at least 1 held-out image to calibrate or measure with.")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        received = f"labels from {labels.min()} to {labels.max()}"
        raise LinceError(f"Received {received}. Expected class indices 0..{logits.shape[1] - 1}.")


def _check_shares(coverage: float, abstain: float) -> None:
    if not 0 < coverage < 1:
        raise LinceError(f"Received coverage={coverage!r}. Expected a share above 0 and below 1, such as 0.95.")
    if not 0 <= abstain < 1:
        raise LinceError(f"Received abstain={abstain!r}. Expected a share of at least 0 and below 1, such as 0.05.")
