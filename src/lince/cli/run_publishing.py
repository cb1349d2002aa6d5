"""What `lince quantize` and `lince report` do, and the last stages of `lince train`."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lince.cli.console import interruptible, print_json, print_text, say, show, step, steps
from lince.cli.frameworks import needs, resume
from lince.errors import GateError, LinceError
from lince.language import Language
from lince.publishing.options import PublishRequest
from lince.system.files import read_bounded

if TYPE_CHECKING:  # imported late, inside the functions: the command line starts in a fifth of a second
    from lince.training.session import Run

# Half of the bytes that a model file may hold as its card. The other half describes the training.
_MAX_CARD_BYTES = 2**19

# The exit code of a process that publishes, where the model is refused. The sentence is then on its stdout.
REFUSED = 4


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
    again = command(request, about=about, as_json=as_json)
    publish_run(replace(request, options=replace(request.options, about=_text(about))), again=again)
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


def publish_run(request: PublishRequest, *, again: str, opened: Run | None = None) -> None:
    """Publishes a run and writes its report; `again` is the command that does the same."""
    with interruptible(again):
        if exports_here():
            publish_here(request, opened=opened)
        else:
            publish_elsewhere(request)
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


def command(request: PublishRequest, *, about: Path | None, as_json: bool) -> str:
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


def publish_elsewhere(request: PublishRequest, *, is_quiet: bool = False) -> None:
    """Publishes in another process. A quiet one shows its messages only when it fails.

    Raises:
        GateError: the model is refused. Other errors end this process, too: the other one has told them.
    """
    program = [sys.executable, "-m", "lince.cli.publish_process"]
    environment = os.environ | {"KERAS_BACKEND": "tensorflow"}
    encoded = msgspec.json.encode(request)
    done = subprocess.run(
        program,
        input=encoded,
        env=environment,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if is_quiet else None,
    )
    if done.returncode == REFUSED:
        raise GateError(done.stdout.decode(errors="replace"))
    if done.returncode:
        if is_quiet:
            say(done.stderr.decode(errors="replace"))
        sys.exit(done.returncode)


def exports_here() -> bool:
    """Whether this process can publish: only TensorFlow exports to LiteRT."""
    return (os.environ.get("KERAS_BACKEND") or "tensorflow") == "tensorflow"


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


def write_report(run: Path, *, language: Language = "en") -> None:
    """Writes the plots and the report of a published run."""
    with needs("A report", "train"):
        from lince.reporting.run_report import write_run_report
    from lince.runs.run_folder import RunFolder

    with step("Writing the report …"):
        write_run_report(RunFolder(run), language=language)
