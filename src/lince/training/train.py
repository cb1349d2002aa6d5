"""The training loop: one for every recipe."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from lince.errors import RecipeError, TrainingError
from lince.records import EpochRecord, Split
from lince.training import checkpoint
from lince.training.augment import augment
from lince.training.checkpoint import Checkpoint
from lince.training.recipe import Augment, Train

# Where the speed of `classic` levels off (see `publish`); 500 images of 32 × 32 in float32 are 6 MB.
_VALIDATION_BATCH = 500


class Display(Protocol):
    """Whoever wants to watch."""

    def batch(self, *, epoch: int, batch: int, batches: int, done: int, seconds: float, loss: float, accuracy: float):
        """After each step; `done` images in `seconds` since the epoch began, running means of loss and accuracy."""

    def epoch(self, record: EpochRecord, *, best: bool):
        """After each epoch; `best` when its validation loss is the lowest so far."""


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
    resume: bool = False,
) -> Checkpoint:
    """Trains until the validation loss has not improved for `patience` epochs, or the epochs are used up.

    A checkpoint is written after every epoch. However training ends, the checkpoint returned or left on disk holds
    the best weights.

    Args:
        model: built by `model.build`; it is compiled here.
        train, validation: images u8[N,H,W,3] and labels.
        recipe: the loop's hyper-parameters.
        augmentation: applied to training images.
        seed: of order and augmentation, with the epoch's number.
        checkpoint_path: where to write and, with `resume`, to read.
        display: told of every batch and epoch.
        resume: go on from the checkpoint; from the beginning when no epoch was finished.

    Raises:
        TrainingError: the loss is not finite, or a checkpoint could not be written.
        ResumeError: the checkpoint is damaged, or another network's.
        RecipeError: Keras knows no such optimiser or loss.
        KeyboardInterrupt: passed on; the last finished epoch is safe.
    """
    compile_model(model, recipe)
    going_on = resume and checkpoint_path.exists()  # a run may be killed before its first checkpoint
    state = checkpoint.restore(checkpoint_path, model) if going_on else Checkpoint((), ())
    while not finished(state.history, recipe):
        record = _epoch(
            model,
            train,
            validation,
            recipe=recipe,
            augmentation=augmentation,
            epoch=len(state.history) + 1,
            seed=seed,
            display=display,
        )
        history = (*state.history, record)
        improved = best_epoch(history) == record.epoch
        state = Checkpoint(history, tuple(model.get_weights()) if improved else state.best_weights)
        checkpoint.save(checkpoint_path, state, model)
        display.epoch(record, best=improved)
    return state


def finished(history: tuple[EpochRecord, ...], recipe: Train) -> bool:
    """True when the epochs are used up or the validation loss has not improved for `patience` epochs."""
    return bool(history) and (
        len(history) >= recipe.epochs or history[-1].epoch - best_epoch(history) >= recipe.patience
    )


def best_epoch(history: tuple[EpochRecord, ...]) -> int:
    """The epoch (from 1) with the lowest validation loss; the first of equals."""
    return min(history, key=lambda record: record.val_loss).epoch


def compile_model(model: keras.Model, recipe: Train) -> None:
    """Gives a model the recipe's optimiser, loss and metrics.

    Raises:
        RecipeError: Keras knows no such optimiser or loss.
    """
    try:
        optimizer = keras.optimizers.get(
            {"class_name": recipe.optimizer, "config": {"learning_rate": recipe.learning_rate}}
        )
        loss = keras.losses.get(recipe.loss)
    except ValueError as error:
        raise RecipeError(
            f"Recipe: Keras does not know train.optimizer={recipe.optimizer!r} or train.loss={recipe.loss!r}: {error}. "
            "Expected names such as 'adam' and 'categorical_crossentropy'."
        ) from error
    # XLA is slow at convolutions on CPUs: 72 images/s with JAX against TensorFlow's 428. JAX has nothing else.
    jit_compile = keras.backend.backend() == "jax"
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=jit_compile)


def _epoch(
    model: keras.Model,
    train: Split,
    validation: Split,
    *,
    recipe: Train,
    augmentation: Augment,
    epoch: int,
    seed: int,
    display: Display,
) -> EpochRecord:
    began = time.perf_counter()
    rng = np.random.default_rng([seed, epoch])
    total = _Mean()
    batches = math.ceil(len(train) / recipe.batch_size)
    for batch, (images, targets) in enumerate(_shuffled(train, recipe.batch_size, rng)):
        model.reset_metrics()  # so that the answer is this batch's own, whatever the version of Keras accumulates
        step = model.train_on_batch(augment(images, augmentation, rng), targets, return_dict=True)
        _require_finite(step["loss"], f"epoch {epoch}, batch {batch + 1}", recipe)
        total.add(step, len(images))
        display.batch(
            epoch=epoch, batch=batch + 1, batches=batches, done=total.n, seconds=time.perf_counter() - began,
            loss=total.loss, accuracy=total.accuracy,
        )  # fmt: skip
    training_seconds = time.perf_counter() - began
    held_out = _validate(model, validation)
    _require_finite(held_out.loss, f"the validation of epoch {epoch}", recipe)
    return EpochRecord(
        epoch=epoch,
        loss=total.loss,
        accuracy=total.accuracy,
        val_loss=held_out.loss,
        val_accuracy=held_out.accuracy,
        learning_rate=float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)),
        images_per_second=len(train) / training_seconds,
        seconds=time.perf_counter() - began,
    )


def _shuffled(split: Split, batch_size: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    order = rng.permutation(len(split))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        yield split.images[chosen], _one_hot(split, chosen)


def _validate(model: keras.Model, split: Split) -> "_Mean":
    total = _Mean()
    for start in range(0, len(split), _VALIDATION_BATCH):
        chosen = np.arange(start, min(start + _VALIDATION_BATCH, len(split)))
        model.reset_metrics()
        step = model.test_on_batch(split.images[chosen].astype(np.float32), _one_hot(split, chosen), return_dict=True)
        total.add(step, len(chosen))
    return total


def _one_hot(split: Split, indices: np.ndarray) -> np.ndarray:
    targets = np.zeros((len(indices), len(split.classes)), np.float32)
    targets[np.arange(len(indices)), split.labels[indices]] = 1
    return targets


def _require_finite(loss: float, where: str, recipe: Train) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"The loss became {loss} in {where}, at learning_rate={recipe.learning_rate}. "
            "Expected a finite number: lower train.learning_rate, or set train.precision=float32."
        )


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
