"""A teacher that is asked once about each training image, whatever the number of epochs."""

import numpy as np
from jaxtyping import Float32, Int64

from lince.records import Split
from lince.training.augment import fixed_views
from lince.training.teacher import Teacher


class CachedTeacher:
    """The mean of a teacher's logits over fixed views of an image, found when the image is first asked for.

    Nothing is drawn, so that a resumed run finds the same. The cache takes 4 bytes for each image and class.

    Args:
        teacher: asked about whole batches of images.
        train: the images u8[N,H,W,3] and their K classes.
        mirror: whether the views are mirrored, too.
    """

    def __init__(self, teacher: Teacher, train: Split, *, mirror: bool):
        self._teacher, self._images, self._mirror = teacher, train.images, mirror
        self._logits = np.zeros((len(train), len(train.classes)), np.float32)
        self._is_known = np.zeros(len(train), bool)

    def __call__(self, indices: Int64[np.ndarray, " n"]) -> Float32[np.ndarray, "n k"]:
        """f32[N,K] logits of the images with these indices."""
        new = np.unique(indices[~self._is_known[indices]])
        if len(new):
            answers = [self._teacher(view) for view in fixed_views(self._images[new], mirror=self._mirror)]
            self._logits[new], self._is_known[new] = np.mean(answers, axis=0), True
        return self._logits[indices]
