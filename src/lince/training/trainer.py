"""One step of training: the images of a batch, augmented, at the size of their phase, with their targets."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from jaxtyping import Int64

from lince.records import Split
from lince.training import model as models
from lince.training import optimizer as optimizers
from lince.training.augment import augment, degrade, mirrored
from lince.training.mixing import cutmix
from lince.training.objective import LOSSES, compile_model, labelled
from lince.training.recipe import Augment, Model, Train
from lince.training.selection import Selection
from lince.training.shrinking import shrink
from lince.training.targets import Targets, Teacher

# Pixels from which a family may take weights: those of 5,000 images of 32 × 32, whose patches of 2 × 2 need 0.5 GB.
_PIXELS_SEEN = 5000 * 32 * 32


def prepare(model: keras.Model, recipe: Model, train: Split, *, seed: int) -> None:
    """Sets the weights that a family takes from training images before it is trained; see `model.prepare`.

    Args:
        model: with fresh weights.
        recipe: its `[model]` table.
        train: some of its images are drawn.
        seed: of the choice.
    """
    height, width = train.images.shape[1:3]
    count = max(1, _PIXELS_SEEN // (height * width))
    sample = np.sort(np.random.default_rng(seed).permutation(len(train))[:count])
    models.prepare(model, recipe, train.images[sample])


class Batch(NamedTuple):
    """What a step is made on.

    Attributes:
        chosen: i64[B], indices into the training split.
        turn: the number of the turn through the images, from 1.
        part: of the epoch that is done after it, 0 to 1.
    """

    chosen: Int64[np.ndarray, " b"]
    turn: int
    part: float


class Trainer:
    """A compiled model, and what its steps are made of.

    Args:
        model: built by `model.build`; it is compiled here.
        train: images u8[N,H,W,3] and labels.
        recipe, augmentation, seed, teacher: as for `fit`.

    Attributes:
        selection: of the images that each turn shows.
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
        self._augmentation = augmentation
        self._targets = Targets(train.labels, len(train.classes), recipe, teacher)
        self.selection = Selection(len(train), skip=recipe.skip_easy, batch_size=recipe.batch_size)

    def batches(self, epoch: int, rng: np.random.Generator, share: Callable[[], float]) -> Iterator[Batch]:
        """The batches of an epoch, each turn drawn when the one before it is over.

        Args:
            epoch: its number, from 1.
            rng: of what is shown, and in which order.
            share: says what share of all steps is done, 0 to 1.
        """
        repeats = self.recipe.repeats
        for turn in range(repeats):
            batches = self.selection.batches(rng, share=share())
            for number, chosen in enumerate(batches, 1):
                yield Batch(chosen, (epoch - 1) * repeats + turn + 1, (turn + number / len(batches)) / repeats)

    def step(
        self, chosen: Int64[np.ndarray, " b"], *, share: float, turn: int, rng: np.random.Generator
    ) -> dict[str, float]:
        """One step; returns its `loss` and `accuracy`.

        Args:
            chosen: i64[B], the images.
            share: of all steps that are done, 0 to 1.
            turn: the number of the turn through the images, from 1.
            rng: of augmentation.
        """
        self.model.optimizer.learning_rate = optimizers.learning_rate(self.recipe, done=share)
        mirror = mirrored(chosen, self._augmentation, epoch=turn, seed=self.seed)
        pixels = augment(self.train.images[chosen], self._augmentation, rng, mirror=mirror)
        pixels, mix = cutmix(pixels, self._augmentation.cutmix, rng)
        rows = labelled(self.train.labels[chosen], self._targets(chosen, pixels, mix))
        pixels = degrade(pixels, self._augmentation, rng)  # after the teacher has answered
        self.model.reset_metrics()  # so that the answer is this batch's own, whatever the version of Keras accumulates
        shown = self.model.train_on_batch(_resized(pixels, self.recipe, share), rows, return_dict=True)
        if self.recipe.skip_easy:
            self.selection.record(chosen, np.asarray(shown.pop(LOSSES))[: len(chosen)])
        return shown


def _resized(pixels: Any, recipe: Train, share: float) -> Any:
    """The batch at the size of its phase; f32[N,H,W,3]."""
    for phase in recipe.phases:
        if share < phase.until:
            return shrink(pixels, phase.image_size)
    return pixels
