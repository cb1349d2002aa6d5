"""What `lince train` and `lince data check --model` do with a run. The user can interrupt a training and continue."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lince.cli.console import interruptible, print_json, progress_bar, say, say_fact, stderr
from lince.cli.frameworks import needs
from lince.cli.run_publishing import command, publish_run, write_report
from lince.cli.run_summary import say_start, show_result
from lince.errors import GateError
from lince.progress import Progress
from lince.publishing.options import PublishOptions, PublishRequest
from lince.system import machine
from lince.text import quantity

if TYPE_CHECKING:  # imported late, inside the functions: the command line starts in a fifth of a second
    from lince.training.session import Run
    from lince.training.transfer.label_check import LabelCheck


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
        say(f"Next:     lince quantize {shlex.quote(str(run.folder.path))}")
        return
    request = PublishRequest(str(run.folder.path), options=options)
    trained, publishing = time.perf_counter(), command(request, about=None, as_json=as_json)
    refused = None
    try:
        publish_run(request, again=publishing, opened=run)
    except GateError as error:  # of a head that is published first: the fine-tuned network may lose less
        refused = error
    longer = _with_time_left(run, began=began, trained=trained, is_published=refused is None)
    if longer is not None:
        fit(longer)
        if _is_fine_tuned(longer) or refused is not None:
            publish_run(request, again=publishing, opened=longer)
        else:
            write_report(run.folder.path)
    elif refused is not None:
        raise refused
    published = run.folder.read_report()
    if as_json:
        print_json(published)
    else:
        show_result(published, run)


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
        say(
            f"The new last layer alone, the head, is {done}. The time that is left is too short for fine-tuning, which "
            "is more accurate."
        )
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
    is_few = after.val_images < history.ENOUGH_VALIDATION_IMAGES
    is_chance = is_tuned and is_few and after.val_accuracy <= before.val_accuracy
    doubt = " So few images do not show a difference, and fine-tuning is mostly better." if is_chance else ""
    count, refits = len(run.train) + len(run.validation), run.record.refits and not run.folder.held_out.exists()
    again = f" The {what} is now fitted again, to all {count:,} images." if refits else ""
    say_fact(
        "Tuning",
        f"fine-tuning is {kept}: it is right for {after.val_accuracy:.1%} of "
        f"{quantity(after.val_images, 'validation image')}, the head alone for {before.val_accuracy:.1%}."
        f"{doubt}{again}",
    )


def _is_fine_tuned(run: Run) -> bool:
    """Whether the weights that are kept are those of the fine-tuned network."""
    from lince.training import checkpoint, history

    state = checkpoint.read(run.folder.checkpoint)
    return state is not None and history.kept_record(state.history, run.recipe.train).epoch > 0


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
