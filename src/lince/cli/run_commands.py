"""The stages of a run as the command line runs them: imported late, said aloud, interruptible."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lince.cli.console import print_json, print_text, progress_bar, say, show, stderr
from lince.errors import LinceError, ResumeError
from lince.system import machine
from lince.system.files import read_bounded
from lince.text import quantity

if TYPE_CHECKING:  # imported late, inside the functions: the command line starts in a fifth of a second
    from lince.evaluation.evaluated_model import EvaluatedModel
    from lince.publishing.options import PublishRequest
    from lince.runs.run_folder import Budget, RunFolder
    from lince.training.distillation.teacher import TeacherModel
    from lince.training.recipe import Recipe
    from lince.training.session import Plan, Run
    from lince.training.time_budget.limits import Limit

# Enough to see what is wrong; the run folder lists all.
_REJECTED_SHOWN = 5

# Half of what a model file may hold as its card, whose other half says how it was trained.
_MAX_CARD_BYTES = 2**19

# Times the smallest class, above which the user is told: a network that always names the larger of two such classes is
# right for two thirds of the images.
_UNEVEN = 2


DEFAULT_RECIPE = "default"

_FITTED = {
    "crop": "Each image is cut to its centre square and brought to",
    "pad": "Each image is scaled to fit, as a whole, into the middle of a grey square of",
    "stretch": "Each image is stretched, as a whole, to",
}


@dataclass(frozen=True)
class TrainingRequest:
    """A training to come, read before a framework is imported.

    Attributes:
        source: what the user named as DATA.
        recipe: the recipe, or, with a limit, one to read the images by.
        folder: of the new run.
        limit: the time that the run is given, or None.
        teacher: opened, or None.
    """

    source: str
    recipe: Recipe
    folder: RunFolder
    limit: Limit | None
    teacher: TeacherModel | None


def request(
    source: str,
    *,
    recipe: str | None,
    overrides: Sequence[str],
    runs: Path,
    name: str | None,
    teacher: str | None,
    leave_out: str | None,
    seconds: float | None,
    began: float,
) -> TrainingRequest:
    """Reads what a training was asked for before a framework is imported, so that a mistake is told at once.

    Args:
        source, leave_out: are opened, and not read.
        recipe: name or path; None where the time decides.
        overrides: `key=value` for the recipe.
        runs, name: where the run is to be; the recipe's name when there is no other.
        teacher: a model file to learn from, or None.
        seconds, began: the time it is given, from when on, or None.

    Raises:
        LinceError: nothing at a path, no archive, no model for these images, no such recipe, key or value, or a run of
            that name.
    """
    from lince import data
    from lince.model_file import artifact
    from lince.runs.run_folder import new_folder
    from lince.training import recipes
    from lince.training.distillation import teacher as teachers
    from lince.training.time_budget import limits

    limit = None if seconds is None else limits.limit(seconds, began=began, recipe=recipe, overrides=overrides)
    chosen = limit.candidates[0][0] if limit else recipes.load(recipe or DEFAULT_RECIPE, overrides)
    folder = new_folder(runs, chosen.name if name is None else name)
    data.probe(source, leave_out=leave_out)
    opened = teachers.open_model(artifact.locate(teacher), chosen.spec) if teacher is not None else None
    if seconds is not None:
        say(f"Reading the images, then rehearsing what this machine can train in {seconds:.0f} s …")
    return TrainingRequest(source, chosen, folder, limit, opened)


def prepare(*, deterministic: bool = False, run: Path | None = None, trains: bool = False) -> None:
    """Chooses the backend and imports it: afterwards `lince.pipeline` can be imported.

    Args:
        deterministic: of a new run; that of an old one is in its record.
        run: an old run's folder.
        trains: that run is to be trained further, which only the backend that it began with can do.

    Raises:
        ResumeError: it is no run's folder; or it is to be trained, and the environment names another backend.
        LinceError: a package of the extra is missing.
    """
    from lince.runs.run_folder import RunFolder

    if run is not None:
        record = RunFolder(run).read_record()
        deterministic = record.deterministic
        if trains:
            _take_backend(record.environment["backend"])
    with needs("Training", "train"):
        from lince.training import backend

        backend.prepare(deterministic=deterministic)
        import lince.pipeline  # noqa: F401 (so that a missing package is told here)


def _take_backend(recorded: str) -> None:
    """Takes the backend of the run where the environment names none."""
    given = os.environ.setdefault("KERAS_BACKEND", recorded)
    if given != recorded:
        raise ResumeError(
            f"Received KERAS_BACKEND={given} in the environment for a run that {recorded} trains. Expected the same: "
            f"KERAS_BACKEND={recorded}, or none."
        )


def time_plan(limit: Limit) -> Plan:
    """What chooses the recipe and its length for a time; see `session.start`."""
    from functools import partial

    from rich.console import Console

    from lince import pipeline
    from lince.publishing.options import PublishOptions, PublishRequest
    from lince.reporting.run_report import write_run_report
    from lince.training.display import LineDisplay
    from lince.training.time_budget.recipe_choice import choose

    def publish_quietly(run: Run) -> None:
        options = PublishOptions(force=True)
        if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
            _publish_elsewhere(PublishRequest(str(run.folder.path), options=options), is_quiet=True)
        else:
            pipeline.publish(run, options, say=lambda _: None)
        write_run_report(run.folder)

    quiet = LineDisplay(Console(quiet=True), epochs="")
    return partial(choose, limit, train=lambda run: pipeline.train_model(run, quiet), publish=publish_quietly)


def open_model(name: str) -> EvaluatedModel:
    """Opens what a user named for evaluation.

    Args:
        name: the path of a `.tflite` file or of a run's `model.keras`, a run folder (its model file), `cifar10`, or the
            address of a server.

    Raises:
        LinceError: there is no such thing, or it does not work.
    """
    from lince.evaluation import evaluated_model
    from lince.model_file import artifact

    if name.startswith(("http://", "https://")):
        return evaluated_model.open_server(name)
    path = artifact.locate(name)
    return _float_model(path) if path.suffix == ".keras" else evaluated_model.open_file(path, name=name)


def _float_model(path: Path) -> EvaluatedModel:
    from lince.evaluation.evaluated_model import EvaluatedModel
    from lince.runs.run_folder import RunFolder

    folder = RunFolder(path.parent)
    if path != folder.keras_model or not folder.record.exists():
        raise LinceError(
            f"{str(path)!r} is not the model of a run folder, whose run.json would name its classes. "
            "Expected RUN/model.keras, or a .tflite file, which carries them itself."
        )
    record = folder.read_record()
    from lince.training import backend

    backend.prepare()
    from lince import pipeline
    from lince.training import recipes

    return EvaluatedModel(
        name=str(path),
        predict=pipeline.float_predict(pipeline.trained_model(folder)),
        classes=record.classes,
        spec=recipes.from_table(record.recipe, source=str(folder.record)).spec,
        seed=record.seed,
        fingerprint=record.fingerprint,
        run=(folder, record),
    )


def publish(request: PublishRequest, *, about: Path | None = None, as_json: bool, opened: Run | None = None) -> None:
    """Publishes a run and reports; in another process where the backend is not TensorFlow, which alone exports.

    Args:
        request: which run, and how.
        about: a file for `PublishOptions.about`, or None.
        as_json: print the report as JSON instead of tables.
        opened: the run, where it was just trained.

    Raises:
        LinceError: it cannot be published, or the name or the file is not valid.
    """
    from lince.runs.run_folder import RunFolder, check_name

    if request.options.name is not None:
        check_name(request.options.name, of="model")
    folder = RunFolder(Path(request.run))
    again = _command(request, about=about, as_json=as_json)
    request = replace(request, options=replace(request.options, about=_text(about)))
    with interruptible(again):
        if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
            _publish_elsewhere(request)
        else:
            publish_here(request, opened=opened)
    write_report(folder.path)
    say(f"Model: {folder.model}. Try: lince serve {folder.path}")
    published = folder.read_report()
    if as_json:
        print_json(published)
        return
    from lince.quantization import certificate
    from lince.reporting import quantization, tables

    show(tables.report_table(published.int8), tables.sets_table(published.sets, n=published.int8.n))
    show(tables.rich_table(certificate.table(published.certificate, published.arithmetic)))
    show(*map(tables.rich_table, quantization.cost_tables(published)))
    if published.verdict:
        print_text(f"Verdict: {published.verdict.text}")


def publish_here(request: PublishRequest, *, opened: Run | None = None) -> None:
    """Publishes in this process, whose backend is TensorFlow.

    Args:
        request: which run, and how; its `overrides` are of no effect on a run that is open.
        opened: the run, or None to read it.
    """
    prepare(run=Path(request.run))
    from lince import pipeline

    if opened is None:
        with progress_bar(stderr()) as progress:
            opened = pipeline.resume(
                pipeline.RunFolder(Path(request.run)), overrides=request.overrides, progress=progress
            )
        pipeline.write_float_model(opened)
    pipeline.publish(opened, request.options, say=say)


def _command(request: PublishRequest, *, about: Path | None, as_json: bool) -> str:
    """The command that publishes again, to be shown."""
    options = request.options
    named = {"--name": options.name, "--about": about}
    flags = {"--force": options.force, "--fallback": options.fallback, "--json": as_json}
    return shlex.join(
        [
            *("lince", "quantize", request.run),
            *(f"--set={override}" for override in request.overrides),
            *(f"{option}={value}" for option, value in named.items() if value),
            *(flag for flag, is_given in flags.items() if is_given),
        ]
    )


def _publish_elsewhere(request: PublishRequest, *, is_quiet: bool = False) -> None:
    """Publishes in a process of its own; a quiet one shows only what it said before it failed."""
    program = [sys.executable, "-m", "lince.cli.publish_process"]
    environment = os.environ | {"KERAS_BACKEND": "tensorflow"}
    encoded = msgspec.json.encode(request)
    done = subprocess.run(program, input=encoded, env=environment, check=False, capture_output=is_quiet)
    if done.returncode:
        if is_quiet:
            say(done.stderr.decode(errors="replace"))
        sys.exit(done.returncode)


def _text(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return read_bounded(path, _MAX_CARD_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", "it is not text")
        message = (
            f"{str(path)!r} cannot be read ({reason}). Expected Markdown in UTF-8, {_MAX_CARD_BYTES:,} bytes at most."
        )
        raise LinceError(message) from error


@contextmanager
def interruptible(command: str) -> Iterator[None]:
    """Says how to go on when the user interrupts."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"Stopped. Go on with: {command}")
        sys.exit(130)


