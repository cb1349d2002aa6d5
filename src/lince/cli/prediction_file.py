"""A file of predictions: it grows row by row, and a command that was interrupted continues it.

A Parquet file cannot grow. Its rows are in a file beside it, `NAME.parquet.jsonl`, until all of them are there.
"""

import csv
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

from lince.cli.console import Row, csv_header, csv_rows, json_lines
from lince.errors import LinceError

SUFFIXES: dict[str, Literal["jsonl", "csv", "parquet"]] = {".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}
_JSON_START = b'{"path":'
_MAX_LINE_BYTES = 2**26  # of a row with many classes and logits


class PredictionFile:
    """A file that is open for rows. It is not changed before the first new row is written.

    Attributes:
        count: how many rows it holds already.
        errors: how many of them are errors.
        last_answer: the number, from 0, and the line of the last row that is no error; None without one.
    """

    def __init__(self, file: BinaryIO, path: Path, *, is_csv: bool, top: int):
        self._file, self._path, self._top = file, path, top
        self._header = csv_header(top) if is_csv else b""
        self.count = self.errors = self._end = 0
        self.last_answer: tuple[int, bytes] | None = None
        for line in self._lines():
            if self._read(line)[1]:
                self.errors += 1
            else:
                self.last_answer = self.count, line
            self.count += 1

    def paths(self) -> Iterator[str]:
        """Those of the rows that it holds."""
        for line in self._lines():
            yield self._read(line)[0]

    def line(self, row: Row) -> bytes:
        """How a row is written."""
        found: list[bytes] = []
        self._write([row], found)
        return found[-1]

    def write(self, rows: Iterator[Row]) -> int:
        """Writes rows after those that it holds, and returns how many of all are errors."""
        first = list(itertools.islice(rows, 1))  # an error comes before anything is changed
        self._file.seek(self._end)
        self._file.truncate()
        return self.errors + self._write(itertools.chain(first, rows), None)

    def _write(self, rows: Iterable[Row], into: list[bytes] | None) -> int:
        write = self._file.write if into is None else into.append
        if self._header:
            return csv_rows(rows, top=self._top, write=write, header=into is None and self._end == 0)
        return json_lines(rows, write=write)

    def _lines(self) -> Iterator[bytes]:
        """The whole lines of its rows. What follows the last one is to be written again."""
        self._file.seek(0)
        self._end = 0
        for number, line in enumerate(iter(lambda: self._file.readline(_MAX_LINE_BYTES), b"")):
            if not line.endswith(b"\n"):
                start = (self._header or _JSON_START) if number == 0 else b""
                if not line.startswith(start) and not start.startswith(line):
                    raise _other(self._path)
                return
            if number == 0 and self._header:
                if line != self._header:
                    raise _other(self._path)
            else:
                yield line
            self._end += len(line)

    def _read(self, line: bytes) -> tuple[str, bool]:
        """The path of a row, and whether it is an error."""
        try:
            if self._header:
                [row] = csv.DictReader([self._header.decode(), line.decode()])
            else:
                row = json.loads(line)
            return str(row["path"]), bool(row.get("error"))
        except (ValueError, LookupError, TypeError, AttributeError, csv.Error) as error:
            raise _other(self._path) from error


@contextmanager
def opened(path: Path, *, resume: bool, top: int) -> Iterator[PredictionFile]:
    """Opens a new file, or with `resume` one that holds rows.

    Raises:
        LinceError: another suffix; the file is there without `resume`, or it does not hold rows of this kind.
    """
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise LinceError(f"Received --output {str(path)!r}. Expected a name that ends in {', '.join(SUFFIXES)}.")
    if path.is_symlink() and not path.exists():
        raise LinceError(f"{str(path)!r} is a link to nothing. Expected a new name, or a file.")
    lines = path
    if kind == "parquet":
        from lince.cli import parquet  # here: a sentence when it is not installed, before any work

        lines = path.with_name(f"{path.name}.jsonl")
        if path.exists():
            raise LinceError(f"{str(path)!r} is there already, and holds all its rows. Expected a new name.")
    if lines.exists() and not resume:
        raise LinceError(f"{str(lines)!r} is there already. Expected a new name, or --resume to continue it.")
    with lines.open("r+b" if lines.exists() else "x+b") as file:
        yield PredictionFile(file, lines, is_csv=kind == "csv", top=top)
    if kind == "parquet":
        parquet.convert(lines, path)
        os.unlink(lines)


def _other(path: Path) -> LinceError:
    return LinceError(
        f"{str(path)!r} does not hold rows of this command. Expected the file of an interrupted one, with the same "
        "options. Name another file, and leave out --resume."
    )
