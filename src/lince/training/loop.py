"""The training loop: one for every recipe.

An epoch is one pass over the training images. After every `validate_every` epochs, and after the last, the validation
loss is measured, a checkpoint is written and the history gets a record.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from lince.errors import TrainingError
from lince.networks import models
from lince.system import machine
from lince.training import advice, checkpoint, optimizers
from lince.training import loss as losses
from lince.training.augmentation.options import Augment
from lince.training.checkpoint import Checkpoint
from lince.training.distillation.teacher import Teacher
from lince.training.recipe import Train
from lince.training.schedule import ByEpochs, Schedule
from lince.training.step import Trainer
from lince.types import EpochRecord, ImageSpec, Split


class Display(Protocol):
    """Shows how training goes."""

    def step(
        self, *, epoch: int, step: int, steps: int, images: int, seconds: float, loss: float, accuracy: float
    ) -> None:
        """Called after each step.

        Args:
            epoch: from 1.
            step, steps: since the last validation, from 1, and how many there are until the next.
            images, seconds: since the last validation.
            loss, accuracy: running means since the last validation.
        """

    def epoch(self, record: EpochRecord, *, best: bool) -> None:
        """Called after each validation; `best` when its loss is the lowest so far and its weights are kept for that."""


def fit(
    model: keras.Model,
    *,
    train: Split,
    validation: Split,
    recipe: Train,
    augmentation: Augment,
    seed: int,
    checkpoint_path: Path,
    display: Display,
    schedule: Schedule | None = None,
    teacher: Teacher | None = None,
    resume: bool = False,
) -> Checkpoint:
    """Trains until the schedule ends, or the validation loss has not improved for `patience` validations.

    However training ends, the checkpoint returned or left on disk holds the weights to keep: with `patience` the best,
    without it the last.

    Args:
        model: built by `models.build`; it is compiled here.
        train, validation: images u8[N,H,W,3] and labels.
        recipe: the loop's hyper-parameters.
        augmentation: applied to training images.
        seed: of order and augmentation, with the epoch's number.
        checkpoint_path: where to write and, with `resume`, to read.
        display: told of every step and validation.
        schedule: says how much of the training is done; by the recipe's epochs when None.
        teacher: a trained network to learn from, besides the labels.
        resume: go on from the checkpoint; from the beginning when there is none yet.

    Raises:
        TrainingError: the loss is not finite, or a checkpoint could not be written.
        ResumeError: the checkpoint is damaged, or another network's.
        RecipeError: Keras knows no such optimiser.
        KeyboardInterrupt: passed on; what the last checkpoint holds is safe.
    """
    trainer = Trainer(model, train=train, recipe=recipe, augmentation=augmentation, seed=seed, teacher=teacher)
    has_checkpoint = resume and checkpoint_path.exists()  # a run may be killed before its first checkpoint
    state = checkpoint.restore(checkpoint_path, model) if has_checkpoint else Checkpoint((), ())
    clock, schedule = _clock(state.history), schedule or ByEpochs(recipe.epochs)
    while not finished(state.history, recipe):
        record = _train_and_validate(
            trainer, validation, state.history, schedule=schedule, clock=clock, display=display
        )
        history = (*state.history, record)
        keeps = kept_record(history, recipe) is record
        state = Checkpoint(history, tuple(model.get_weights()) if keeps else state.kept_weights)
        checkpoint.save(checkpoint_path, state, model)
        display.epoch(record, best=keeps and recipe.patience > 0)
    return state


def finished(history: tuple[EpochRecord, ...], recipe: Train) -> bool:
    """True at the end of the schedule, or when `patience` validations in a row have not improved the loss."""
    if not history:
        return False
    waited = len(history) - 1 - history.index(kept_record(history, recipe))
    return history[-1].progress >= 1 or (recipe.patience > 0 and waited >= recipe.patience)


def kept_record(history: tuple[EpochRecord, ...], recipe: Train) -> EpochRecord:
    """The record whose weights are kept: with `patience` the first of the lowest `val_loss`, without it the last."""
    return min(history, key=lambda record: record.val_loss) if recipe.patience else history[-1]


def _clock(history: tuple[EpochRecord, ...]) -> Callable[[], float]:
    """Seconds of training, those before it was resumed included."""
    began = time.perf_counter() - _seconds(history)
    return lambda: time.perf_counter() - began


def _seconds(history: tuple[EpochRecord, ...]) -> float:
    return sum(record.seconds for record in history)


def _epochs_done(history: tuple[EpochRecord, ...]) -> int:
    return history[-1].epoch if history else 0


def _train_and_validate(
    trainer: Trainer,
    validation: Split,
    history: tuple[EpochRecord, ...],
    *,
    schedule: Schedule,
    clock: Callable[[], float],
    display: Display,
) -> EpochRecord:
    """Trains for the epochs up to the next validation, or to the end of the schedule, and validates."""
    began, recipe, mean = clock(), trainer.recipe, _Mean()
    epochs = _epochs_to_validation(_epochs_done(history), recipe)
    steps = len(epochs) * trainer.steps_per_epoch
    progress = schedule.progress(epochs=epochs.start - 1, seconds=began)
    learning_rate = optimizers.learning_rate(recipe, progress=progress)
    for step, batch in enumerate(trainer.prepared(epochs), 1):
        result, epoch = trainer.step(batch, progress=progress), batch.epoch
        _require_finite(result["loss"], f"epoch {epoch}, step {step}", trainer)
        mean.add(result, len(batch.rows))
        seconds = clock() - began
        display.step(
            epoch=epoch, step=step, steps=steps, images=mean.n, seconds=seconds, loss=mean.loss, accuracy=mean.accuracy
        )
        epochs_done = epochs.start - 1 + step / trainer.steps_per_epoch
        progress = schedule.progress(epochs=epochs_done, seconds=began + seconds)
        if progress >= 1:  # by the clock, in the middle of an epoch
            break
    held_out = _validate(trainer.model, validation)
    _require_finite(held_out.loss, f"the validation of epoch {epoch}", trainer)
    return EpochRecord(
        epoch=epoch,
        loss=mean.loss,
        accuracy=mean.accuracy,
        val_loss=held_out.loss,
        val_accuracy=held_out.accuracy,
        learning_rate=learning_rate,
        images_per_second=mean.n / seconds,
        seconds=clock() - _seconds(history),
        peak_memory_bytes=machine.peak_memory_bytes() or 0,
        progress=schedule.progress(epochs=epochs_done, seconds=clock()),
    )


def _epochs_to_validation(done: int, recipe: Train) -> range:
    """The epochs (from 1) after `done` of them, up to the next that validation follows."""
    last = (done // recipe.validate_every + 1) * recipe.validate_every
    if done < recipe.epochs < last:
        last = recipe.epochs
    return range(done + 1, last + 1)


def _validate(model: keras.Model, split: Split) -> "_Mean":
    mean, one_hot = _Mean(), np.eye(len(split.classes), dtype=np.float32)
    _, height, width, _ = split.images.shape
    batch_size = models.images_at_once(ImageSpec(height, width))
    for start in range(0, len(split), batch_size):
        labels = split.labels[start : start + batch_size]
        pixels = split.images[start : start + batch_size].astype(np.float32)
        model.reset_metrics()
        mean.add(model.test_on_batch(pixels, losses.labelled(labels, one_hot[labels]), return_dict=True), len(labels))
    return mean


def _require_finite(loss: float, where: str, trainer: Trainer) -> None:
    if not math.isfinite(loss):
        repair = advice.steadier_training(trainer.recipe, precision=losses.precision_of(trainer.model))
        raise TrainingError(f"The loss became {loss} in {where}. Expected a finite number: train anew {repair}.")


class _Mean:
    """Running means of loss and accuracy, weighted by images."""

    def __init__(self) -> None:
        self.n, self._loss, self._accuracy = 0, 0.0, 0.0

    def add(self, result: dict[str, Any], n: int) -> None:
        self.n += n
        self._loss += float(result["loss"]) * n
        self._accuracy += float(result["accuracy"]) * n

    @property
    def loss(self) -> float:
        return self._loss / self.n

    @property
    def accuracy(self) -> float:
        return self._accuracy / self.n
