"""What the command line writes: results to stdout, everything else to stderr.

JSON and CSV are UTF-8 in every locale. Text for people is in the locale's encoding; `streams` replaces characters that
it lacks. Rich is imported when something is drawn: that takes 60 ms, and `lince serve` draws nothing.
"""

from __future__ import annotations

import csv
import io
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
import typer

from lince.errors import LinceError
from lince.number_formats import probability
from lince.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console

_LEAST_WIDTH = 80  # columns that the tables need; with fewer, words are cut, and with 0 nothing is printed
_CSV_COLUMNS = ("path", "label", "index", "probability", "abstain", "prediction_set", "error")

Row = dict[str, Any]
"""One image's answer, as `lince.inference.folder_prediction` yields it; with `error` where there is no answer."""


def stderr() -> Console:
    """A console on the error stream."""
    from rich.console import Console

    return Console(stderr=True, emoji=False)  # `:cat:` in a name stays text


def say(text: str) -> None:
    """Prints a line for people, on stderr."""
    stderr().print(harmless(text), soft_wrap=True, highlight=False, markup=False)


def print_text(text: str) -> None:
    """Prints text, on stdout."""
    typer.echo(harmless(text))


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
    try:
        line = msgspec.json.encode(result)
    except UnicodeEncodeError:
        line = msgspec.json.encode(_escaped(msgspec.to_builtins(result)))
    typer.echo(line)


def json_lines(rows: Iterable[Row]) -> int:
    """Prints one JSON object a row, and returns how many rows are errors."""
    return _write(rows, print_json)


def csv_rows(rows: Iterable[Row], *, top: int = 0) -> int:
    """Prints a header, and a row for each image. The labels of a prediction set are joined by "|".

    Args:
        rows: one for each image.
        top: adds the columns label_1, probability_1 and so on up to this number.

    Returns:
        How many rows are errors.
    """
    listed = [f"{what}_{place}" for place in range(1, top + 1) for what in ("label", "probability")]

    def write(values: Iterable[Any]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(values)
        typer.echo(line.getvalue().encode("utf-8", "backslashreplace"), nl=False)

    def write_row(row: Row) -> None:
        cells = row | {"prediction_set": "|".join(_set_of(row))}
        best = [value for one in row.get("top", ()) for value in (one["label"], one["probability"])]
        write([*(cells.get(column, "") for column in _CSV_COLUMNS), *best[: len(listed)]])

    write([*_CSV_COLUMNS, *listed])
    return _write(rows, write_row)


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
    """Draws a bar for each task; shows nothing where there is no terminal."""
    from rich import progress as rich_progress

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        tasks: dict[str, rich_progress.TaskID] = {}

        def update(done: int, total: int, what: str) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield update


@contextmanager
def steps() -> Iterator[Callable[[str], None]]:
    """A function that says what a slow command does, on stderr.

    On a terminal a sentence that ends in "…" is shown in place, until the next one. All others stay.
    """
    from rich.live import Live
    from rich.text import Text

    console = stderr()
    if not console.is_terminal:
        yield say
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:  # no thread beside what is measured

        def tell(text: str) -> None:
            if text.endswith("…"):
                live.update(Text(harmless(text), no_wrap=True, overflow="ellipsis"), refresh=True)
            else:
                console.print(harmless(text), soft_wrap=True, highlight=False, markup=False)

        yield tell


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
