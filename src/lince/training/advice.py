"""How to go on after a refusal. Every command that is named here can work for the run that was refused, or the sentence
says on what it depends.
"""

import math
import shlex
from pathlib import Path

from lince.number_formats import percent
from lince.quantization.options import Quantize
from lince.training.recipe import Recipe, Train
from lince.types import ComputeDtype

# Times as many training images to read ranges from, where there are as many.
_MORE_CALIBRATION = 5


def after_loss(
    drop_points: float,
    options: Quantize,
    *,
    folder: Path,
    num_train: int,
    is_fallback: bool,
    fallback_can_help: bool,
    is_above_one_class: bool,
) -> str:
    """What to do when a quantized network lost too much on test images.

    Args:
        drop_points: what it lost, percentage points.
        options: the run's.
        folder: the run's.
        num_train: images from which ranges can be read.
        is_fallback: the fallback has been tried.
        fallback_can_help: int8 loses too much on validation images as well, so the fallback would change something.
        is_above_one_class: it is right more often than one class would be, so accepting the loss is enough.
    """
    ways = []
    if fallback_can_help and not is_fallback:
        ways.append(
            f"{_quantize(folder, '--fallback')} keeps the most sensitive layers in float (int8 loses too much on "
            "validation images, too)"
        )
    if num_train > options.calibration_images:
        more = min(num_train, _MORE_CALIBRATION * options.calibration_images)
        flags = ["--fallback"] if is_fallback else []
        command = _quantize(folder, *flags, f"--set=quantize.calibration_images={more}")
        ways.append(f"{command} reads the activation ranges from more training images, which may lose less")
    if is_above_one_class and not is_fallback:
        ways.append(f"{_quantize(folder, _bound(drop_points))} accepts the loss")
    without = ", int8 throughout" if is_fallback else ""
    ways.append(f"{_quantize(folder, '--force')} publishes it{without}, whatever is lost")
    return f"What was trained is kept: {'; '.join(ways)}."


def after_fallback(drop_points: float, *, folder: Path, is_above_one_class: bool) -> str:
    """What to do when every network that the fallback tried lost too much on validation images.

    Args:
        drop_points: what the best of them lost, percentage points.
        folder: the run's.
        is_above_one_class: the best of them is right more often than one class would be.
    """
    ways = []
    if is_above_one_class:
        ways.append(
            f"{_quantize(folder, '--fallback', _bound(drop_points))} accepts the loss, if test images lose no more"
        )
    ways.append(f"{_quantize(folder, '--force')} publishes int8 throughout, whatever is lost")
    return f"What was trained is kept: {'; '.join(ways)}."


def steadier(recipe: Train, *, precision: ComputeDtype) -> str:
    """Settings to train with after a training that diverged.

    Args:
        recipe: the `[train]` table in use.
        precision: of the arithmetic in use.
    """
    exact = ", or with --set train.precision=float32" if precision == "bfloat16" else ""
    return f"with a train.learning_rate below {recipe.learning_rate:g}{exact}"


def after_chance(
    recipe: Recipe,
    *,
    folder: Path,
    source: str,
    training_accuracy: float,
    chance: float,
    loss: str | None,
    is_timed: bool,
) -> str:
    """When a network is right no more often than one class would be.

    Args:
        recipe: the run's.
        folder: the run's.
        source: the run's images, as `lince data check` takes them.
        training_accuracy: of the network on training images, 0..1.
        chance: what always naming one class gives on test images, 0..1.
        loss: what `after_loss` says, where the float network is better than that; else None.
        is_timed: it was trained by the clock.
    """
    if loss is not None:
        return f"The float network is better than that: int8 has lost it. {loss}"
    forced = f"What was trained is kept: {_quantize(folder, '--force')} publishes it all the same."
    if chance == 1:
        return (
            "All test images are of one class, so that no network could have more: add test images of the others, each "
            f"of them another picture. {forced}"
        )
    learned = f"It is right for {percent(training_accuracy, 0)} of its training images"
    if training_accuracy > (1 + chance) / 2:
        return (
            f"{learned}, so it has learned them by heart: add images, and look by "
            f"{shlex.join(['lince', 'data', 'check', source])} for labels and copies that are wrong. {forced}"
        )
    longer = "a longer --time-budget" if is_timed else longer_training(recipe.train, times=10)
    return (
        f"{learned}, so it has not learned them well: train anew with {longer}; where that has been tried, with a "
        f"smaller train.learning_rate (it was {recipe.train.learning_rate:g}). {forced}"
    )


def longer_training(recipe: Train, *, times: int) -> str:
    """The options for so many times as many epochs, validated as often in all."""
    return f"--set train.epochs={times * recipe.epochs} --set train.validate_every={times * recipe.validate_every}"


def _bound(drop_points: float) -> str:
    """The next whole number of points that the drop is not above."""
    return f"--set=quantize.max_drop_points={max(0, math.ceil(drop_points))}"


def _quantize(folder: Path, *arguments: str) -> str:
    return shlex.join(["lince", "quantize", str(folder), *arguments])
