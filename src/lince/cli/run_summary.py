"""The lines that `lince train` prints about a run: the choice of its recipe, its data, and what the model is worth."""

from __future__ import annotations

import importlib
import os
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from lince.cli.console import print_fact, say, say_fact
from lince.number_formats import file_size, microseconds, percent
from lince.text import quantity

if TYPE_CHECKING:  # imported late, inside the functions: the command line starts in a fifth of a second
    from lince.model_file.manifest import RunReport
    from lince.runs.run_folder import Budget
    from lince.training.recipe import Recipe
    from lince.training.recommendation import Recommendation
    from lince.training.session import Run

# Enough to see what is wrong. The run folder lists all.
_REJECTED_SHOWN = 3

# The user is told above this ratio of the largest class to the smallest. With two such classes, a network that always
# names the larger one is right for two thirds of the images.
_UNEVEN = 2

_MANY_IMAGES = 1000  # from so many on, an accuracy is shown with a decimal, as the verdict does

_FITTED = {
    "crop": "Each image is cut to its centre square and resized to",
    "pad": "Each image is scaled to fit into the middle of a grey square of",
    "stretch": "Each image is stretched, as a whole, to",
}


def say_choice(found: Recommendation, *, source: str, overrides: Sequence[str], seconds: float | None) -> None:
    """Prints which recipe was chosen, why, and the command for the other one."""
    again = ["lince", "train", source, *found.other.options, *(f"--set={override}" for override in overrides)]
    again += [] if seconds is None else [f"--time-budget={seconds:g}s"]
    say_fact("Recipe", f"{found.chosen.name}, because {found.why}.")
    say(f"{'Or:':<10}{shlex.join(again)}")


def show_result(report: RunReport, run: Run) -> None:
    """Prints what was left out, the verdict on a published model, its accuracy, and what can be done next."""
    folder, certificate, n = run.folder, report.certificate, report.int8.n
    accuracy, digits = report.int8.accuracy, 1 if n >= _MANY_IMAGES else 0
    low, high = percent(accuracy.low, digits), percent(accuracy.high, digits)
    for fact in _rejected(run):
        say_fact(*fact)
    print_fact("Verdict", report.verdict.text)
    print_fact(
        "Accuracy",
        f"{percent(accuracy.value, digits)} of {quantity(n, 'test image')}, 95 % interval {low} to {high}.",
    )
    say_fact(
        "Model",
        f"{folder.model}, {file_size(folder.model.stat().st_size)}, {microseconds(certificate.latency_us)} an image "
        "on one thread.",
    )
    _say_next(run)


def _say_next(run: Run) -> None:
    """Three commands that work as they are printed."""
    name, page = shlex.quote(str(run.folder.path)), run.folder.page
    lince = "lince" if shutil.which("lince") else f"{shlex.quote(sys.executable)} -m lince"
    opener = {"darwin": "open", "win32": "start"}.get(sys.platform, "xdg-open")
    is_there = sys.platform == "win32" or shutil.which(opener)
    commands = {
        f"{lince} serve {name}": "a page to try it, and HTTP",
        f"{lince} predict {name} {shlex.quote(_picture(run))}": "",
        f"{opener} {shlex.quote(str(page))}" if is_there else page.absolute().as_uri(): "the report",
    }
    for number, (command, what) in enumerate(commands.items()):
        say(f"{'' if number else 'Next:':<10}{command}{f'   # {what}' if what else ''}")


def _picture(run: Run) -> str:
    """A picture to try: the first test image where it is a file, or else the .zip with the images."""
    source = Path(run.record.source)
    picture = source / run.test.names[0] if source.is_dir() else source
    if not picture.is_file():
        return "PICTURE"
    near = Path(os.path.relpath(picture))
    return str(picture if near.parts[0] == os.pardir else near)


def say_start(run: Run) -> None:
    """Prints what an open run holds, what may be wrong with it, and how many files were left out."""
    for fact in (*_data(run), *_warnings(run), *_length(run), *_balance(run)):
        say_fact(*fact)
    if rejected := run.record.rejected:
        say_fact("Left out", f"{quantity(len(rejected), 'file')} that cannot be used; listed at the end.")


_Fact = tuple[str, str]
"""The label of a line, and its text."""


