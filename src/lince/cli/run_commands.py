"""What `lince train`, `quantize` and `report` do. Frameworks are imported late; the user can interrupt and continue."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lince.cli.console import print_json, print_text, progress_bar, say, show, stderr, steps
from lince.cli.run_summary import say_choice, say_start, show_result
from lince.errors import GateError, LinceError, ResumeError
from lince.progress import Progress, silent
from lince.publishing.options import PublishOptions, PublishRequest
from lince.system import machine
from lince.system.files import read_bounded
from lince.text import quantity

if TYPE_CHECKING:  # imported late, inside the functions: the command line starts in a fifth of a second
    from lince.runs.run_folder import RunFolder
    from lince.training.distillation.teacher import TeacherModel
    from lince.training.recipe import Recipe
    from lince.training.recommendation import Candidate, Recommendation
    from lince.training.session import Plan, Run
    from lince.training.time_budget.limits import Limit
    from lince.training.transfer.label_check import LabelCheck
    from lince.training.trial import Start

# Half of the bytes that a model file may hold as its card. The other half describes the training.
_MAX_CARD_BYTES = 2**19


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

    Keys of a network are of one recipe, so that another one cannot be tried with them.
    """
    from lince import data
    from lince.data.sources import cifar10
    from lince.training.recommendation import recommend, trial_seconds

    if source == cifar10.NAME:
        return None
    found = recommend(data.survey(source), seconds=seconds)
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
            train=partial(_train_quietly, progress=progress),
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


def _train_quietly(run: Run, *, progress: Progress = silent) -> None:
    """The stages that train, without a line for each validation."""
    from rich.console import Console

    from lince import pipeline
    from lince.training.display import LineDisplay

    pipeline.fit_head(run, progress)
    pipeline.train_model(run, LineDisplay(Console(quiet=True), epochs=""))


def resume(path: Path, *, overrides: Sequence[str] = (), trains: bool = False) -> Run:
    """Opens the run of a folder; see `prepare` and `session.resume`."""
    prepare(run=path, trains=trains)
    from lince import pipeline

    with progress_bar(stderr()) as progress:
        return pipeline.resume(pipeline.RunFolder(path), overrides=overrides, progress=progress)


def train(
    run: Run, options: PublishOptions | None, *, began: float, resumes: bool, tensorboard: bool, as_json: bool
) -> None:
    """Trains an open run, publishes it, and prints what the model is worth.

    Args:
        run: new, or with a checkpoint.
        options: how to publish; None only trains.
        began: when the command began, a reading of `time.perf_counter()`.
        resumes: continue from the checkpoint.
        tensorboard: write logs for TensorBoard, too.
        as_json: print the report as JSON instead of text.

    Raises:
        LinceError: a stage failed.
    """
    from lince import pipeline
    from lince.training import checkpoint, history

    state = checkpoint.read(run.folder.checkpoint) if resumes else None
    if state and history.finished(state.history, run.recipe.train) and not _has_only_a_head(run):
        say(f"{run.folder.path}: training is finished. Only later stages are repeated.")
    else:
        say_start(run)
    flags = {
        "--tensorboard": tensorboard,
        "--until=train": options is None,
        "--fallback": options is not None and options.fallback,
        "--force": options is not None and options.force,
        "--json": as_json,
    }
    given = [flag for flag, is_given in flags.items() if is_given]
    again = shlex.join(["lince", "train", "--resume", str(run.folder.path), *given])

    def fit(one: Run) -> None:
        with interruptible(again), progress_bar(stderr()) as progress:
            pipeline.fit_head(one, progress)
        with interruptible(again), pipeline.watch(stderr(), one, tensorboard=tensorboard) as display:
            pipeline.train_model(one, display, resume=resumes)
        _say_kept(one)
        with interruptible(again), progress_bar(stderr()) as progress:
            pipeline.refit(one, progress, resume=resumes)

    fit(run)
    if options is None:
        if (longer := _with_time_left(run, began=began)) is not None:
            fit(longer)
        return
    request = PublishRequest(str(run.folder.path), options=options)
    trained, publishing = time.perf_counter(), _command(request, about=None, as_json=as_json)
    refused = None
    try:
        _publish(request, again=publishing, opened=run)
    except GateError as error:  # of a head that is published first: the fine-tuned network may lose less
        refused = error
    longer = _with_time_left(run, began=began, trained=trained, is_published=refused is None)
    if longer is not None:
        fit(longer)
        if _is_fine_tuned(longer) or refused is not None:
            _publish(request, again=publishing, opened=longer)
        else:
            write_report(run.folder.path)
    elif refused is not None:
        raise refused
    published = run.folder.read_report()
    if as_json:
        print_json(published)
    else:
        show_result(published, run.folder)


