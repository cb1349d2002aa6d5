"""The validations of a training: whether it has ended, and which weights are kept."""

import math

from lince.training.recipe import Train
from lince.types import EpochRecord

# With fewer validation images, they show only large differences, and a pretrained network is trained again on them too.
ENOUGH_VALIDATION_IMAGES = 200


def finished(history: tuple[EpochRecord, ...], recipe: Train) -> bool:
    """True at the end of the schedule, or when `patience` validations in a row have not improved the loss."""
    if not history:
        return False
    waited = len(history) - 1 - history.index(kept_record(history, recipe))
    return history[-1].progress >= 1 or (recipe.patience > 0 and waited >= recipe.patience)


def kept_record(history: tuple[EpochRecord, ...], recipe: Train) -> EpochRecord:
    """The record whose weights are kept: with `patience` the first of the lowest `val_loss`, without it the last.

    Without it, fine-tuning that has not ended is not kept, nor is it where validation is against it; see `_is_better`.
    """
    return kept_with(history, patience=recipe.patience)


def kept_with(history: tuple[EpochRecord, ...], *, patience: int) -> EpochRecord:
    """As `kept_record`, of a recipe with that `patience`."""
    if patience:
        return min(history, key=lambda record: record.val_loss)
    first, last = history[0], history[-1]
    keeps_head = first.epoch == 0 and (last.progress < 1 or not _is_better(last, first))
    return first if keeps_head else last


def _is_better(tuned: EpochRecord, head: EpochRecord) -> bool:
    """Whether fine-tuning is kept: with enough validation images, where it is more accurate than the head.

    Fewer images decide by chance, and fine-tuning is mostly better. So it is kept unless it is less accurate by more
    than the standard error that two networks with independent answers would have. That of paired answers is smaller.
    """
    gain, count = tuned.val_accuracy - head.val_accuracy, tuned.val_images
    if count >= ENOUGH_VALIDATION_IMAGES:
        return round(gain * count) > 0  # accuracies are means in float32
    if count == 0:  # a checkpoint that does not say
        return gain > 0
    mean = (tuned.val_accuracy + head.val_accuracy) / 2
    return gain >= -math.sqrt(2 * mean * (1 - mean) / count)
