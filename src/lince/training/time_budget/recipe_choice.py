"""Chooses a recipe and a number of epochs that fit into a time budget on this machine.

reading the images | rehearsing each candidate | training by seconds | publishing
before `choose`      some seconds                the remaining time    as rehearsed, scaled by the speed of recent steps
"""

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from lince.errors import TrainingError
from lince.runs.run_folder import Budget, RunFolder
from lince.training import recipes, schedule
from lince.training.advice import suited_batch
from lince.training.recipe import Phase, Recipe
from lince.training.session import Run, Splits
from lince.training.time_budget.limits import Limit

# With fewer than LEAST_STEPS no network here has learned anything from scratch; `fast` takes 506 for CIFAR-10.
LEAST_STEPS = 50

# Validations in the whole training; the assumed cost of a candidate in units of the cost of the one before.
_VALIDATIONS, _COST_RATIO = 25, 2

# In a rehearsal: the most images in a batch, and the steps between two validations.
_BATCH, _STEPS = 256, 3

Stage = Callable[[Run], object]


@dataclass(frozen=True)
class Cost:
    """Seconds that a recipe takes on this machine."""

    recipe: Recipe
    steps_per_epoch: int
    steps: tuple[float, ...]  # one in each phase, full size the last
    tracing: float  # additional time of the first steps
    starting: float  # before the first step
    publishing: float  # after the last
    rehearsal: float  # to measure all this

    @property
    def epoch(self) -> float:
        return self.steps_per_epoch * float(schedule.spans(self.recipe.train) @ self.steps)

    def needed(self, epochs: int) -> float:
        """Seconds for this many epochs, and at least `LEAST_STEPS`, with start and publishing."""
        epochs_at_least = max(epochs, LEAST_STEPS / self.steps_per_epoch)
        return self.starting + self.tracing + epochs_at_least * self.epoch + self.publishing


def choose(limit: Limit, run: Run, splits: Splits, *, train: Stage, publish: Stage) -> tuple[Recipe, Budget]:
    """The most expensive candidate that fits, with as many epochs as fit. Other arguments are those of `rehearse`.

    Raises:
        TrainingError: the time is too short for any candidate. The message says which time is enough.
    """

    def cost_of(recipe: Recipe) -> Cost:
        recipe = recipe if limit.keeps_batches else suited(recipe, len(run.train))
        return rehearse(run, recipe, splits, train=train, publish=publish)

    (recipe, least_epochs), *others = limit.candidates
    best, rejected = cost_of(recipe), []
    for recipe, epochs in others:
        is_tried = limit.left() > _COST_RATIO * (best.rehearsal + best.needed(epochs))
        if is_tried and (cost := cost_of(recipe)).needed(epochs) <= limit.left():
            best, least_epochs = cost, epochs
        else:
            rejected.append(recipe.name)
    left, needed = limit.left(), best.needed(least_epochs)
    if needed > left:  # 5 % more, so that the advised time is not too short by chance; in tens of seconds
        raise TrainingError(
            f"Received a time budget of {limit.seconds:.0f} s. Expected at least "
            f"{math.ceil((limit.seconds - left + needed) * 1.05 / 10) * 10} s for recipe {best.recipe.name!r}, these "
            "images and this machine."
        )
    training = left - best.starting - best.publishing
    epochs = max(1, round((training - best.tracing) / best.epoch))
    recipe = _with(best.recipe, epochs=epochs, validate_every=max(1, round(epochs / _VALIDATIONS)))
    return recipe, Budget(
        seconds=limit.seconds, training_seconds=training, publishing_seconds=best.publishing, step_seconds=best.steps,
        rejected=tuple(rejected),
    )  # fmt: skip


def suited(recipe: Recipe, images: int) -> Recipe:
    """The recipe, with smaller batches for few images."""
    return _with(recipe, batch_size=suited_batch(recipe.train, images))


def rehearse(run: Run, recipe: Recipe, splits: Splits, *, train: Stage, publish: Stage) -> Cost:
    """Trains with some of a run's images, publishes with all, in a temporary folder, and measures the time.

    Args:
        run: open. Its folder does not exist yet.
        recipe: the candidate.
        splits: of the run.
        train, publish: the stages of a run.
    """
    began, steps_per_epoch = time.perf_counter(), recipe.train.steps_per_epoch(len(run.train))
    batch, phases, parts = len(run.train) / steps_per_epoch, recipe.train.phases, len(recipe.train.phases) + 1
    few = run.train.take(np.random.default_rng(0).permutation(len(run.train))[: math.ceil(min(batch, _BATCH))])
    small = _with(  # each step is an epoch, each phase has two validations; a tiny step size cannot diverge
        recipe, batch_size=len(few), epochs=2 * _STEPS * parts, validate_every=_STEPS, patience=0, learning_rate=1e-9,
        phases=tuple(Phase(until=k / parts, image_size=phase.image_size) for k, phase in enumerate(phases, 1)),
    )  # fmt: skip
    record = msgspec.structs.replace(run.record, recipe=recipes.to_table(small))
    with tempfile.TemporaryDirectory() as parent:
        folder = RunFolder(Path(parent) / record.name)
        folder.create(record, kept={}, **splits)
        train(replace(run, folder=folder, record=record, recipe=small, train=few))
        trained, history = time.perf_counter(), folder.read_history()
        folder.checkpoint.unlink()  # publishing compares answers with it, which differ after so few steps
        publish(replace(run, folder=folder, record=record, recipe=small))
        published = time.perf_counter()
    steps = [len(few) / record.images_per_second for record in history]
    return Cost(
        recipe=recipe,
        steps_per_epoch=steps_per_epoch,
        steps=tuple(step * batch / len(few) for step in steps[1::2]),
        tracing=_STEPS * max(0.0, sum(steps[::2]) - sum(steps[1::2])),
        starting=trained - began - sum(record.seconds for record in history[:-1]) - _STEPS * steps[-1],
        publishing=published - trained,
        rehearsal=time.perf_counter() - began,
    )


def _with(recipe: Recipe, **changes: object) -> Recipe:
    return msgspec.structs.replace(recipe, train=msgspec.structs.replace(recipe.train, **changes))
