"""Offline distillation: a teacher's answers for the training images are computed once, with test-time augmentation.

In long trainings a teacher that answers in each step, for the augmented picture, usually teaches better (Beyer et al.
2022, arXiv:2106.05237). Cached answers cost nothing after the first epoch.
"""

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from lince.training.distillation.teacher import Teacher
from lince.types import Split


class CachedTeacher:
    """The mean of a teacher's logits over fixed views of an image, computed when the image is first used.

    Nothing is random: a resumed run computes the same logits again. The cache takes 4 bytes for each image and class.

    Args:
        teacher: images u8[N,H,W,3] → logits f32[N,K].
        train: the images u8[N,H,W,3] and their K classes.
        mirror: whether mirrored views are used, too.
    """

    def __init__(self, teacher: Teacher, train: Split, *, mirror: bool):
        self._teacher, self._images, self._mirror = teacher, train.images, mirror
        self._logits: Float32[np.ndarray, "n k"] = np.zeros((len(train), len(train.classes)), np.float32)
        self._is_known = np.zeros(len(train), bool)

    def __call__(self, indices: Int64[np.ndarray, " n"]) -> Float32[np.ndarray, "n k"]:
        """f32[N,K] logits of the images with these indices."""
        new = np.sort(indices[~self._is_known[indices]])  # sorted, since they may be read from a file
        if len(new):
            answers = [self._teacher(view) for view in fixed_views(self._images[new], mirror=self._mirror)]
            self._logits[new], self._is_known[new] = np.mean(answers, axis=0), True
        known: Float32[np.ndarray, "n k"] = self._logits[indices]
        return known


def fixed_views(images: UInt8[np.ndarray, "n h w 3"], *, mirror: bool) -> list[UInt8[np.ndarray, "n h w 3"]]:
    """The images; a pixel down and to the right; a pixel up and to the left; with `mirror`, the mirror image of each.

    Args:
        images: u8[N,H,W,3]. Pixels from outside are those of the picture mirrored at its edge.
        mirror: six views instead of three.
    """
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    views = [padded[:, start : start + height, start : start + width] for start in (1, 0, 2)]
    return [*views, *(view[:, :, ::-1] for view in views)] if mirror else views
