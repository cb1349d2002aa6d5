"""What the command line writes: results to stdout, everything else to stderr.

JSON and CSV are UTF-8 in every locale. Text for people is in the locale's encoding; `streams` replaces characters that
it lacks. Rich is imported when something is drawn: that takes 60 ms, and `lince serve` draws nothing.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import sys
import textwrap
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import msgspec
import typer

from lince.errors import LinceError
from lince.number_formats import probability
from lince.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars

_LEAST_WIDTH = 80  # columns that the tables need; with fewer, words are cut, and with 0 nothing is printed
_LABEL_WIDTH = 10  # columns for the label of a line such as `Accuracy: 91 %`
_LINE_SECONDS = 10  # without a terminal, slow work has a line after so long
_CSV_COLUMNS = ("path", "label", "index", "probability", "abstain", "prediction_set", "error")
_LISTED = ("label", "probability")  # columns of each of the most probable classes

Row = dict[str, Any]
"""One image's answer, as `lince.inference.folder_prediction` yields it; with `error` where there is no answer."""

WriteLine = Callable[[bytes], object]
"""Takes a line, with its end."""


def _echo(line: bytes) -> None:
    typer.echo(line, nl=False)


def stderr(file: TextIO | None = None) -> Console:
    """A console on the error stream, or on another file."""
    from rich.console import Console

    return Console(file=file, stderr=True, emoji=False)  # `:cat:` in a name stays text


def say(text: str, console: Console | None = None) -> None:
    """Prints a line for people, on stderr or another console."""
    (console or stderr()).print(harmless(text), soft_wrap=True, highlight=False, markup=False)


def print_text(text: str) -> None:
    """Prints text, on stdout."""
    typer.echo(harmless(text))


def say_fact(label: str, text: str, console: Console | None = None) -> None:
    """Prints a line of a summary, on stderr or another console; see `_fact`."""
    say(_fact(label, text, sys.stderr), console)


def print_fact(label: str, text: str) -> None:
    """Prints a line of a summary, on stdout; see `_fact`."""
    print_text(_fact(label, text, sys.stdout))


def fail(error: LinceError, *, code: int) -> NoReturn:
    """Prints an error and ends the program."""
    say(f"Error: {error}")
    sys.exit(code)


@contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """Ends the program with one sentence and code 1 after an error of Lince or of the operating system."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except LinceError as error:
        fail(error, code=1)
    except OSError as error:
        what = repr(error.filename) if error.filename else "A file"
        message = f"{what} could not be read or written ({error.strerror}). Files from before are intact: "
        fail(LinceError(message + "free disk space, or correct path and permissions, and try again."), code=1)


def harmless(text: str) -> str:
    """Text without control characters, with which file names or messages of libraries could control the terminal."""
    return "".join("\ufffd" if unicodedata.category(one) in ("Cc", "Cf") and one not in "\n\t" else one for one in text)


def show(*renderables: Any) -> None:
    """Prints tables, on stdout, with an empty line after a table that has a caption."""
    from rich.console import Console

    console = Console(emoji=False)
    console.width = max(console.width, _LEAST_WIDTH)
    for renderable in renderables:
        console.print(renderable)
        if getattr(renderable, "caption", None):
            console.print()


def print_json(result: Any) -> None:
    """Prints a record or plain data as one line of JSON, on stdout. Bytes of paths that are not UTF-8 are escaped."""
    _echo(_json_line(result))


def json_lines(rows: Iterable[Row], *, write: WriteLine = _echo) -> int:
    """Writes one JSON object a row, on stdout unless said otherwise, and returns how many rows are errors."""
    return _write(rows, lambda row: write(_json_line(row)))


def csv_rows(rows: Iterable[Row], *, top: int = 0, write: WriteLine = _echo, header: bool = True) -> int:
    """Writes a header, and a row for each image. The labels of a prediction set are joined by "|".

    Args:
        rows: one for each image.
        top: adds the columns label_1, probability_1 and so on up to this number.
        write: takes a line; it prints it on stdout unless said otherwise.
        header: whether the header is written.

    Returns:
        How many rows are errors.
    """

    def write_row(row: Row) -> None:
        cells = row | {"prediction_set": "|".join(_set_of(row))}
        best = [value for one in row.get("top", ()) for value in (one["label"], one["probability"])]
        write(_csv_line([*(cells.get(column, "") for column in _CSV_COLUMNS), *best[: 2 * top]]))

    if header:
        write(csv_header(top))
    return _write(rows, write_row)


def csv_header(top: int) -> bytes:
    """The first line of `csv_rows`."""
    return _csv_line([*_CSV_COLUMNS, *(f"{what}_{place}" for place in range(1, top + 1) for what in _LISTED)])


def _csv_line(values: Iterable[Any]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue().encode("utf-8", "backslashreplace")


def _json_line(result: Any) -> bytes:
    try:
        return msgspec.json.encode(result) + b"\n"
    except UnicodeEncodeError:
        return msgspec.json.encode(_escaped(msgspec.to_builtins(result))) + b"\n"


def text_lines(rows: Iterable[Row], *, top: int = 0) -> int:
    """Prints a line for each image, for people. Errors go to stderr.

    Args:
        rows: one for each image.
        top: adds this many classes, the most probable first, with their probabilities.

    Returns:
        How many rows are errors.
    """
    return _write(rows, lambda row: _text_line(row, top=top))


@contextmanager
def progress_bar(console: Console) -> Iterator[Progress]:
    """Draws a bar for each task. Where there is no terminal, a task that takes long has a line from time to time."""
    from rich import progress as rich_progress

    if not console.is_terminal:
        yield _LineProgress()
        return
    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, rich_progress.TaskID] = {}

        def update(done: int, total: int, what: str) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield update


@contextmanager
def counter(what: str) -> Iterator[Callable[[], None]]:
    """A function to call for each thing that is done, of which nobody knows how many there are; shown on a terminal."""
    console = stderr()
    if not console.is_terminal:
        yield lambda: None
        return
    from rich import progress as rich_progress

    columns = (
        rich_progress.SpinnerColumn(),
        rich_progress.TextColumn("{task.completed:,} {task.description}"),
        rich_progress.TimeElapsedColumn(),
    )
    with rich_progress.Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(what, total=None)
        yield lambda: bars.advance(task)


@contextmanager
def steps() -> Iterator[Callable[[str], None]]:
    """A function that says what a slow command does, on stderr.

    On a terminal a sentence that ends in "…" is shown in place, with the seconds that it takes, until the next one. All
    others stay.
    """
    with _bars() as bars:

        def tell(text: str) -> None:
            if not text.endswith("…"):
                say_fact("Note", text, bars.console if bars else None)
            elif bars is not None:
                _show_step(bars, text)
            else:
                say(text)

        yield tell


@contextmanager
def step(text: str) -> Iterator[None]:
    """Shows a sentence in place on a terminal, with the seconds that it takes. Elsewhere nothing is shown."""
    with _bars() as bars:
        if bars is not None:
            _show_step(bars, text)
        yield


@contextmanager
def _bars() -> Iterator[Bars | None]:
    """A line that is drawn in place; None where there is no terminal.

    It is drawn on a copy of the error stream, so that it moves on while `quiet` captures the stream. One redraw a
    second takes 0.1 ms, beside measurements of milliseconds whose median counts.
    """
    if not stderr().is_terminal:
        yield None
        return
    from rich import progress as rich_progress

    columns = (
        rich_progress.SpinnerColumn("line"),
        rich_progress.TextColumn("{task.description}", markup=False),
        rich_progress.TimeElapsedColumn(),
    )
    encoding = sys.stderr.encoding
    with (
        os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding=encoding, errors="backslashreplace") as file,
        rich_progress.Progress(*columns, console=stderr(file), refresh_per_second=1, transient=True) as bars,
    ):
        yield bars


def _show_step(bars: Bars, text: str) -> None:
    for task in bars.task_ids:
        bars.remove_task(task)
    bars.add_task(harmless(text), total=None)
    bars.refresh()


class _LineProgress:
    """The `Progress` without a terminal: a line for a task every `_LINE_SECONDS`."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, done: int, total: int, what: str) -> None:
        if time.monotonic() - self._said < _LINE_SECONDS:
            return
        self._said = time.monotonic()
        say(f"{what}: {done:,} of {total:,}" if total else f"{what}: {done:,}")


def _fact(label: str, text: str, stream: TextIO) -> str:
    """`Label:    text`; on a terminal, in lines of whole words that begin below the text."""
    start = f"{label}:".ljust(_LABEL_WIDTH)
    if not stream.isatty():
        return start + text
    width = max(shutil.get_terminal_size().columns, 2 * _LABEL_WIDTH)
    return textwrap.fill(
        text, width, initial_indent=start, subsequent_indent=" " * _LABEL_WIDTH,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _write(rows: Iterable[Row], write: Callable[[Row], object]) -> int:
    failed = 0
    for row in rows:
        failed += "error" in row
        write(row)
    return failed


def _text_line(row: Row, *, top: int) -> None:
    if "error" in row:
        say(f"{row['path']}: {row['error']}")
    else:
        best = ", ".join(f"{one['label']} {probability(one['probability'], unit='%')}" for one in row["top"][:top])
        print_text(f"{row['path']}: {_sentence(row)}{f'; top {top}: {best}' if best else ''}")


def _escaped(value: Any) -> Any:
    """Plain data in which every text can be written as UTF-8."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {_escaped(key): _escaped(one) for key, one in value.items()}
        case list() | tuple():
            return [_escaped(one) for one in value]
    return value


def _sentence(row: Row) -> str:
    others = [label for label in _set_of(row) if label != row["label"]]
    unsure = "I don't know; perhaps " if row["abstain"] else ""
    answer = f"{row['label']} {probability(row['probability'], unit='%')}"
    return f"{unsure}{answer}{', or ' if others else ''}{', '.join(others)}"


def _set_of(row: Row) -> Sequence[str]:
    """The prediction set; empty for an error, and for a model without sets."""
    return row.get("prediction_set") or ()


@contextmanager
def interruptible(command: str) -> Iterator[None]:
    """Names the command that continues when the user interrupts."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"Stopped. Continue with: {command}")
        sys.exit(130)
