"""A short trial of a recipe: it is trained with a part of the images, and measured on validation images."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec

from lince import data
from lince.runs.run_folder import Budget, RunFolder
from lince.training.recipe import Recipe
from lince.training.session import Plan, Run, Splits

# Every candidate holds out the same share, and with the same seed the same images.
HELD_OUT = "train.validation_fraction=0.2"

# The most training and validation images, and the most images in all epochs together. A network from scratch reads
# them in 15 to 60 s on two cores: `default` 1,000 a second, `photos-scratch` 280. Batches are small, so that a network
# learns much from few images.
_MOST_TRAIN, _MOST_VALIDATION, _MOST_READ, _BATCH = 2000, 1000, 16_000, 64


class Start(Protocol):
    """Opens a new run of a source; see `session.start`."""

    def __call__(self, recipe: Recipe, folder: RunFolder, *, plan: Plan) -> Run: ...


@dataclass(frozen=True)
class Outcome:
    """The accuracy (0 to 1) of a recipe on `n` validation images."""

    accuracy: float
    n: int


def run(recipe: Recipe, *, start: Start, train: Callable[[Run], object], seconds: float | None) -> Outcome:
    """Trains a recipe in a temporary folder. Of a pretrained network only the head is fitted.

    Args:
        recipe: with the share of `HELD_OUT`.
        start: opens a run.
        train: the stages of a run that train it.
        seconds: the most seconds of training steps; None bounds their number only, so that the outcome follows from the
            seed.
    """
    with tempfile.TemporaryDirectory() as parent:
        opened = start(recipe, RunFolder(Path(parent) / recipe.name), plan=partial(_shortened, seconds=seconds))
        seed = opened.record.seed
        chosen = data.sample(opened.train, _MOST_TRAIN, seed=seed)
        few = replace(opened, train=opened.train.take(chosen), groups=opened.groups[chosen])
        held_out = opened.validation.take(data.sample(opened.validation, _MOST_VALIDATION, seed=seed))
        train(replace(few, validation=held_out))
        return Outcome(opened.folder.read_history()[-1].val_accuracy, len(held_out))


def _shortened(run: Run, _: Splits, *, seconds: float | None) -> tuple[Recipe, Budget | None]:
    """The recipe with fewer epochs; without time for any where the network is pretrained."""
    recipe = run.recipe
    if recipe.model.pretrained:
        return recipe, Budget(seconds=0, training_seconds=0, publishing_seconds=0)
    epochs = max(1, min(recipe.train.epochs, _MOST_READ // min(len(run.train), _MOST_TRAIN)))
    short = msgspec.structs.replace(
        recipe.train, epochs=epochs, validate_every=epochs, batch_size=min(_BATCH, recipe.train.batch_size)
    )
    budget = None if seconds is None else Budget(seconds=seconds, training_seconds=seconds, publishing_seconds=0)
    return msgspec.structs.replace(recipe, train=short), budget