def _data(run: Run) -> Iterator[_Fact]:
    from lince.data.aspect_ratios import Proportions, measure
    from lince.system import machine

    record, recipe = run.record, run.recipe
    reading = f" Folders: {record.reading}" if record.reading else ""
    yield (
        "Data",
        f"{Path(record.source).name}: {len(run.train):,} images to train on, {len(run.validation):,} to validate, "
        f"{len(run.test):,} to test; {len(record.classes)} classes.{reading}",
    )
    shapes = measure(run.train.sizes) if run.train.sizes is not None else Proportions()
    if recipe.fit == "crop" and shapes.suggested != "crop":
        yield "Shape", f"{shapes.not_square:,} of {quantity(shapes.n, 'picture')} are not square; {shapes.advice}."
    length = "" if record.budget else f", {quantity(recipe.train.epochs, 'epoch')}"
    yield (
        "Training",
        f"recipe {recipe.name}{length}. {_FITTED[recipe.fit]} {recipe.image_size} × {recipe.image_size} pixels.",
    )
    found = machine.read()
    cores = quantity(found.cores, "core")
    device = _accelerator(run) or f"{found.processor}, {cores}"
    yield "Run", f"{run.folder.path}, on {device}, {record.precision}."


def _accelerator(run: Run) -> str:
    """The name of the GPU that trains; empty on a processor. TensorFlow trains on the processor here."""
    if run.record.environment["backend"] != "jax":
        return ""
    device = importlib.import_module("jax").devices()[0]
    return "" if device.platform == "cpu" else str(device.device_kind)


def _warnings(run: Run) -> Iterator[_Fact]:
    yield from (("Warning", warning) for warning in run.record.warnings)
    if run.record.teacher:
        yield "Teacher", f"{run.record.teacher}, version {run.record.teacher_version}."
    if run.record.knows_validation:
        yield (
            "Warning",
            "The teacher, or the run of model.weights, has learned from some of the validation images, so judge this "
            "run by its test images. To hold out the same images, use its --seed, --leave-out and "
            "train.validation_fraction.",
        )


def _length(run: Run) -> Iterator[_Fact]:
    from lince.training.advice import longer_training, suited_batch
    from lince.training.time_budget.recipe_choice import LEAST_STEPS

    options = run.recipe.train
    steps = options.epochs * options.steps_per_epoch(len(run.train))
    if run.record.budget is not None:
        yield "Time", _budget(run.recipe, run.record.budget)
    elif steps < LEAST_STEPS and not run.recipe.model.pretrained:
        longer = longer_training(options, times=20)
        yield (
            "Warning",
            f"{quantity(len(run.train), 'image')} give only {quantity(steps, 'training step')}: try --time-budget 5m, "
            f"or {longer} --set train.batch_size={suited_batch(options, len(run.train))}.",
        )


def _budget(recipe: Recipe, budget: Budget) -> str:
    if not budget.step_seconds:
        whole = timedelta(seconds=round(budget.seconds))
        return f"{whole} in all. The pretrained network's head comes first, and fine-tuning in the rest."
    times = {"in all": budget.seconds, "to train": budget.training_seconds, "to publish": budget.publishing_seconds}
    parts = ", ".join(f"{timedelta(seconds=round(seconds))} {what}" for what, seconds in times.items())
    short = f"; too short for {', '.join(budget.rejected)}" if budget.rejected else ""
    epochs = recipe.train.epochs
    often = f"about {epochs:,} epochs" if epochs > 1 else "about one epoch, as far as the time allows,"
    return f"{parts}. Recipe {recipe.name}, {often} in batches of {recipe.train.batch_size:,}{short}."


def _balance(run: Run) -> Iterator[_Fact]:
    counts = Counter(run.train.labels.tolist())
    per_class = [counts[label] for label in range(len(run.train.classes))]
    if max(per_class) > _UNEVEN * min(per_class) and run.recipe.train.class_balance == 0:
        yield (
            "Warning",
            f"Classes are uneven, {min(per_class):,} to {max(per_class):,} images to train on, and all images have the "
            "same weight. A run with --set train.class_balance=1 gives images of rare classes more weight.",
        )


def _rejected(run: Run) -> Iterator[_Fact]:
    rejected = run.record.rejected
    yield from (("Left out", f"{one.path}: {one.reason}") for one in rejected[:_REJECTED_SHOWN])
    if len(rejected) > _REJECTED_SHOWN:
        yield "Left out", f"{quantity(len(rejected), 'file')} in all: see {run.folder.record}."
