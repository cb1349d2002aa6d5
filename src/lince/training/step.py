"""One step of training: the images of a batch, augmented, at the size of their phase, with their targets."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from jaxtyping import Float32, Int64

from lince.networks.families import Model
from lince.training import schedule
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

# Pixels for weights that are computed from images: 5,000 images of 32 × 32, whose patches of 2 × 2 need 0.5 GB.
_PIXELS_SEEN = 5000 * 32 * 32


def initialise_from(train: Split, model: keras.Model, recipe: Model, *, seed: int) -> None:
    """Sets the weights that a family computes from training images; see `Family.initialise_from`.

    Args:
        train: a sample of its images is used.
        model: with fresh weights.
        recipe: its `[model]` table.
        seed: of the sample.
    """
    height, width = train.images.shape[1:3]
    count = max(1, _PIXELS_SEEN // (height * width))
    sample = np.sort(np.random.default_rng(seed).permutation(len(train))[:count])
    recipe.initialise_from(train.images[sample], model)


@dataclass(frozen=True)
class Batch:
    """The images and targets of one step.

    Attributes:
        epoch: from 1.
        pixels: f32[N,H,W,3] 0..255, augmented, before they are resized to the image size of the phase.
        rows: f32[N,1+K], labels beside targets; see `loss.labelled`.
    """

    epoch: int
    pixels: Any
    rows: Float32[np.ndarray, "n columns"]


class Trainer:
    """A compiled model, and everything that a step needs.

    Args:
        model: built by `models.build`. It is compiled here.
        train: images u8[N,H,W,3] and labels.
        recipe, augmentation, seed, teacher: as for `loop.fit`.
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
        self._augmentation, self._is_taught_in_steps = augmentation, teacher is not None
        self._targets = Targets(train.labels, len(train.classes), recipe, teacher, cached)

    @property
    def steps_per_epoch(self) -> int:
        return self.recipe.steps_per_epoch(len(self.train))

    def batches(self, epochs: Iterable[int]) -> Iterator[tuple[int, Int64[np.ndarray, " b"], np.random.Generator]]:
        """The batches of these epochs: the epoch's number (from 1), image indices i64[B], and its random generator.

        Order and augmentation of an epoch depend only on the seed and its number, so a resumed run repeats them.
        Batch sizes differ by one image at most, because batch norm cannot normalise a last batch of one image.
        """
        for epoch in epochs:
            rng = np.random.default_rng([self.seed, epoch])
            for indices in np.array_split(rng.permutation(len(self.train)), self.steps_per_epoch):
                yield epoch, indices, rng

    def prepared(self, epochs: Iterable[int]) -> Iterator[Batch]:
        """The augmented batches of these epochs. A thread prepares the next batch while the caller trains on this one.

        A step on a GPU takes less time than its augmentation on a CPU core, so the GPU would wait without the thread.
        The thread draws random numbers in the order of the batches, so the images are those of `prepare` alone.
        """
        batches = self.batches(epochs)

        def prepare_next() -> Batch | None:
            for epoch, indices, rng in batches:
                return self.prepare(indices, epoch=epoch, rng=rng)
            return None

        with ThreadPoolExecutor(1) as thread:
            ahead = thread.submit(prepare_next)
            while (batch := ahead.result()) is not None:
                ahead = thread.submit(prepare_next)
                yield batch

    def prepare(self, indices: Int64[np.ndarray, " b"], *, epoch: int, rng: np.random.Generator) -> Batch:
        """Augments the images of a batch and makes its targets.

        Args:
            indices: i64[B], the images.
            epoch: from 1. It decides which images are mirrored.
            rng: the source of randomness for augmentation.
        """
        mirror = mirrored(indices, self._augmentation, epoch=epoch, seed=self.seed)
        pixels = augment(self.train.images[indices], self._augmentation, rng, mirror=mirror)
        pixels, mix = cutmix(pixels, self._augmentation.cutmix, rng)
        shown = another_view(pixels, self._augmentation, rng) if self._is_taught_in_steps else pixels
        rows = labelled(self.train.labels[indices], self._targets(indices, shown, mix))
        return Batch(epoch, degrade(pixels, self._augmentation, rng), rows)  # degraded after the teacher has answered

    def step(self, batch: Batch, *, progress: float) -> dict[str, float]:
        """Takes one step and returns its `loss` and `accuracy`.

        Args:
            batch: as `prepare` returns it.
            progress: the share of the training that is done, 0 to 1. It decides the learning rate and the image size.
        """
        self.model.optimizer.learning_rate = schedule.learning_rate(self.recipe, progress=progress)
        self.model.reset_metrics()  # some versions of Keras accumulate metrics over batches
        result: dict[str, float] = self.model.train_on_batch(
            _resized(batch.pixels, self.recipe, progress), batch.rows, return_dict=True
        )
        return result


def _resized(pixels: Any, recipe: Train, progress: float) -> Any:
    """The batch at the image size of its phase; f32[N,H,W,3]."""
    for phase in recipe.phases:
        if progress < phase.until:
            return shrink(pixels, phase.image_size)
    return pixels
