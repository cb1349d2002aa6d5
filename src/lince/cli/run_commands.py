"""What `lince train`, `quantize` and `report` do. Frameworks are imported late; the user can interrupt and continue."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lince.cli.console import print_json, print_text, progress_bar, say, show, stderr
from lince.cli.run_summary import say_start
from lince.errors import LinceError, ResumeError
from lince.publishing.options import PublishOptions, PublishRequest
from lince.system import machine
from lince.system.files import read_bounded

if TYPE_CHECKING:  # imported late, inside the functions: the command line starts in a fifth of a second
    from lince.training.session import Plan, Run
    from lince.training.time_budget.limits import Limit

# Half of the bytes that a model file may hold as its card. The other half describes the training.
_MAX_CARD_BYTES = 2**19

DEFAULT_RECIPE = "default"


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
        recipe: name or path; None when the time budget picks one.
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
    from lince.training import recipes
    from lince.training.distillation import teacher as teachers
    from lince.training.time_budget import limits

    limit = None if seconds is None else limits.limit(seconds, began=began, recipe=recipe, overrides=overrides)
    chosen = limit.candidates[0][0] if limit else recipes.load(recipe or DEFAULT_RECIPE, overrides)
    folder = new_folder(runs, chosen.name if name is None else name)
    data.probe(source, leave_out=leave_out, groups=groups)
    opened = teachers.open_model(artifact.locate(teacher), chosen.spec) if teacher is not None else None
    if limit is not None:
        say(f"Reading the images, then measuring what this machine can train in {limit.seconds:.0f} s …")
    prepare(deterministic=deterministic)
    from lince import pipeline

    with progress_bar(stderr()) as progress:
        return pipeline.start(
            source,
            chosen,
            folder,
            seed=seed,
            deterministic=deterministic,
            strict=strict,
            progress=progress,
            teacher=opened,
            leave_out=leave_out,
            groups=groups,
            plan=time_plan(limit) if limit else None,
        )


def resume(path: Path, *, overrides: Sequence[str] = (), trains: bool = False) -> Run:
    """Opens the run of a folder; see `prepare` and `session.resume`."""
    prepare(run=path, trains=trains)
    from lince import pipeline

    with progress_bar(stderr()) as progress:
        return pipeline.resume(pipeline.RunFolder(path), overrides=overrides, progress=progress)


def train(run: Run, options: PublishOptions | None, *, resumes: bool, tensorboard: bool, as_json: bool) -> None:
    """Trains an open run, and publishes it.

    Args:
        run: new, or with a checkpoint.
        options: how to publish; None only trains.
        resumes: continue from the checkpoint.
        tensorboard: write logs for TensorBoard, too.
        as_json: print the report as JSON instead of tables.

    Raises:
        LinceError: a stage failed.
    """
    from lince import pipeline
    from lince.training import checkpoint, loop

    state = checkpoint.read(run.folder.checkpoint) if resumes else None
    if state and loop.finished(state.history, run.recipe.train):
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
    with interruptible(again), progress_bar(stderr()) as progress:
        pipeline.fit_head(run, progress)
    with interruptible(again), pipeline.watch(stderr(), run, tensorboard=tensorboard) as display:
        pipeline.train_model(run, display, resume=resumes)
    if options is not None:
        publish(PublishRequest(str(run.folder.path), options=options), as_json=as_json, opened=run)


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
    """A function that picks the recipe and its epochs for a time budget; see `session.start`."""
    from rich.console import Console

    from lince import pipeline
    from lince.reporting.run_report import write_run_report
    from lince.training.display import LineDisplay
    from lince.training.time_budget.recipe_choice import choose

    def publish_quietly(run: Run) -> None:
        request = PublishRequest(str(run.folder.path), options=PublishOptions(force=True))
        if _exports_here():
            pipeline.publish(run, request.options, say=lambda _: None)
        else:
            _publish_elsewhere(request, is_quiet=True)
        write_run_report(run.folder)

    quiet = LineDisplay(Console(quiet=True), epochs="")
    return partial(choose, limit, train=lambda run: pipeline.train_model(run, quiet), publish=publish_quietly)


def _exports_here() -> bool:
    """Whether this process can publish: only TensorFlow exports to LiteRT."""
    return (os.environ.get("KERAS_BACKEND") or "tensorflow") == "tensorflow"


def publish(request: PublishRequest, *, about: Path | None = None, as_json: bool, opened: Run | None = None) -> None:
    """Publishes a run and prints its report. Without TensorFlow as the backend, another process publishes.

    Args:
        request: the run and how to publish it.
        about: a file for `PublishOptions.about`, or None.
        as_json: print the report as JSON instead of tables.
        opened: the run, if it is open.

    Raises:
        LinceError: the run cannot be published, or the name or the file is not valid.
    """
    from lince.runs.run_folder import RunFolder, check_name

    if request.options.name is not None:
        check_name(request.options.name, of="model")
    folder = RunFolder(Path(request.run))
    again = _command(request, about=about, as_json=as_json)
    request = replace(request, options=replace(request.options, about=_text(about)))
    with interruptible(again):
        if _exports_here():
            publish_here(request, opened=opened)
        else:
            _publish_elsewhere(request)
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
    print_text(f"Verdict: {published.verdict.text}")


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
    pipeline.publish(run, request.options, say=say)


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
    say(f"Report: {run / 'report.html'}")
