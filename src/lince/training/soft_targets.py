"""What the network should answer for each training image: its label, softened, weighted or taught."""

from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from lince.metrics import softmax
from lince.training.augmentation.cutmix import Mix
from lince.training.distillation.cached_teacher import CachedTeacher
from lince.training.distillation.teacher import Teacher
from lince.training.recipe import Train

# Times the mean: the only image of a class would otherwise decide every step that it is in.
_HEAVIEST = 10


class Targets:
    """Rows of targets for the cross-entropy.

    Args:
        labels: i64[N], of the training split.
        num_classes: K.
        recipe: smoothing, balance and the teacher's share.
        teacher: asked about the pixels that the network sees (Beyer et al. 2022, arXiv:2106.05237) or another view of
            them, before they are degraded, or None.
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
        """f32[N,K], rows that add up to the weight of their class, or classes; see `loss.labelled`.

        Args:
            indices: i64[N], into the labels.
            pixels: f32[N,H,W,3] 0..255, what the teacher is asked about: as augmented and not yet degraded.
            mix: what the images are made of, where each is not one of the training images.
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
        """The rows, with the teacher's share of each its answer; they add up to what they did."""
        share, answers = self._recipe.teacher_weight, softmax(logits, self._recipe.teacher_temperature)
        taught: np.ndarray = (1 - share) * rows + share * rows.sum(axis=1, keepdims=True) * answers
        return taught


def class_weights(counts: Int64[np.ndarray, " k"], *, balance: float) -> Float32[np.ndarray, " k"]:
    """The weight of an image of each class: its count to the power of −`balance`, 1 on average over the images.

    Args:
        counts: i64[K], images of each class.
        balance: 0 weighs every image alike, 1 every class.

    Returns:
        f32[K], at most 10.
    """
    weights = np.maximum(counts, 1).astype(np.float64) ** -balance
    heaviest = np.zeros(len(counts), bool)
    while True:  # what is cut off is given to the others, which can make another too heavy: at most K times
        others = counts.sum() - _HEAVIEST * counts[heaviest].sum()
        scaled = np.where(heaviest, _HEAVIEST, weights * others / (weights * counts)[~heaviest].sum())
        if not (above := scaled > _HEAVIEST).any():
            return scaled.astype(np.float32)
        heaviest |= above
