"""What a recipe costs on this machine: a few steps of it, timed, and what follows for the whole."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from lince import data
from lince.evaluation import verdict
from lince.networks import models
from lince.quantization import layer_sensitivity
from lince.quantization.options import Quantize
from lince.training import schedule
from lince.training.distillation.teacher import Teacher
from lince.training.recipe import Recipe
from lince.training.step import Trainer, initialise_from
from lince.types import ComputeDtype, Split

# With fewer steps than this no network here has learned anything: `fast` takes 506 for CIFAR-10.
LEAST_STEPS = 50

# Measuring a candidate takes up to so many times as long as the one before it: for `default`, which has more layers to
# trace than `fast`, it was 1.2 and 1.7.
_NEXT_MEASURING = 2.0

# Enough for the speed per image of a full batch, within a tenth; a step of `default` then takes 0.3 s here. Never more
# than a batch, which a recipe for larger images keeps small for the sake of memory.
_MEASURED_IMAGES = 256

# Publishing on two Zen 5 cores: export, quantising, plots and report; then each look at an image, float and int8, which
# for `fast` and `default` took 2.1 times as long as one forward pass of the network that trains. It looks at validation
# and test images, reads ranges from others, and measures each layer on a few.
_PUBLISHING_SECONDS, _LOOK_FORWARDS = 5.0, 2.1

# Copies across the splits: 5 s for 58,000 images of 32 × 32, 1.6 s for 10,000 of 96 × 96; the dearer of the two.
_SECONDS_PER_BYTE = 2.8e-8

# Arithmetic in plain Python, as most of publishing is, takes these cores so long.
_LOOPS, _LOOP_SECONDS = 500_000, 0.014


class Counts(NamedTuple):
    """How many images there are to train on, to validate on and to test on."""

    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class Cost:
    """What a recipe costs on this machine.

    Attributes:
        images: how many there are.
        setup_seconds: to build the network and prepare its weights.
        tracing_seconds: what the first steps of each phase and the first validation take beyond later ones.
        step_seconds: of a batch, for each phase of the recipe and at full size.
        forward_seconds: of one image through the network at full size, in a batch.
        layers: convolutions and dense layers.
        slowness: of plain Python, in units of two idle Zen 5 cores.
        measuring_seconds: what it took to find all this out.
    """

    recipe: Recipe
    images: Counts
    setup_seconds: float
    tracing_seconds: float
    step_seconds: tuple[float, ...]
    forward_seconds: float
    layers: int
    slowness: float
    measuring_seconds: float

    @property
    def turn_seconds(self) -> float:
        """To see all images once."""
        return self.recipe.train.steps_per_epoch(self.images.train) * self._mean_step_seconds

    def least_seconds(self, epochs: int) -> float:
        """Of training, for so many turns through all images, and for `LEAST_STEPS`."""
        return self.tracing_seconds + max(epochs * self.turn_seconds, LEAST_STEPS * self._mean_step_seconds)

    def needed_seconds(self, epochs: int) -> float:
        """From now on, for so many turns at least."""
        return self.least_seconds(epochs) + self.around_seconds

    def next_seconds(self, epochs: int) -> float:
        """At least, for measuring the next candidate, and for so many turns at no more than the pace of this one."""
        return _NEXT_MEASURING * self.measuring_seconds + self.needed_seconds(epochs)

    @property
    def around_seconds(self) -> float:
        """Before training, once more to build the network; after its time is up, to validate and publish."""
        return self.setup_seconds + self.forward_seconds * self.images.validation + self.publishing_seconds

    @property
    def publishing_seconds(self) -> float:
        """From the trained network to the report."""
        others = self.images.validation + self.images.test
        training = (
            min(count, self.images.train) for count in (self._options.calibration_images, verdict.TRAINING_IMAGES)
        )
        looks = others + sum(training) + min(layer_sensitivity.IMAGES, others) * self.layers
        own = self.slowness * (_PUBLISHING_SECONDS + _SECONDS_PER_BYTE * self._searched_bytes)
        again = self.images.validation  # once more, as trained: see `require_reproduced`
        return own + self.forward_seconds * (_LOOK_FORWARDS * looks + again)

    @property
    def _options(self) -> Quantize:
        return self.recipe.quantize

    @property
    def _searched_bytes(self) -> int:
        """Of pixels, among which copies across the splits are looked for."""
        count = sum(self.images)
        return count * math.prod(self.recipe.spec.shape) if data.is_searched(count) else 0

    @property
    def _mean_step_seconds(self) -> float:
        return float(schedule.spans(schedule.ends(self.recipe.train)) @ self.step_seconds)


def measure(
    recipe: Recipe, train: Split, *, images: Counts, precision: ComputeDtype, seed: int, teacher: Teacher | None
) -> Cost:
    """Builds the network and times a few steps of each phase, as they would be trained.

    Args:
        recipe: to measure.
        train: images to measure with.
        images: how many there are.
        precision, seed, teacher: as for training.
    """
    began = time.perf_counter()
    classes = len(train.classes)
    model = models.build(recipe.model, spec=recipe.spec, num_classes=classes, precision=precision, seed=seed)
    initialise_from(train, model, recipe.model, seed=seed)
    setup = time.perf_counter() - began
    trainer = Trainer(
        model, train=train, recipe=recipe.train, augmentation=recipe.augment, seed=seed, teacher=teacher
    )  # fmt: skip
    starts = [0.0, *(phase.until for phase in recipe.train.phases)]
    steps = [_step_times(trainer, share, images.train) for share in starts]
    forward = _forward_times(trainer)
    return Cost(
        recipe=recipe,
        images=images,
        setup_seconds=setup,
        tracing_seconds=sum(one.tracing for one in (*steps, forward)),
        step_seconds=tuple(one.each for one in steps),
        forward_seconds=forward.each,
        layers=sum(isinstance(layer, keras.layers.Conv2D | keras.layers.Dense) for layer in model.layers),
        slowness=_slowness(),
        measuring_seconds=time.perf_counter() - began,
    )


class _Times(NamedTuple):
    """Seconds.

    Attributes:
        tracing: what first calls took beyond later ones.
        each: of a later call.
    """

    tracing: float
    each: float


def _step_times(trainer: Trainer, share: float, images: int) -> _Times:
    """Of a step on a batch, where there are so many images."""
    rng, steps = np.random.default_rng(trainer.seed), trainer.recipe.steps_per_epoch(images)
    chosen = rng.permutation(len(trainer.train))[: min(_MEASURED_IMAGES, math.ceil(images / steps))]
    batches = [chosen, chosen[1:]] if images % steps else [chosen]  # parts of nearly one size: each is traced
    times = _times(lambda batch: trainer.step(batch, progress=share, epoch=1, rng=rng), batches)
    return times._replace(each=times.each * images / steps / len(chosen))


def _forward_times(trainer: Trainer) -> _Times:
    """Of an image, forwards."""
    count = min(_MEASURED_IMAGES, trainer.recipe.batch_size)
    pixels = np.zeros((count, *trainer.train.images.shape[1:]), np.float32)
    times = _times(trainer.model.predict_on_batch, [pixels])
    return times._replace(each=times.each / count)


def _slowness() -> float:
    times = _times(lambda loops: sum(number * number for number in range(loops)), [_LOOPS])
    return max(1.0, times.each / _LOOP_SECONDS)


def _times(work: Callable[[Any], object], inputs: Sequence[Any]) -> _Times:
    """Of one call with each input, and of three more with the first: their median, to pass over a hiccup."""
    firsts = [_seconds(work, one) for one in inputs]
    each = statistics.median(_seconds(work, inputs[0]) for _ in range(3))
    return _Times(sum(max(0.0, first - each) for first in firsts), each)


def _seconds(work: Callable[[Any], object], argument: Any) -> float:
    began = time.perf_counter()
    work(argument)
    return time.perf_counter() - began
