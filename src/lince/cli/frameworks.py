"""The framework that a command needs, imported late: the command line starts in a fifth of a second."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lince.cli.console import progress_bar, stderr, step
from lince.errors import LinceError, ResumeError

if TYPE_CHECKING:
    from lince.training.session import Run


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
    with needs("Training", "train"), step("Starting the training framework …"):
        from lince.training import backend

        backend.prepare(deterministic=deterministic)
        import lince.pipeline  # noqa: F401 (a missing package is reported here)


def resume(path: Path, *, overrides: Sequence[str] = (), trains: bool = False) -> Run:
    """Opens the run of a folder; see `prepare` and `session.resume`."""
    prepare(run=path, trains=trains)
    from lince import pipeline

    with progress_bar(stderr()) as progress:
        return pipeline.resume(pipeline.RunFolder(path), overrides=overrides, progress=progress)


@contextmanager
def needs(what: str, extra: str) -> Iterator[None]:
    """Names the extra that installs a missing package."""
    try:
        yield
    except ModuleNotFoundError as error:
        how = f"pip install '.[{extra}]', or make {extra}" if error.name != "jax" else f"pip install '.[{extra},gpu]'"
        raise LinceError(f"{what} needs {error.name!r}, which is not installed: {how}.") from error