@contextmanager
def needs(what: str, extra: str) -> Iterator[None]:
    """Names the extra that brings a package which is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise LinceError(
            f"{what} needs {error.name!r}, which is not installed: pip install '.[{extra}]', or make {extra}."
        ) from error


def say_start(run: Run) -> None:
    """Says what an open run holds, and which files were left out."""
    from lince.data.aspect_ratios import Proportions, measure

    reading = f"Folders: {run.record.reading} " if run.record.reading else ""
    say(
        f"{run.folder.path}: {len(run.train):,} images to train on, {len(run.validation):,} to validate, "
        f"{len(run.test):,} to test, {len(run.record.classes)} classes; {run.record.precision}. "
        f"{reading}{_FITTED[run.recipe.fit]} {run.recipe.image_size} × {run.recipe.image_size}."
    )
    shapes = measure(run.train.sizes) if run.train.sizes is not None else Proportions()
    if run.recipe.fit == "crop" and shapes.suggested != "crop":
        say(f"{shapes.not_square:,} of {quantity(shapes.n, 'picture')} are not square; {shapes.advice}.")
    for warning in run.record.warnings:
        say(f"Warning: {warning}")
    if run.record.teacher:
        say(f"Taught by {run.record.teacher}, version {run.record.teacher_version}.")
    if run.record.teacher_knows_validation:
        say(
            "The teacher has learned from some of the validation images: judge this run by its test images. The same "
            "--seed, --leave-out and train.validation_fraction as the teacher's would hold out the same ones."
        )
    from lince.training.advice import longer_training
    from lince.training.time_budget.recipe_choice import LEAST_STEPS, suited

    if run.record.budget is not None:
        _say_budget(run.recipe, run.record.budget)
    elif (steps := _steps(run)) < LEAST_STEPS:
        longer = longer_training(run.recipe.train, times=20)
        batch_size = suited(run.recipe, len(run.train)).train.batch_size
        say(
            f"{quantity(len(run.train), 'image')} for {quantity(steps, 'step')} of training in all, which is few: try "
            f"--time-budget 5m, or {longer} --set train.batch_size={batch_size}."
        )
    fewest, most = _class_counts(run)
    if most > _UNEVEN * fewest and run.recipe.train.class_balance == 0:
        say(
            f"Classes are uneven, {fewest:,} to {most:,} images to train on, and each image counts alike: a run with "
            "--set train.class_balance=1 gives those of the rare ones more weight."
        )
    for rejected in run.record.rejected[:_REJECTED_SHOWN]:
        say(f"Left out: {rejected.path}: {rejected.reason}")
    if run.record.rejected:
        say(f"Left out {quantity(len(run.record.rejected), 'file')} in all: see {run.folder.record}.")


def _class_counts(run: Run) -> tuple[int, int]:
    """Images of the smallest and of the largest class to train on."""
    counts = Counter(run.train.labels.tolist())
    per_class = [counts[label] for label in range(len(run.train.classes))]
    return min(per_class), max(per_class)


def _steps(run: Run) -> int:
    options = run.recipe.train
    return options.epochs * options.steps_per_epoch(len(run.train))


def _say_budget(recipe: Recipe, budget: Budget) -> None:
    times = {"in all": budget.seconds, "to train": budget.training_seconds, "to publish": budget.publishing_seconds}
    parts = ", ".join(f"{timedelta(seconds=round(seconds))} {what}" for what, seconds in times.items())
    short = f"; too short for {', '.join(budget.rejected)}" if budget.rejected else ""
    epochs = recipe.train.epochs
    often = f"about {epochs:,} times" if epochs > 1 else "about once, as far as the time goes,"
    say(
        f"Time: {parts}. Recipe {recipe.name}, {often} through the images in batches of "
        f"{recipe.train.batch_size:,}{short}."
    )


def say_cost(seconds: float) -> None:
    """Says how long the program ran, and the most memory that it held, or the child that published for it."""
    peak = max(machine.peak_memory_bytes() or 0, machine.peak_memory_bytes(children=True) or 0)
    memory = f", peak memory {peak / 1e9:.1f} GB" if peak else ""
    say(f"Done in {seconds / 60:.1f} minutes{memory}.")


def write_report(run: Path) -> None:
    """Draws the plots and the HTML report of a published run."""
    with needs("A report", "train"):
        from lince.reporting.run_report import write_run_report
    from lince.runs.run_folder import RunFolder

    write_run_report(RunFolder(run))
    say(f"Report: {run / 'report.html'}")
