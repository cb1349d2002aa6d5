"""How `lince train` starts a run: it chooses a recipe where the user names none, and plans a time budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lince.cli.console import progress_bar, say, stderr
from lince.cli.frameworks import prepare
from lince.cli.run_publishing import exports_here, publish_elsewhere
from lince.cli.run_summary import say_choice
from lince.progress import Progress, silent
from lince.publishing.options import PublishOptions, PublishRequest
from lince.text import quantity

if TYPE_CHECKING:  # imported late, inside the functions: the command line starts in a fifth of a second
    from lince.runs.run_folder import RunFolder
    from lince.training.distillation.teacher import TeacherModel
    from lince.training.recipe import Recipe
    from lince.training.recommendation import Candidate, Recommendation
    from lince.training.session import Plan, Run
    from lince.training.time_budget.limits import Limit
    from lince.training.trial import Start


def start(
    source: str,
    *,
    recipe: str | None,
    overrides: Sequence[str],
    runs: Path,
    name: str | None,
    teacher: str | None,
    leave_out: str | None,
    groups: str | None,
    seconds: float | None,
    began: float,
    seed: int,
    deterministic: bool,
    strict: bool,
) -> Run:
    """Starts a run. Mistakes in the arguments are found before a framework is imported.

    Args:
        source, leave_out: the user's DATA and OTHER.
        recipe: name or path; None chooses one that suits the images and the time budget.
        overrides: `key=value` for the recipe.
        runs, name: the run's folder is `runs/name`; None names it after the recipe.
        teacher: a model file to learn from, or None.
        groups: the rule of `--groups`, or None.
        seconds, began: the time budget, or None, and its beginning, a reading of `time.perf_counter()`.
        seed, deterministic, strict: see `session.start`.

    Raises:
        LinceError: the data, teacher, recipe, key, value or name is not valid, or the images cannot be used.
    """
    from lince import data
    from lince.model_file import artifact
    from lince.runs.run_folder import new_folder
    from lince.training.distillation import teacher as teachers
    from lince.training.recommendation import DEFAULT, Candidate

    is_named = recipe is not None

    def resolved(candidate: Candidate) -> tuple[Recipe, Limit | None]:
        return _resolved(candidate, overrides, seconds=seconds, began=began, is_named=is_named)

    if recipe is not None:
        resolved(Candidate(recipe))  # a mistake in it is told before one in the data
    data.probe(source, leave_out=leave_out, groups=groups)
    found = None if recipe or teacher else _recommended(source, overrides, seconds=seconds)
    chosen = found.chosen if found else Candidate(recipe or DEFAULT)

    def folder_of(recipe: Recipe) -> RunFolder:
        return new_folder(runs, recipe.name if name is None else name)

    candidates = [resolved(one)[0] for one in ((found.chosen, found.other) if found and found.is_tried else (chosen,))]
    if name is not None or len(candidates) == 1:
        folder_of(candidates[0])
    opened = teachers.open_model(artifact.locate(teacher), candidates[0].spec) if teacher is not None else None
    if found and not found.is_tried:
        say_choice(found, source=source, overrides=overrides, seconds=seconds)
    prepare(deterministic=deterministic)
    from lince import pipeline

    with progress_bar(stderr()) as progress:

        def begin(recipe: Recipe, folder: RunFolder, *, plan: Plan | None, teacher: TeacherModel | None = None) -> Run:
            return pipeline.start(
                source, recipe, folder, seed=seed, deterministic=deterministic, strict=strict, progress=progress,
                teacher=teacher, leave_out=leave_out, groups=groups, plan=plan,
            )  # fmt: skip

        if found and found.is_tried:
            found = _tried(found, overrides, begin=begin, seconds=seconds, progress=progress)
            say_choice(found, source=source, overrides=overrides, seconds=seconds)
            chosen = found.chosen
        loaded, limit = resolved(chosen)
        return begin(loaded, folder_of(loaded), teacher=opened, plan=time_plan(limit) if limit else None)


def _recommended(source: str, overrides: Sequence[str], *, seconds: float | None) -> Recommendation | None:
    """The recipe that suits the pictures; None for `cifar10`, for which the default recipe was made.

    None also for a source of one class, which is refused when its images are read.

    Keys of a network are of one recipe, so that another one cannot be tried with them.
    """
    from lince import data
    from lince.data.sources import cifar10
    from lince.training.recommendation import recommend, trial_seconds

    if source == cifar10.NAME:
        return None
    seen = data.survey(source)
    if seen.num_classes < 2:
        return None
    found = recommend(seen, seconds=seconds)
    if found.is_tried and any(override.strip().startswith("model.") for override in overrides):
        return replace(found, is_tried=False, why=f"{found.why}, and a key of its network is given")
    if found.is_tried and seconds is not None and trial_seconds(seconds) is None:
        return replace(found, is_tried=False, why=f"{found.why}, and the time is too short to try another recipe")
    return found


def _resolved(
    candidate: Candidate, overrides: Sequence[str], *, seconds: float | None, began: float, is_named: bool
) -> tuple[Recipe, Limit | None]:
    """The recipe to read the images with, and the time budget, which may pick another of the same image size."""
    from lince.training import recipes
    from lince.training.recommendation import DEFAULT
    from lince.training.time_budget import limits

    options = (*candidate.overrides, *overrides)
    if seconds is None:
        return recipes.load(candidate.name, options), None
    one = None if candidate.name == DEFAULT and not is_named else candidate.name
    limit = limits.limit(seconds, began=began, recipe=one, overrides=options)
    return limit.candidates[0][0], limit


def _tried(
    found: Recommendation, overrides: Sequence[str], *, begin: Start, seconds: float | None, progress: Progress
) -> Recommendation:
    """The recommendation after a trial of both recipes on the same validation images."""
    from lince.number_formats import percent
    from lince.training import recipes, trial
    from lince.training.recommendation import prefers_scratch, trial_seconds

    say(f"Trying {found.chosen.name} and {found.other.name} on a part of the images, because {found.why} …")
    limit = None if seconds is None else trial_seconds(seconds)
    head, scratch = (
        trial.run(
            recipes.load(one.name, (*one.overrides, trial.HELD_OUT, *overrides)),
            start=begin,
            train=partial(train_quietly, progress=progress),
            seconds=limit,
        )
        for one in (found.chosen, found.other)
    )
    why = (
        f"in the trial a short training of {found.other.name} was right for {percent(scratch.accuracy, 0)} of "
        f"{quantity(scratch.n, 'validation image')}, a head on the features of {found.chosen.name} for "
        f"{percent(head.accuracy, 0)}"
    )
    if prefers_scratch(head=head.accuracy, scratch=scratch.accuracy):
        return replace(found, chosen=found.other, other=found.chosen, why=why)
    return replace(found, why=why)


def train_quietly(run: Run, *, progress: Progress = silent) -> None:
    """The stages that train, without a line for each validation."""
    from rich.console import Console

    from lince import pipeline
    from lince.training.display import LineDisplay

    pipeline.fit_head(run, progress)
    pipeline.train_model(run, LineDisplay(Console(quiet=True), epochs=""))


def time_plan(limit: Limit) -> Plan:
    """A function that divides a time budget, and picks the recipe where there are several; see `session.start`."""
    from lince import pipeline
    from lince.reporting.run_report import write_run_report
    from lince.training.time_budget.fine_tuning import head_first
    from lince.training.time_budget.recipe_choice import choose

    if limit.candidates[0][0].model.pretrained:
        return partial(head_first, limit)
    say(f"Measuring what this machine can train in {limit.seconds:.0f} s …")

    def publish_quietly(run: Run) -> None:
        request = PublishRequest(str(run.folder.path), options=PublishOptions(force=True))
        if exports_here():
            pipeline.publish(run, request.options, say=lambda _: None)
        else:
            publish_elsewhere(request, is_quiet=True)
        write_run_report(run.folder)

    return partial(choose, limit, train=train_quietly, publish=publish_quietly)
