"""A file of predictions: it grows row by row, and a command that was interrupted continues it."""

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from lince.cli.console import Row, csv_header, csv_rows, json_lines
from lince.errors import LinceError

SUFFIXES: dict[str, Literal["jsonl", "csv"]] = {".jsonl": "jsonl", ".csv": "csv"}


@dataclass(frozen=True)
class PredictionFile:
    """A file that is open for rows.

    Attributes:
        rows: how many it holds already.
        last: the path in the last one of them; empty without one.
    """

    file: BinaryIO
    format: Literal["jsonl", "csv"]
    rows: int
    last: str

    def write(self, rows: Iterable[Row], *, top: int) -> int:
        """Writes rows, and returns how many of them are errors; `top` as for `csv_rows`."""
        if self.format == "jsonl":
            return json_lines(rows, write=self.file.write)
        return csv_rows(rows, top=top, write=self.file.write, header=self.file.tell() == 0)


@contextmanager
def opened(path: Path, *, resume: bool, top: int) -> Iterator[PredictionFile]:
    """Opens a new file, or with `resume` one that holds rows, of which an unfinished last line is cut off.

    Raises:
        LinceError: another suffix; the file is there without `resume`, or it does not hold rows of this kind.
    """
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise LinceError(f"Received --output {str(path)!r}. Expected a name that ends in {' or '.join(SUFFIXES)}.")
    if path.exists() and not resume:
        raise LinceError(f"{str(path)!r} is there already. Expected a new name, or --resume to continue it.")
    with path.open("r+b" if path.exists() else "x+b") as file:
        rows, last = _read(file, path, csv_header(top) if kind == "csv" else b"")
        yield PredictionFile(file, kind, rows, last)


def _read(file: BinaryIO, path: Path, header: bytes) -> tuple[int, str]:
    """The number of rows and the path in the last one. Afterwards the file ends, and is written, after this row."""
    end, rows, last = 0, 0, b""
    for number, line in enumerate(file):
        if not line.endswith(b"\n"):
            break
        end += len(line)
        if header and number == 0:
            if line != header:
                raise _other(path)
            continue
        rows, last = rows + 1, line
    found = _path(last, path, is_csv=bool(header)) if last else ""
    file.seek(end)
    file.truncate()
    return rows, found


def _path(line: bytes, path: Path, *, is_csv: bool) -> str:
    try:
        text = line.decode()
        found = next(csv.reader([text]))[0] if is_csv else json.loads(text)["path"]
    except (ValueError, LookupError, TypeError, csv.Error) as error:
        raise _other(path) from error
    return str(found)


def _other(path: Path) -> LinceError:
    return LinceError(
        f"{str(path)!r} does not hold rows of this command. Expected the file of an interrupted one, with the same "
        "options. Name another file, and leave out --resume."
    )
