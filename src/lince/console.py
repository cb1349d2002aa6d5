"""What the command line writes: results to stdout, everything else to stderr."""

import csv
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lince.sentences import percent

_CSV_COLUMNS = ("path", "label", "index", "probability", "abstain", "prediction_set", "error")

Row = dict[str, Any]
"""One image's answer, as `lince.predict` yields it: with `error` when there is none."""


def stderr() -> Console:
    """A console on the error stream."""
    return Console(stderr=True)


def say(text: str) -> None:
    """A line of news, on stderr."""
    stderr().print(harmless(text), soft_wrap=True, highlight=False, markup=False)


def print_text(text: str) -> None:
    """Text, on stdout."""
    typer.echo(harmless(text))


def harmless(text: str) -> str:
    """Text without the control characters by which names and messages of strangers could steer a terminal."""
    return "".join("\ufffd" if unicodedata.category(one) in ("Cc", "Cf") and one not in "\n\t" else one for one in text)


def show(*renderables: Any) -> None:
    """Tables, on stdout."""
    console = Console()
    for renderable in renderables:
        console.print(renderable)


def print_json(result: Any) -> None:
    """A record or plain data as one line of JSON, on stdout."""
    typer.echo(msgspec.json.encode(result))


def json_lines(rows: Iterable[Row]) -> int:
    """One JSON object a row; returns how many rows are errors."""
    return _write(rows, print_json)


def csv_rows(rows: Iterable[Row]) -> int:
    """A header and a row an image; the prediction set's labels are joined by "|", and the field is empty without a set.

    Returns how many rows are errors.
    """
    writer = csv.DictWriter(sys.stdout, _CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    return _write(rows, lambda row: writer.writerow(row | {"prediction_set": "|".join(_set_of(row))}))


def text_lines(rows: Iterable[Row]) -> int:
    """A line an image, for people, errors on stderr; returns how many rows are errors."""
    return _write(rows, _text_line)


@contextmanager
def progress_bar(console: Console) -> Iterator[Callable[[int, int, str], None]]:
    """A callback `(done, total, what)` that draws a bar per `what`; silent where there is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        tasks: dict[str, Any] = {}

        def update(done: int, total: int, what: str) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield update


def _write(rows: Iterable[Row], write: Callable[[Row], object]) -> int:
    failed = 0
    for row in rows:
        failed += "error" in row
        write(row)
    return failed


def _text_line(row: Row) -> None:
    if "error" in row:
        say(f"{row['path']}: {row['error']}")
    else:
        print_text(f"{row['path']}: {_sentence(row)}")


def _sentence(row: Row) -> str:
    others = [label for label in _set_of(row) if label != row["label"]]
    unsure = "I don't know; perhaps " if row["abstain"] else ""
    return f"{unsure}{row['label']} {percent(row['probability'])}{', or ' if others else ''}{', '.join(others)}"


def _set_of(row: Row) -> Sequence[str]:
    """The prediction set; empty for an error, and for a model without sets."""
    return row.get("prediction_set") or ()