def _with_time_left(run: Run, *, began: float, trained: float | None = None, is_published: bool = False) -> Run | None:
    """The run with time for fine-tuning, where it has only a head and enough of a time budget is left.

    A resumed run that was stopped before fine-tuning has its time budget from `began`, when it was resumed.

    Args:
        run: whose head is trained.
        began: when the command began, a reading of `time.perf_counter()`.
        trained: when publishing the head began. None: it is not to be published.
        is_published: the head was published.
    """
    from lince.training.time_budget.fine_tuning import fine_tuned

    budget, now = run.record.budget, time.perf_counter()
    if budget is None or not _has_only_a_head(run):
        return None
    publishing = 0.0 if trained is None else now - trained
    longer = fine_tuned(run, left=began + budget.seconds - now, publishing_seconds=publishing)
    done = "published" if is_published else "trained"
    if longer is None:
        say(f"The head is {done}. The time that is left is too short for fine-tuning.")
    else:
        say(f"The head is {done}. Fine-tuning the network in the time that is left …")
    return longer


def _has_only_a_head(run: Run) -> bool:
    """Whether the run has a time budget whose rest was not yet given to fine-tuning."""
    budget = run.record.budget
    return budget is not None and bool(run.recipe.model.pretrained) and budget.training_seconds == 0


def _say_kept(run: Run) -> None:
    """Says whether fine-tuning was kept, after a training that had a head to begin with and took a step."""
    from lince.training import history

    records = run.folder.read_history()
    before, last = records[0], records[-1]
    if before.epoch > 0 or last.epoch == 0:
        return
    chosen = history.kept_record(records, run.recipe.train)
    is_tuned = chosen.epoch > 0
    after = chosen if is_tuned else last
    kept, what = ("kept", "network") if is_tuned else ("not kept", "head")
    is_chance = after.val_images < history.ENOUGH_VALIDATION_IMAGES and after.val_accuracy <= before.val_accuracy
    doubt = " So few images do not show a difference, and fine-tuning is mostly better." if is_chance else ""
    count, refits = len(run.train) + len(run.validation), run.record.refits and not run.folder.held_out.exists()
    again = f" The {what} is now fitted again, to all {count:,} images." if refits else ""
    say(
        f"Fine-tuning is {kept}: it is right for {after.val_accuracy:.1%} of "
        f"{quantity(after.val_images, 'validation image')}, the head alone for {before.val_accuracy:.1%}.{doubt}{again}"
    )


def _is_fine_tuned(run: Run) -> bool:
    """Whether the weights that are kept are those of the fine-tuned network."""
    from lince.training import checkpoint, history

    state = checkpoint.read(run.folder.checkpoint)
    return state is not None and history.kept_record(state.history, run.recipe.train).epoch > 0


def prepare(*, deterministic: bool = False, run: Path | None = None, trains: bool = False) -> None:
    """Chooses the Keras backend and imports it. Afterwards `lince.pipeline` can be imported.

    Args:
        deterministic: of a new run. An existing run has it in its record.
        run: the folder of an existing run.
        trains: that run is trained further, which needs the backend that it started with.

    Raises:
        ResumeError: the folder is not a run's, or the environment names another backend for training.
        LinceError: a package of the extra `train` is missing.
    """
    from lince.runs.run_folder import RunFolder

    if run is not None:
        record = RunFolder(run).read_record()
        deterministic, recorded = record.deterministic, record.environment["backend"]
        if trains and (given := os.environ.get("KERAS_BACKEND") or recorded) != recorded:
            raise ResumeError(
                f"Received KERAS_BACKEND={given} in the environment for a run that {recorded} trains. Expected the "
                f"same: KERAS_BACKEND={recorded}, or none."
            )
        if trains:
            os.environ["KERAS_BACKEND"] = recorded
    with needs("Training", "train"):
        from lince.training import backend

        backend.prepare(deterministic=deterministic)
        import lince.pipeline  # noqa: F401 (a missing package is reported here)


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
        if _exports_here():
            pipeline.publish(run, request.options, say=lambda _: None)
        else:
            _publish_elsewhere(request, is_quiet=True)
        write_run_report(run.folder)

    return partial(choose, limit, train=_train_quietly, publish=publish_quietly)


