"""Signs, while it is trained, that a network learns nothing: what to tell the user after an epoch."""

import numpy as np
from jaxtyping import Int64

from lince.records import EpochRecord
from lince.sentences import share
from lince.training.recipe import Train
from lince.training.targets import class_weights

# Epochs after which it is said: the first ones, at a high step size, may yet be at chance.
_PATIENCE = 3
# Shares of the loss at chance: from which on nothing was learned, and below which something was.
_AT_CHANCE, _LEARNED = 0.99, 0.9


class Stagnation:
    """What answering every image alike would reach, and whether a run does better.

    Args:
        train: i64[N], labels to train on.
        validation: i64[M], labels of validation images.
        num_classes: K.
        recipe: how targets are smoothed and weighed. A teacher's answers are taken to have the labels' mean.
    """

    def __init__(
        self, train: Int64[np.ndarray, " n"], validation: Int64[np.ndarray, " m"], *, num_classes: int, recipe: Train
    ):
        counts = np.bincount(train, minlength=num_classes)
        share = class_weights(counts, balance=recipe.class_balance) * counts / counts.sum()
        target = (1 - recipe.label_smoothing) * share + recipe.label_smoothing / num_classes
        target = target[target > 0]
        self.loss = float(-(target * np.log(target)).sum())
        self.accuracy = float(np.bincount(validation).max() / len(validation))
        self._repair = f"Try a train.learning_rate below {recipe.learning_rate:g}, or --set train.precision=float32."

    def warning(self, history: tuple[EpochRecord, ...]) -> str | None:
        """What to tell the user after the last of at least one epoch; None when there is nothing new."""
        learned = [record.loss < _LEARNED * self.loss for record in history]
        at_chance = [record.loss >= _AT_CHANCE * self.loss for record in history]
        only_training = [
            known and record.val_accuracy <= self.accuracy for known, record in zip(learned, history, strict=True)
        ]
        chance = f"chance ({self.loss:.2f})"
        if _begins_to_last(at_chance) and not any(learned):
            return f"The training loss has been at {chance} for {_PATIENCE} epochs: nothing is learned. {self._repair}"
        if any(learned[:-1]) and at_chance[-1] and not at_chance[-2]:
            return f"The training loss had fallen and is back at {chance}: training diverged. {self._repair}"
        if _begins_to_last(only_training):
            return (
                f"For {_PATIENCE} epochs no more than {share(self.accuracy, 0)} of the validation images were right, "
                f"the largest class's share, though the training loss fell: the network's numbers may be too large. "
                f"{self._repair}"
            )
        return None


def _begins_to_last(signs: list[bool]) -> bool:
    """Whether a sign has been there for just so many epochs: it is told once."""
    before, last = signs[:-_PATIENCE], signs[-_PATIENCE:]
    return len(last) == _PATIENCE and all(last) and not any(before[-1:])
