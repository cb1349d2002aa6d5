"""One step of training: the images of a batch, augmented, at the size of their phase, with their targets."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from jaxtyping import Int64

from lince.networks.families import Model
from lince.training import optimizers
from lince.training.augmentation.affine import another_view, augment, degrade, mirrored
from lince.training.augmentation.cutmix import cutmix
from lince.training.augmentation.options import Augment
from lince.training.augmentation.resize import shrink
from lince.training.distillation.cached_teacher import CachedTeacher
from lince.training.distillation.teacher import Teacher
from lince.training.loss import compile_model, labelled
from lince.training.recipe import Train
from lince.training.soft_targets import Targets
from lince.types import Split

# Pixels from which a family may take weights: those of 5,000 images of 32 × 32, whose patches of 2 × 2 need 0.5 GB.
_PIXELS_SEEN = 5000 * 32 * 32


def initialise_from(train: Split, model: keras.Model, recipe: Model, *, seed: int) -> None:
    """Sets the weights that a family takes from training images; see `Family.initialise_from`.

    Args:
        train: some of its images are drawn.
        model: with fresh weights.
        recipe: its `[model]` table.
        seed: of the choice.
    """
    height, width = train.images.shape[1:3]
    count = max(1, _PIXELS_SEEN // (height * width))
    sample = np.sort(np.random.default_rng(seed).permutation(len(train))[:count])
    recipe.initialise_from(train.images[sample], model)


class Trainer:
    """A compiled model, and what its steps are made of.

    Args:
        model: built by `models.build`; it is compiled here.
        train: images u8[N,H,W,3] and labels.
        recipe, augmentation, seed, teacher: as for `fit`.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        train: Split,
        recipe: Train,
        augmentation: Augment,
        seed: int,
        teacher: Teacher | None = None,
    ):
        compile_model(model, recipe)
        self.model, self.train, self.recipe, self.seed = model, train, recipe, seed
        cached = None
        if teacher is not None and recipe.teacher_cached:
            cached, teacher = CachedTeacher(teacher, train, mirror=augmentation.horizontal_flip != "none"), None
        self._augmentation, self._is_asked_in_steps = augmentation, teacher is not None
        self._targets = Targets(train.labels, len(train.classes), recipe, teacher, cached)

    def batches(self, epoch: int, rng: np.random.Generator) -> Iterator[tuple[int, Int64[np.ndarray, " b"]]]:
        """The batches of an epoch: the number (from 1) of the turn through all images, and indices i64[B].

        Their sizes differ by one at most: batch norm should not meet a last batch of one image.
        """
        for turn in range(self.recipe.repeats):
            for chosen in np.array_split(rng.permutation(len(self.train)), self.batches_in_a_turn):
                yield (epoch - 1) * self.recipe.repeats + turn + 1, chosen

    @property
    def batches_in_a_turn(self) -> int:
        return self.recipe.steps_in_a_turn(len(self.train))

    def step(
        self, chosen: Int64[np.ndarray, " b"], *, share: float, turn: int, rng: np.random.Generator
    ) -> dict[str, float]:
        """One step; returns its `loss` and `accuracy`.

        Args:
            chosen: i64[B], the images.
            share: of all steps that are done, 0 to 1.
            turn: the number of the turn through all images, from 1.
            rng: of augmentation.
        """
        self.model.optimizer.learning_rate = optimizers.learning_rate(self.recipe, done=share)
        mirror = mirrored(chosen, self._augmentation, turn=turn, seed=self.seed)
        pixels = augment(self.train.images[chosen], self._augmentation, rng, mirror=mirror)
        pixels, mix = cutmix(pixels, self._augmentation.cutmix, rng)
        asked = another_view(pixels, self._augmentation, rng) if self._is_asked_in_steps else pixels
        rows = labelled(self.train.labels[chosen], self._targets(chosen, asked, mix))
        pixels = degrade(pixels, self._augmentation, rng)  # after the teacher has answered
        self.model.reset_metrics()  # so that the answer is this batch's own, whatever the version of Keras accumulates
        return self.model.train_on_batch(_resized(pixels, self.recipe, share), rows, return_dict=True)


def _resized(pixels: Any, recipe: Train, share: float) -> Any:
    """The batch at the size of its phase; f32[N,H,W,3]."""
    for phase in recipe.phases:
        if share < phase.until:
            return shrink(pixels, phase.image_size)
    return pixels
