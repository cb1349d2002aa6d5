"""The training loop, one for every recipe.

An epoch is one pass over the training images. After every `validate_every` epochs, and after the last one, the loop
measures the validation loss, writes a checkpoint and adds a record to the history.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from lince.errors import TrainingError
from lince.networks import models
from lince.system import machine
from lince.training import advice, checkpoint
from lince.training import loss as losses
from lince.training.augmentation.options import Augment
from lince.training.checkpoint import Checkpoint
from lince.training.display import Display
from lince.training.distillation.teacher import Teacher
from lince.training.history import finished, kept_record
from lince.training.recipe import Train
from lince.training.schedule import ByEpochs, Schedule, learning_rate
from lince.training.step import Trainer
from lince.training.transfer.head import Head
from lince.types import EpochRecord, ImageSpec, Split

_RESOURCE_EXHAUSTED = 8  # the status code of gRPC that TensorFlow and JAX give to an allocation that failed


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
    head: Head | None = None,
    fine_tunes: bool = True,
    resume: bool = False,
) -> Checkpoint:
    """Trains until the schedule ends, or until `patience` validations in a row have not improved the loss.

    The checkpoint, returned or on disk, holds the weights to keep; see `history.kept_record`.

    Args:
        model: built by `models.build`. It is compiled here.
        train, validation: images u8[N,H,W,3] and labels.
        recipe: the hyper-parameters of the loop.
        augmentation: applied to training images.
        seed: with the epoch's number, of the order of images and of augmentation.
        checkpoint_path: where to write the checkpoint and, with `resume`, read it.
        display: receives every step and validation.
        schedule: how much of the training is done. None counts the recipe's epochs.
        teacher: a trained network to learn from, besides the labels.
        head: the last layer for a pretrained network. It is measured first, as epoch 0.
        fine_tunes: train further. Otherwise epoch 0 is the last.
        resume: continue from the checkpoint. Without a checkpoint, training starts at the beginning.

    Raises:
        TrainingError: the loss is not finite, memory ran out, or a checkpoint could not be written.
        ResumeError: the checkpoint is damaged, or of another network.
        RecipeError: Keras knows no such optimizer.
        KeyboardInterrupt: passed on. The last checkpoint is intact.
    """
    trainer = Trainer(model, train=train, recipe=recipe, augmentation=augmentation, seed=seed, teacher=teacher)
    has_checkpoint = resume and checkpoint_path.exists()  # a run may be killed before its first checkpoint
    state = checkpoint.restore(checkpoint_path, model) if has_checkpoint else Checkpoint((), ())
    clock, schedule = _clock(state.history), schedule or ByEpochs(recipe.epochs)
    if head is not None and not state.history:
        progress = schedule.progress(epochs=0, seconds=0) if fine_tunes else 1.0  # 1 where there is no time to train
        layer = model.get_layer(models.LOGITS)
        layer.set_weights([head.kernel, head.bias])
        record = _untrained(trainer.model, validation, head, clock=clock, progress=progress)
        state = Checkpoint((record,), tuple(model.get_weights()))
        layer.set_weights([head.unsure_kernel, head.unsure_bias])
        checkpoint.save(checkpoint_path, state, model)
        display.epoch(record, best=False)
    while not finished(state.history, recipe):
        with _explained_memory_error(trainer):
            record = _train_and_validate(
                trainer, validation, state.history, schedule=schedule, clock=clock, display=display
            )
        history = (*state.history, record)
        keeps = kept_record(history, recipe) is record
        state = Checkpoint(history, tuple(model.get_weights()) if keeps else state.kept_weights)
        checkpoint.save(checkpoint_path, state, model)
        display.epoch(record, best=keeps and recipe.patience > 0)
    return state


def _untrained(
    model: keras.Model, validation: Split, head: Head, *, clock: Callable[[], float], progress: float
) -> EpochRecord:
    """The record of a network before its first step."""
    held_out = _validate(model, validation)
    return EpochRecord(
        epoch=0,
        loss=head.loss,
        accuracy=head.accuracy,
        val_loss=held_out.loss,
        val_accuracy=held_out.accuracy,
        learning_rate=0.0,
        images_per_second=0.0,
        seconds=clock(),
        peak_memory_bytes=machine.peak_memory_bytes() or 0,
        progress=progress,
        val_images=len(validation),
    )


def _clock(history: tuple[EpochRecord, ...]) -> Callable[[], float]:
    """Seconds of training, with those before a resumption."""
    began = time.perf_counter() - _seconds(history)
    return lambda: time.perf_counter() - began


def _seconds(history: tuple[EpochRecord, ...]) -> float:
    return sum(record.seconds for record in history)


def _train_and_validate(
    trainer: Trainer,
    validation: Split,
    history: tuple[EpochRecord, ...],
    *,
    schedule: Schedule,
    clock: Callable[[], float],
    display: Display,
) -> EpochRecord:
    """Trains up to the next validation, or to the end of the schedule, and validates."""
    began, recipe, mean = clock(), trainer.recipe, _Mean()
    epochs = _epochs_to_validation(history[-1].epoch if history else 0, recipe)
    steps = len(epochs) * trainer.steps_per_epoch
    progress = schedule.progress(epochs=epochs.start - 1, seconds=began)
    rate = learning_rate(recipe, progress=progress)
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
        if progress >= 1:  # a time budget can end in the middle of an epoch
            break
    held_out = _validate(trainer.model, validation)
    _require_finite(held_out.loss, f"the validation of epoch {epoch}", trainer)
    return EpochRecord(
        epoch=epoch,
        loss=mean.loss,
        accuracy=mean.accuracy,
        val_loss=held_out.loss,
        val_accuracy=held_out.accuracy,
        learning_rate=rate,
        images_per_second=mean.n / seconds,
        seconds=clock() - _seconds(history),
        peak_memory_bytes=machine.peak_memory_bytes() or 0,
        progress=schedule.progress(epochs=epochs_done, seconds=clock()),
        val_images=len(validation),
    )


def _epochs_to_validation(done: int, recipe: Train) -> range:
    """The numbers (from 1) of the epochs after the first `done`, up to the next validation."""
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
        raise TrainingError(f"The loss became {loss} in {where}. Expected a finite number. Train again {repair}.")


@contextmanager
def _explained_memory_error(trainer: Trainer) -> Iterator[None]:
    """Turns a failed allocation, of NumPy, TensorFlow or JAX, into one sentence that says what to lower."""
    try:
        yield
    except Exception as error:
        status = getattr(error, "error_code", None)  # TensorFlow's. JAX's error has the name of the code alone.
        is_jax = str(error).startswith("RESOURCE_EXHAUSTED")
        if not (isinstance(error, MemoryError) or status == _RESOURCE_EXHAUSTED or is_jax):
            raise
        count, height, width, _ = trainer.train.images.shape
        batch = math.ceil(count / trainer.steps_per_epoch)
        raise TrainingError(
            f"Memory ran out in a step with {batch} images of {width} × {height} pixels (train.batch_size="
            f"{trainer.recipe.batch_size}). Expected a batch that fits into memory. Train again with a lower "
            f"train.batch_size, such as --set train.batch_size={max(1, batch // 2)}, or a lower image_size."
        ) from error


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
