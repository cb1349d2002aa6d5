"""A time instead of a length: which recipe, and how much of it, fits into so many seconds on this machine.

reading the images | measuring a few steps of each candidate | training, paced by the clock | publishing
done by then         seconds                                   what is left                   estimated
"""

import math

import msgspec

from lince.errors import TrainingError
from lince.runs.run_folder import Budget
from lince.training.distillation.teacher import Teacher
from lince.training.recipe import Recipe
from lince.training.time_budget.limits import Limit
from lince.training.time_budget.step_timing import Cost, Counts, measure
from lince.types import ComputeDtype, Split

# A chosen recipe takes at least so many steps to see all images once, down to batches on which batch norm still works.
_STEPS_IN_A_TURN, _SMALLEST_BATCH = 8, 16

# Validation, checkpoint and a line of news after every 1/25 of the time: at 1 s for 2,400 images, 2 % of 20 minutes.
_RECORDS = 25


def choose(
    limit: Limit,
    train: Split,
    *,
    images: Counts,
    precision: ComputeDtype,
    seed: int,
    teacher: Teacher | None = None,
) -> tuple[Recipe, Budget]:
    """The most demanding candidate that fits, at the length that fits.

    Args:
        limit: the time and the candidates.
        train: images to measure with.
        images: how many there are.
        precision: `float32` or `bfloat16`.
        seed: of weights and augmentation while measuring.
        teacher: whom training will ask, as a part of each step.

    Raises:
        TrainingError: the time is too short for any of them; the sentence says how long it would have to be.
    """
    found, least, rejected = None, 0, []
    for recipe, epochs in limit.candidates:
        if found is not None and found.next_seconds(epochs) > limit.left():
            rejected.append(recipe.name)
            continue
        recipe = recipe if limit.is_fixed or limit.keeps_batches else suited(recipe, images.train)
        measured = measure(recipe, train, images=images, precision=precision, seed=seed, teacher=teacher)
        needed = measured.needed_seconds(epochs)
        if needed <= limit.left():
            found, least = measured, epochs
        elif found is None:
            raise _too_short(limit, recipe, needed)
        else:
            rejected.append(recipe.name)
    return _fitted(limit, found, epochs=least, rejected=tuple(rejected))


def suited(recipe: Recipe, images: int) -> Recipe:
    """The recipe with smaller batches, where there are few images."""
    batch_size = min(recipe.train.batch_size, max(_SMALLEST_BATCH, images // _STEPS_IN_A_TURN))
    return _with(recipe, batch_size=batch_size)


def _with(recipe: Recipe, **changes: object) -> Recipe:
    return msgspec.structs.replace(recipe, train=msgspec.structs.replace(recipe.train, **changes))


def _too_short(limit: Limit, recipe: Recipe, needed: float) -> TrainingError:
    # A twentieth more, so that what is asked for next is not too short by chance; in whole tens of seconds.
    least = math.ceil((limit.seconds - limit.left() + needed) * 1.05 / 10) * 10
    return TrainingError(
        f"Received a time budget of {limit.seconds:.0f} s. Expected at least {least} s for recipe {recipe.name!r}, "
        "these images and this machine."
    )


def _fitted(limit: Limit, found: Cost, *, epochs: int, rejected: tuple[str, ...]) -> tuple[Recipe, Budget]:
    training = limit.left() - found.around_seconds
    if training < found.least_seconds(epochs):  # measuring a candidate that was rejected took longer than expected
        raise _too_short(limit, found.recipe, found.needed_seconds(epochs))
    turns = (training - found.tracing_seconds) / found.turn_seconds
    recipe = _with(found.recipe, validate_every=max(1, round(turns / _RECORDS)), epochs=max(1, round(turns)))
    return recipe, Budget(
        seconds=limit.seconds,
        training_seconds=training,
        publishing_seconds=found.publishing_seconds,
        step_seconds=found.step_seconds,
        rejected=rejected,
    )
