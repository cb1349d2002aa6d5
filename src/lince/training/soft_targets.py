"""Training targets: labels, smoothed, weighted by class, mixed, or replaced in part by a teacher's answers."""

from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from lince.metrics import softmax
from lince.training.augmentation.cutmix import Mix
from lince.training.distillation.cached_teacher import CachedTeacher
from lince.training.distillation.teacher import Teacher
from lince.training.recipe import Train

# The largest weight of an image, mean 1. Otherwise the only image of a class would dominate each of its steps.
_HEAVIEST = 10


class Targets:
    """Rows of targets for the cross-entropy.

    Args:
        labels: i64[N], of the training split.
        num_classes: K.
        recipe: smoothing, balance and the teacher's share.
        teacher: answers for the pixels that the network sees (Beyer et al. 2022, arXiv:2106.05237), or for another view
            of them, before they are degraded. None for no teacher.
        cached: a teacher that answers for the training images themselves, or None.
    """

    def __init__(
        self,
        labels: Int64[np.ndarray, " n"],
        num_classes: int,
        recipe: Train,
        teacher: Teacher | None,
        cached: CachedTeacher | None = None,
    ):
        self._labels, self._recipe, self._teacher, self._cached = labels, recipe, teacher, cached
        self._one_hot = np.eye(num_classes, dtype=np.float32)
        self._weights = class_weights(np.bincount(labels, minlength=num_classes), balance=recipe.class_balance)

    def __call__(
        self, indices: Int64[np.ndarray, " n"], pixels: Any, mix: Mix | None = None
    ) -> Float32[np.ndarray, "n k"]:
        """f32[N,K] targets. The sum of a row is the weight of its class, or mixed classes; see `loss.labelled`.

        Args:
            indices: i64[N], into the labels.
            pixels: f32[N,H,W,3] 0..255, the teacher's input: augmented, not yet degraded.
            mix: of which training images each image is made, or None without CutMix.
        """
        recipe, labels = self._recipe, self._labels[indices]
        rows: Float32[np.ndarray, "n k"] = self._one_hot[labels]
        rows = rows * (1 - recipe.label_smoothing) + recipe.label_smoothing / rows.shape[1]
        if self._cached is not None:
            rows = self._taught(rows, self._cached(indices))
        rows = rows * self._weights[labels][:, None]
        if mix is not None:
            rows = mix.of(rows)
        if self._teacher is not None:
            rows = self._taught(rows, self._teacher(np.clip(np.rint(np.asarray(pixels)), 0, 255).astype(np.uint8)))
        return rows.astype(np.float32)

    def _taught(self, rows: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """The rows, of which the teacher's answers replace a share. The sum of each row stays the same."""
        share, answers = self._recipe.teacher_weight, softmax(logits, self._recipe.teacher_temperature)
        taught: np.ndarray = (1 - share) * rows + share * rows.sum(axis=1, keepdims=True) * answers
        return taught


def class_weights(counts: Int64[np.ndarray, " k"], *, balance: float) -> Float32[np.ndarray, " k"]:
    """The weight of an image of each class: the count to the power of −`balance`, with mean 1 over the images.

    Args:
        counts: i64[K], images of each class.
        balance: 0 gives all images the same weight, 1 all classes.

    Returns:
        f32[K], at most 10.
    """
    weights = np.maximum(counts, 1).astype(np.float64) ** -balance
    heaviest = np.zeros(len(counts), bool)
    while True:  # clipped weight goes to the other classes, which can make another too heavy: at most K rounds
        others = counts.sum() - _HEAVIEST * counts[heaviest].sum()
        scaled = np.where(heaviest, _HEAVIEST, weights * others / (weights * counts)[~heaviest].sum())
        if not (above := scaled > _HEAVIEST).any():
            return scaled.astype(np.float32)
        heaviest |= above
