"""The stages of a run as the command line runs them: imported late, said aloud, interruptible."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lince.console import print_json, progress_bar, say, show, stderr
from lince.errors import LinceError

# Enough to see what is wrong; the run folder lists all.
_REJECTED_SHOWN = 5


def pipeline(*, deterministic: bool = False, run: Path | None = None) -> Any:
    """`lince.training.pipeline`, imported once the backend has been told what the run, if there is one, wants."""
    from lince.run import RunFolder

    if run is not None:
        deterministic = RunFolder(run).read_record().deterministic
    with needs("Training", "train"):
        from lince.training import backend

        backend.prepare(deterministic=deterministic)
        from lince.training import pipeline as module
    return module


def publish(
    run: Path, *, name: str | None, overrides: tuple[str, ...], force: bool, as_json: bool, opened: Any = None
) -> None:
    """Publishes and reports; in a process of its own with other backends, since only TensorFlow exports to LiteRT."""
    if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
        _publish_elsewhere(run, name=name, overrides=overrides, force=force, as_json=as_json)
        return
    module = pipeline(run=run)
    with interruptible(f"lince quantize {run}"):
        if opened is None:
            with progress_bar(stderr()) as progress:
                opened = module.resume(module.RunFolder(run), overrides=overrides, progress=progress)
            module.settle(opened)
        published = module.publish(opened, name=name, force=force, say=say)
    write_report(run)
    say(f"Model: {run / 'model.tflite'}. Try: lince serve {run}")
    if as_json:
        print_json(published)
        return
    from lince.reporting import tables

    show(tables.report_table(published.int8), tables.sets_table(published.sets))
    show(tables.certificate_table(published.certificate))


def _publish_elsewhere(run: Path, *, name: str | None, overrides: tuple[str, ...], force: bool, as_json: bool) -> None:
    options = [f"--set={override}" for override in overrides]
    options += [f"--name={name}"] if name else []
    options += ["--force"] if force else []
    options += ["--json"] if as_json else []
    program = [sys.executable, "-c", "from lince.cli import main; main()", "quantize", str(run), *options]
    sys.exit(subprocess.run(program, env=os.environ | {"KERAS_BACKEND": "tensorflow"}, check=False).returncode)


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


def say_start(run: Any) -> None:
    """Says what an open run holds, and which files were left out."""
    say(
        f"{run.folder.path}: {len(run.train):,} images to train on, {len(run.validation):,} to validate, "
        f"{len(run.test):,} to test, {len(run.record.classes)} classes; {run.record.precision}. "
        f"Each image is cut to its centre square and brought to {run.recipe.image_size} × {run.recipe.image_size}."
    )
    for rejected in run.record.rejected[:_REJECTED_SHOWN]:
        say(f"Left out: {rejected.path}: {rejected.reason}")
    if run.record.rejected:
        say(f"Left out {len(run.record.rejected):,} files in all; {run.folder.record} lists them.")


def write_report(run: Path) -> None:
    """Draws the plots and the HTML report of a published run."""
    with needs("Reports", "train"):
        from lince.reporting.run import write_run_report
    from lince.run import RunFolder

    write_run_report(RunFolder(run))
    say(f"Report: {run / 'report.html'}")
