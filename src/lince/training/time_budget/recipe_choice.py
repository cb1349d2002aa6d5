"""A time instead of a length: which recipe, and how many epochs of it, fit into so many seconds on this machine.

reading the images | rehearsing each candidate | training, by the clock | publishing
done by then         seconds                     what is left             as rehearsed, at the speed of the last steps
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
from lince.training.recipe import Phase, Recipe
from lince.training.session import Run, Splits
from lince.training.time_budget.limits import Limit

# With fewer steps than this no network here has learned anything: `fast` takes 506 for CIFAR-10. Where there are few
# images, an epoch has as many steps as the second says, of as many images as the third: fewer harm batch norm.
LEAST_STEPS, _STEPS_PER_EPOCH, _SMALLEST_BATCH = 50, 8, 16

# Validations in the whole training; times as long as one candidate that the next may take, in everything.
_VALIDATIONS, _DEARER = 25, 2

# Of a rehearsal: the most images of a batch, and the steps between two validations.
_BATCH, _STEPS = 256, 3

Stage = Callable[[Run], object]


@dataclass(frozen=True)
class Cost:
    """Seconds that a recipe takes on this machine."""

    recipe: Recipe
    steps_per_epoch: int
    steps: tuple[float, ...]  # one in each phase, full size the last
    tracing: float  # what first steps take beyond later ones
    starting: float  # before the first step
    publishing: float  # after the last
    rehearsal: float  # to find this out

    @property
    def epoch(self) -> float:
        return self.steps_per_epoch * float(schedule.spans(self.recipe.train) @ self.steps)

    def needed(self, epochs: int) -> float:
        """For so many epochs and `LEAST_STEPS`, from the first to the last."""
        epochs_at_least = max(epochs, LEAST_STEPS / self.steps_per_epoch)
        return self.starting + self.tracing + epochs_at_least * self.epoch + self.publishing


def choose(limit: Limit, run: Run, splits: Splits, *, train: Stage, publish: Stage) -> tuple[Recipe, Budget]:
    """The most demanding candidate that fits, with as many epochs as fit; the other arguments are those of `rehearse`.

    Raises:
        TrainingError: the time is too short for any candidate; the sentence says how long it would have to be.
    """

    def cost_of(recipe: Recipe) -> Cost:
        recipe = recipe if limit.keeps_batches else suited(recipe, len(run.train))
        return rehearse(run, recipe, splits, train=train, publish=publish)

    (recipe, least_epochs), *others = limit.candidates
    best, rejected = cost_of(recipe), []
    for recipe, epochs in others:
        is_tried = limit.left() > _DEARER * (best.rehearsal + best.needed(epochs))
        if is_tried and (cost := cost_of(recipe)).needed(epochs) <= limit.left():
            best, least_epochs = cost, epochs
        else:
            rejected.append(recipe.name)
    left, needed = limit.left(), best.needed(least_epochs)
    if needed > left:  # a twentieth more, so that the time named here is not too short by chance; in tens of seconds
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
    """The recipe with smaller batches, where there are few images."""
    return _with(recipe, batch_size=min(recipe.train.batch_size, max(_SMALLEST_BATCH, images // _STEPS_PER_EPOCH)))


def rehearse(run: Run, recipe: Recipe, splits: Splits, *, train: Stage, publish: Stage) -> Cost:
    """Trains with a few of a run's images, publishes that with all, in a temporary folder, and takes the time.

    Args:
        run: opened, but for its folder, which is not there yet.
        recipe: to rehearse.
        splits: of the run.
        train, publish: stages of a run.
    """
    began, steps_per_epoch = time.perf_counter(), recipe.train.steps_per_epoch(len(run.train))
    batch, phases, parts = len(run.train) / steps_per_epoch, recipe.train.phases, len(recipe.train.phases) + 1
    few = run.train.take(np.random.default_rng(0).permutation(len(run.train))[: math.ceil(min(batch, _BATCH))])
    small = _with(  # each step an epoch, each phase two validations; the step size leaves numbers of ordinary size
        recipe, batch_size=len(few), epochs=2 * _STEPS * parts, validate_every=_STEPS, patience=0, learning_rate=1e-9,
        phases=tuple(Phase(until=k / parts, image_size=phase.image_size) for k, phase in enumerate(phases, 1)),
    )  # fmt: skip
    record = msgspec.structs.replace(run.record, recipe=recipes.to_table(small))
    with tempfile.TemporaryDirectory() as parent:
        folder = RunFolder(Path(parent) / record.name)
        folder.create(record, teacher=None, **splits)
        train(replace(run, folder=folder, record=record, recipe=small, train=few))
        trained, history = time.perf_counter(), folder.read_history()
        folder.checkpoint.unlink()  # publishing would compare its answers, which so few steps do not settle
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
