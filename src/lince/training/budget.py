"""A time instead of a length: which recipe, and how much of it, fits into so many seconds on this machine.

reading the images | measuring a few steps of each candidate | training, paced by the clock | publishing
done by then         seconds                                   what is left                   estimated
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import msgspec
import numpy as np

from lince.errors import TrainingError
from lince.records import Split
from lince.run import Budget
from lince.training import model as models
from lince.training import pace
from lince.training import recipe as recipes
from lince.training.recipe import Recipe
from lince.training.trainer import Trainer, prepare


@dataclass(frozen=True)
class Candidate:
    """A recipe that may be chosen.

    Attributes:
        recipe: the name of one that ships.
        epochs: fewer of them are not worth it: the candidate before this one does better in the same time.
    """

    recipe: str
    epochs: int


# The cheapest first; all of one image size and one validation share, so that the images are read and split once. `fast`
# is at its best in its own 9 epochs; `default` takes about twice as long for each, and is meant for 56.
CANDIDATES = (Candidate("fast", epochs=1), Candidate("default", epochs=16))

# With fewer steps than this no network here has learned anything: `fast` takes 414 for CIFAR-10.
LEAST_STEPS = 50

# A chosen recipe takes at least so many steps to see all images once, down to batches on which batch norm still works.
_STEPS_IN_A_TURN, _SMALLEST_BATCH = 8, 16

# Validation, checkpoint and a line of news after every 1/25 of the time: at 1 s for 2,400 images, 2 % of 20 minutes.
_RECORDS = 25

# Enough for the speed per image of a full batch, within a tenth; a step of `default` then takes 0.3 s here.
_MEASURED_IMAGES = 256

# Publishing on two Zen 5 cores: export, quantising, plots and report; then each look at an image, float and int8, which
# for `fast` and `default` took 2.1 times as long as one forward pass of the network that trains. It looks at validation
# and test images, reads ranges from others, and measures each layer on a few.
_PUBLISHING_SECONDS, _LOOK_FORWARDS, _LAYER_IMAGES = 5.0, 2.1, 256

# Arithmetic in plain Python, as most of publishing is, takes these cores so long.
_LOOPS, _LOOP_SECONDS = 500_000, 0.014


@dataclass(frozen=True)
class Limit:
    """A time, and what it may be spent on.

    Attributes:
        seconds: from the start of the program to the published model.
        began: `time.perf_counter()` at the start.
        candidates: recipes, cheapest first, each with the least epochs that it is worth taking for.
        is_fixed: the user has named the recipe: it is taken as it is, but for its length.
    """

    seconds: float
    began: float
    candidates: tuple[tuple[Recipe, int], ...]
    is_fixed: bool

    @property
    def recipe(self) -> Recipe:
        """The cheapest candidate; all have its image size and validation share."""
        return self.candidates[0][0]

    def left(self) -> float:
        """Seconds."""
        return self.began + self.seconds - time.perf_counter()


def limit(seconds: float, *, began: float, recipe: str | None, overrides: Sequence[str] = ()) -> Limit:
    """What a time may be spent on.

    Args:
        seconds, began: see `Limit`.
        recipe: name or path, or None for any of `CANDIDATES`.
        overrides: `key=value`, for each candidate.

    Raises:
        RecipeError: see `recipe.load`.
    """
    candidates = [Candidate(recipe, epochs=1)] if recipe else CANDIDATES
    loaded = tuple((recipes.load(one.recipe, overrides), one.epochs) for one in candidates)
    return Limit(seconds, began, loaded, is_fixed=recipe is not None)


def choose(limit: Limit, train: Split, *, images: int, others: int, precision: str, seed: int) -> tuple[Recipe, Budget]:
    """The most demanding candidate that fits, at the length that fits.

    Args:
        limit: the time and the candidates.
        train: images to measure with.
        images: how many there are to train on.
        others: how many there are to validate and test on.
        precision: `float32` or `bfloat16`.
        seed: of weights and augmentation while measuring.

    Raises:
        TrainingError: the time is too short for any of them; the sentence says how long it would have to be.
    """
    found, rejected = None, []
    for recipe, epochs in limit.candidates:
        if found is not None and epochs * found.turn_seconds > limit.left() - found.around_seconds(others):
            rejected.append(recipe.name)  # not even at the pace of the one before it
            continue
        recipe = recipe if limit.is_fixed else _suited(recipe, images)
        measured = _measure(recipe, train, images=images, precision=precision, seed=seed)
        needed = measured.least_seconds(epochs) + measured.around_seconds(others)
        if needed <= limit.left():
            found = measured
        elif found is None:
            raise _too_short(limit, recipe, needed)
        else:
            rejected.append(recipe.name)
    return _fitted(limit, found, others=others, rejected=tuple(rejected))


@dataclass(frozen=True)
class _Measured:
    """What a recipe costs on this machine.

    Attributes:
        images: how many there are to train on.
        setup_seconds: to build the network and prepare its weights.
        step_seconds: of a full batch, for each phase of the recipe and at full size.
        forward_seconds: of one image through the network at full size, in a batch.
        layers: convolutions and dense layers.
        slowness: of plain Python, in units of two idle Zen 5 cores.
    """

    recipe: Recipe
    images: int
    setup_seconds: float
    step_seconds: tuple[float, ...]
    forward_seconds: float
    layers: int
    slowness: float

    @property
    def turn_seconds(self) -> float:
        """To see all images once."""
        return self.images / self.recipe.train.batch_size * self._mean_step_seconds

    def least_seconds(self, epochs: int) -> float:
        """Of training, for so many turns through all images, and for `LEAST_STEPS`."""
        return max(epochs * self.turn_seconds, LEAST_STEPS * self._mean_step_seconds)

    def around_seconds(self, others: int) -> float:
        """Before training, once more to build the network; after it, to validate and publish."""
        return self.setup_seconds + self.publishing_seconds(others)

    def publishing_seconds(self, others: int) -> float:
        calibration = min(self.recipe.quantize.calibration_images, self.images)
        looks = others + calibration + min(_LAYER_IMAGES, others) * self.layers
        return self.slowness * _PUBLISHING_SECONDS + _LOOK_FORWARDS * self.forward_seconds * looks

    @property
    def _mean_step_seconds(self) -> float:
        return float(pace.spans(pace.ends(self.recipe.train)) @ self.step_seconds)


def _suited(recipe: Recipe, images: int) -> Recipe:
    """The recipe with smaller batches, where there are few images."""
    batch_size = min(recipe.train.batch_size, max(_SMALLEST_BATCH, images // _STEPS_IN_A_TURN))
    return _with(recipe, batch_size=batch_size)


def _with(recipe: Recipe, **changes: object) -> Recipe:
    return msgspec.structs.replace(recipe, train=msgspec.structs.replace(recipe.train, **changes))


def _measure(recipe: Recipe, train: Split, *, images: int, precision: str, seed: int) -> _Measured:
    began = time.perf_counter()
    classes = len(train.classes)
    model = models.build(recipe.model, spec=recipe.spec, num_classes=classes, precision=precision, seed=seed)
    prepare(model, recipe.model, train, seed=seed)
    setup = time.perf_counter() - began
    trainer = Trainer(model, train=train, recipe=recipe.train, augmentation=recipe.augment, seed=seed)
    starts = [0.0, *(phase.until for phase in recipe.train.phases)]
    layers = sum(isinstance(layer, keras.layers.Conv2D | keras.layers.Dense) for layer in model.layers)
    steps = tuple(_step_seconds(trainer, share) for share in starts)
    return _Measured(recipe, images, setup, steps, _forward_seconds(trainer), layers, _slowness())


def _step_seconds(trainer: Trainer, share: float) -> float:
    """Seconds of a step on a full batch."""
    rng, batch_size = np.random.default_rng(trainer.seed), trainer.recipe.batch_size
    chosen = rng.permutation(len(trainer.train))[: min(_MEASURED_IMAGES, batch_size)]
    return _seconds(lambda: trainer.step(chosen, share=share, turn=1, rng=rng)) * batch_size / len(chosen)


def _forward_seconds(trainer: Trainer) -> float:
    """Seconds of an image, forwards."""
    pixels = np.zeros((_MEASURED_IMAGES, *trainer.train.images.shape[1:]), np.float32)
    return _seconds(lambda: trainer.model.predict_on_batch(pixels)) / len(pixels)


def _slowness() -> float:
    return max(1.0, _seconds(lambda: sum(number * number for number in range(_LOOPS))) / _LOOP_SECONDS)


def _seconds(work: Callable[[], object]) -> float:
    """The median of three times, to pass over a hiccup, after once more to compile."""
    times = []
    for _ in range(4):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def _too_short(limit: Limit, recipe: Recipe, needed: float) -> TrainingError:
    # A twentieth more, so that what is asked for next is not too short by chance; in whole tens of seconds.
    least = math.ceil((limit.seconds - limit.left() + needed) * 1.05 / 10) * 10
    return TrainingError(
        f"Received a time budget of {limit.seconds:.0f} s. Expected at least {least} s for recipe {recipe.name!r}, "
        "these images and this machine."
    )


def _fitted(limit: Limit, found: _Measured, *, others: int, rejected: tuple[str, ...]) -> tuple[Recipe, Budget]:
    training = limit.left() - found.around_seconds(others)
    turns = max(1.0, training / found.turn_seconds)
    repeats = max(1, round(turns / _RECORDS))
    recipe = _with(found.recipe, repeats=repeats, epochs=max(1, round(turns / repeats)))
    return recipe, Budget(
        seconds=limit.seconds,
        training_seconds=training,
        publishing_seconds=found.publishing_seconds(others),
        step_seconds=found.step_seconds,
        rejected=rejected,
    )
