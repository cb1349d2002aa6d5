"""Cross-validation of a linear head: the strength of its penalty, and answers for images that it was not fitted to."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64

from lince.errors import TrainingError
from lince.training.transfer.regression import Features, Layers, Regression, log_softmax

# Candidates for the weight of the penalty, the strongest first.
STRENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
FOLDS = 5
# Held-out images that tell two strengths apart: with 5,000, the standard error of the mean cross-entropy is about 0.01.
_ENOUGH_HELD_OUT = 5000


@dataclass(frozen=True)
class OutOfFold:
    """Answers of heads to images that they were not fitted to.

    Attributes:
        logits: f32[N,K] of the first view of each image, by the head that was fitted to the other folds.
        folds: i64[N], the fold of each image.
        is_of_known_class: bool[N], whether that head was fitted to other images of the class; see `of_known_class`.
    """

    logits: Float32[np.ndarray, "n k"]
    folds: Int64[np.ndarray, " n"]
    is_of_known_class: Bool[np.ndarray, " n"]


def choose_strength(
    features: Features,
    labels: Int64[np.ndarray, " n"],
    *,
    num_classes: int,
    seed: int,
    groups: Int64[np.ndarray, " n"] | None = None,
) -> float:
    """The strength of the lowest cross-entropy of images that the head was not fitted to.

    Weaker penalties are tried until one is worse than the one before. Many images are held out in fewer than `FOLDS`
    folds.

    Args:
        features: f16[N,V,D]; all views of an image are in one fold, and only the first is measured.
        labels: i64[N].
        num_classes: K.
        seed, groups: see `folds`.

    Raises:
        TrainingError: a feature is not a finite number.
    """
    fold = folds(labels, seed=seed, groups=groups)
    measured = min(int(fold.max()) + 1, -(-FOLDS * _ENOUGH_HELD_OUT // len(labels)))
    is_measured = fold < measured
    subsets = fold[:, None] != np.arange(measured)
    regression = Regression(features, labels, subsets=subsets, num_classes=num_classes)
    best, least = STRENGTHS[0], np.inf
    for strength, layers in zip(STRENGTHS, regression.path(STRENGTHS), strict=True):
        logits = _held_out(regression, layers, np.minimum(fold, measured - 1))
        loss = -log_softmax(logits)[np.arange(len(labels)), labels][is_measured].mean()
        if loss >= least:
            break
        best, least = strength, loss
    return best


def out_of_fold(
    features: Features,
    labels: Int64[np.ndarray, " n"],
    *,
    num_classes: int,
    strength: float,
    seed: int,
    groups: Int64[np.ndarray, " n"] | None = None,
) -> OutOfFold:
    """The logits of each image, of a head that was fitted to the other folds.

    Args:
        features: f16[N,V,D]; all views of an image are in one fold, and only the first is answered.
        labels: i64[N].
        num_classes: K.
        strength: the weight of the penalty, such as that of the run's head.
        seed, groups: see `folds`.

    Raises:
        TrainingError: a feature is not a finite number.
    """
    fold = folds(labels, seed=seed, groups=groups)
    subsets = fold[:, None] != np.arange(fold.max() + 1)
    regression = Regression(features, labels, subsets=subsets, num_classes=num_classes)
    [layers] = regression.path([strength])
    return OutOfFold(_held_out(regression, layers, fold), fold, of_known_class(labels, fold))


def folds(
    labels: Int64[np.ndarray, " n"], *, seed: int, groups: Int64[np.ndarray, " n"] | None = None
) -> Int64[np.ndarray, " n"]:
    """The fold of each image, from 0: every class is spread over the `FOLDS` folds as evenly as its groups allow.

    Args:
        labels: i64[N].
        seed: of the order in which images are dealt.
        groups: i64[N]; images of one group share a fold. None: each image is its own group.

    Raises:
        TrainingError: there is only one group.
    """
    groups = np.arange(len(labels)) if groups is None else groups
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    if len(first) < 2:
        raise TrainingError(
            f"All {len(labels):,} training images are of one group. Expected two groups or more for cross-validation: "
            "divide the group, or add other images."
        )
    order = np.random.default_rng(seed).permutation(len(first))
    order = order[np.argsort(labels[first[order]], kind="stable")]
    sizes = np.bincount(group)
    fold_of, totals = np.empty(len(first), np.int64), np.zeros(FOLDS, np.int64)
    for label in np.unique(labels[first]):
        counts = np.zeros(FOLDS, np.int64)
        for one in order[labels[first[order]] == label]:
            fold_of[one] = np.lexsort((totals, counts))[0]  # that has the fewest of the class, then the fewest of all
            counts[fold_of[one]] += sizes[one]
            totals[fold_of[one]] += sizes[one]
    return np.unique(fold_of[group], return_inverse=True)[1]


def of_known_class(labels: Int64[np.ndarray, " n"], fold: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """bool[N]: whether another fold has images of the class. None has if they are all of one group.

    A head cannot know the class of the other images, so that its answers to them say nothing about its probabilities.
    """
    present = np.zeros((labels.max() + 1, fold.max() + 1), bool)
    present[labels, fold] = True
    known: np.ndarray = present.sum(axis=1)[labels] > 1
    return known


def _held_out(regression: Regression, layers: Layers, fold: Int64[np.ndarray, " n"]) -> Float32[np.ndarray, "n k"]:
    """The logits of each image's first view, of the layer of its fold."""
    found = [layers.logits(block[:, 0])[np.arange(len(block)), fold[images]] for images, block in regression.blocks()]
    return np.concatenate(found)