def _exports_here() -> bool:
    """Whether this process can publish: only TensorFlow exports to LiteRT."""
    return (os.environ.get("KERAS_BACKEND") or "tensorflow") == "tensorflow"


def publish(request: PublishRequest, *, about: Path | None = None, as_json: bool) -> None:
    """Publishes a run and prints its report. Without TensorFlow as the backend, another process publishes.

    Args:
        request: the run and how to publish it.
        about: a file for `PublishOptions.about`, or None.
        as_json: print the report as JSON instead of tables.

    Raises:
        LinceError: the run cannot be published, or the name or the file is not valid.
    """
    from lince.runs.run_folder import RunFolder, check_name

    if request.options.name is not None:
        check_name(request.options.name, of="model")
    folder = RunFolder(Path(request.run))
    again = _command(request, about=about, as_json=as_json)
    _publish(replace(request, options=replace(request.options, about=_text(about))), again=again)
    say(f"Report: {folder.page}")
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
    print_text(f"Verdict: {published.verdict.text}")


def _publish(request: PublishRequest, *, again: str, opened: Run | None = None) -> None:
    """Publishes a run and writes its report; `again` is the command that does the same."""
    with interruptible(again):
        if _exports_here():
            publish_here(request, opened=opened)
        else:
            _publish_elsewhere(request)
    write_report(Path(request.run))


def publish_here(request: PublishRequest, *, opened: Run | None = None) -> None:
    """Publishes in this process, whose backend is TensorFlow.

    Args:
        request: the run and how to publish it. Its `overrides` have no effect on an open run.
        opened: the run, or None to open its folder.
    """
    run = opened or resume(Path(request.run), overrides=request.overrides)
    from lince import pipeline

    if opened is None:
        pipeline.write_float_model(run)
    with steps() as tell:
        pipeline.publish(run, request.options, say=tell)


def _command(request: PublishRequest, *, about: Path | None, as_json: bool) -> str:
    """The command that publishes again, as text for the user."""
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
    """Publishes in another process. A quiet one shows its messages only when it fails."""
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
    """Names the command that continues when the user interrupts."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"Stopped. Continue with: {command}")
        sys.exit(130)


@contextmanager
def needs(what: str, extra: str) -> Iterator[None]:
    """Names the extra that installs a missing package."""
    try:
        yield
    except ModuleNotFoundError as error:
        how = f"pip install '.[{extra}]', or make {extra}" if error.name != "jax" else f"pip install '.[{extra},gpu]'"
        raise LinceError(f"{what} needs {error.name!r}, which is not installed: {how}.") from error


def check_labels(source: str, run: Path, page: Path | None, *, progress: Progress) -> LabelCheck:
    """Looks for wrong labels among the images of a run, and writes the page about them, if one is named."""
    with needs("Checking labels", "train"):
        from lince.reporting import label_page
        from lince.runs.run_folder import RunFolder
        from lince.training.transfer import label_check
    if RunFolder(run).beginning.record.exists():
        say(
            "The network began with the weights of another run. If that has learned from these labels, wrong ones look "
            "right: better use a run that began with ImageNet's weights."
        )
    checked = label_check.check_labels(source, RunFolder(run), progress=progress)
    if page is not None:
        label_page.write(page, checked, source=source)
        say(f"Page: {page}")
    return checked


def say_cost(seconds: float) -> None:
    """Prints the time that the command took, and the peak memory of this process or of the one that published."""
    peak = max(machine.peak_memory_bytes() or 0, machine.peak_memory_bytes(children=True) or 0)
    memory = f", peak memory {peak / 1e9:.1f} GB" if peak else ""
    say(f"Done in {seconds / 60:.1f} minutes{memory}.")


def write_report(run: Path) -> None:
    """Writes the plots and the HTML report of a published run."""
    with needs("A report", "train"):
        from lince.reporting.run_report import write_run_report
    from lince.runs.run_folder import RunFolder

    write_run_report(RunFolder(run))
