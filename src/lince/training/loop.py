"""The training loop: one for every recipe."""

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
from lince.training import loss as objective
from lince.training.augmentation.options import Augment
from lince.training.checkpoint import Checkpoint
from lince.training.distillation.teacher import Teacher
from lince.training.recipe import Train
from lince.training.schedule import ByEpochs, Pace
from lince.training.step import Trainer
from lince.types import EpochRecord, ImageSpec, Split


class Display(Protocol):
    """Whoever wants to watch."""

    def batch(self, *, epoch: int, batch: int, batches: int, done: int, seconds: float, loss: float, accuracy: float):
        """After each step; `done` images in `seconds` since the epoch began, running means of loss and accuracy."""

    def epoch(self, record: EpochRecord, *, best: bool):
        """After each epoch; `best` when its validation loss is the lowest so far and its weights are kept for that."""


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
    pace: Pace | None = None,
    teacher: Teacher | None = None,
    resume: bool = False,
) -> Checkpoint:
    """Trains until the pace is done, or the validation loss has not improved for `patience` epochs.

    A checkpoint is written after every epoch. However training ends, the checkpoint returned or left on disk holds
    the weights to keep: with `patience` the best, without it the last.

    Args:
        model: built by `models.build`; it is compiled here.
        train, validation: images u8[N,H,W,3] and labels.
        recipe: the loop's hyper-parameters.
        augmentation: applied to training images.
        seed: of order and augmentation, with the epoch's number.
        checkpoint_path: where to write and, with `resume`, to read.
        display: told of every batch and epoch.
        pace: by what the training is measured out; by the recipe's epochs when None.
        teacher: a trained network to learn from, besides the labels.
        resume: go on from the checkpoint; from the beginning when no epoch was finished.

    Raises:
        TrainingError: the loss is not finite, or a checkpoint could not be written.
        ResumeError: the checkpoint is damaged, or another network's.
        RecipeError: Keras knows no such optimiser.
        KeyboardInterrupt: passed on; the last finished epoch is safe.
    """
    trainer = Trainer(model, train=train, recipe=recipe, augmentation=augmentation, seed=seed, teacher=teacher)
    going_on = resume and checkpoint_path.exists()  # a run may be killed before its first checkpoint
    state = checkpoint.restore(checkpoint_path, model) if going_on else Checkpoint((), ())
    clock, pace = _clock(state.history), pace or ByEpochs(recipe.epochs)
    while not finished(state.history, recipe, done=pace.done(epochs=len(state.history), seconds=clock())):
        record = _epoch(trainer, validation, state.history, pace=pace, clock=clock, display=display)
        history = (*state.history, record)
        keeps = kept_epoch(history, recipe) == record.epoch
        state = Checkpoint(history, tuple(model.get_weights()) if keeps else state.kept_weights)
        checkpoint.save(checkpoint_path, state, model)
        display.epoch(record, best=keeps and recipe.patience > 0)
    return state


def finished(history: tuple[EpochRecord, ...], recipe: Train, *, done: float) -> bool:
    """True when all is done, or the validation loss has not improved for `patience` epochs."""
    waited = history[-1].epoch - kept_epoch(history, recipe) if history else 0
    return done >= 1 or (recipe.patience > 0 and waited >= recipe.patience)


def kept_epoch(history: tuple[EpochRecord, ...], recipe: Train) -> int:
    """The epoch (from 1) whose weights are kept: with `patience` the first of the lowest `val_loss`, or the last."""
    return min(history, key=lambda record: record.val_loss).epoch if recipe.patience else history[-1].epoch


def _clock(history: tuple[EpochRecord, ...]) -> Callable[[], float]:
    """Seconds spent on a training, now and before it was resumed."""
    began = time.perf_counter() - _spent(history)
    return lambda: time.perf_counter() - began


def _spent(history: tuple[EpochRecord, ...]) -> float:
    return sum(record.seconds for record in history)


def _epoch(
    trainer: Trainer,
    validation: Split,
    history: tuple[EpochRecord, ...],
    *,
    pace: Pace,
    clock: Callable[[], float],
    display: Display,
) -> EpochRecord:
    began, recipe, epoch = clock(), trainer.recipe, len(history) + 1
    rng, total = np.random.default_rng([trainer.seed, epoch]), _Mean()
    batches = trainer.batches_in_a_turn * recipe.repeats
    first_share = share = pace.done(epochs=epoch - 1, seconds=began)
    for batch, (turn, chosen) in enumerate(trainer.batches(epoch, rng), 1):
        step = trainer.step(chosen, share=share, turn=turn, rng=rng)
        _require_finite(step["loss"], f"epoch {epoch}, batch {batch}", trainer)
        total.add(step, len(chosen))
        seconds = clock() - began
        display.batch(
            epoch=epoch, batch=batch, batches=batches, done=total.n, seconds=seconds, loss=total.loss,
            accuracy=total.accuracy,
        )  # fmt: skip
        share = pace.done(epochs=epoch - 1 + batch / batches, seconds=began + seconds)
        if share >= 1:  # by the clock, in the middle of an epoch
            break
    held_out = _validate(trainer.model, validation)
    _require_finite(held_out.loss, f"the validation of epoch {epoch}", trainer)
    return EpochRecord(
        epoch=epoch,
        loss=total.loss,
        accuracy=total.accuracy,
        val_loss=held_out.loss,
        val_accuracy=held_out.accuracy,
        learning_rate=optimizers.learning_rate(recipe, done=first_share),
        images_per_second=total.n / seconds,
        seconds=clock() - _spent(history),
        peak_memory_bytes=machine.peak_memory_bytes() or 0,
    )


def _validate(model: keras.Model, split: Split) -> "_Mean":
    total, one_hot = _Mean(), np.eye(len(split.classes), dtype=np.float32)
    batch = models.images_at_once(ImageSpec(*split.images.shape[1:3]))
    for start in range(0, len(split), batch):
        labels = split.labels[start : start + batch]
        pixels = split.images[start : start + batch].astype(np.float32)
        model.reset_metrics()
        total.add(
            model.test_on_batch(pixels, objective.labelled(labels, one_hot[labels]), return_dict=True), len(labels)
        )
    return total


def _require_finite(loss: float, where: str, trainer: Trainer) -> None:
    if not math.isfinite(loss):
        anew = advice.steadier(trainer.recipe, precision=objective.precision_of(trainer.model))
        raise TrainingError(f"The loss became {loss} in {where}. Expected a finite number: train anew {anew}.")


class _Mean:
    """Running means of loss and accuracy, weighted by images."""

    def __init__(self) -> None:
        self.n, self._loss, self._accuracy = 0, 0.0, 0.0

    def add(self, step: dict[str, Any], n: int) -> None:
        self.n += n
        self._loss += float(step["loss"]) * n
        self._accuracy += float(step["accuracy"]) * n

    @property
    def loss(self) -> float:
        return self._loss / self.n

    @property
    def accuracy(self) -> float:
        return self._accuracy / self.n
