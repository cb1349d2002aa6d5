"""Rows of predictions as a Parquet file."""

import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lince.errors import LinceError
from lince.system.files import write_atomically

try:
    import pyarrow
    import pyarrow.parquet
except ImportError as error:
    raise LinceError("A .parquet file needs pyarrow. Install it with pip install '.[batch]'.") from error

_BATCH = 10_000  # rows in memory, and in a row group
_BEST = pyarrow.struct([("label", pyarrow.string()), ("index", pyarrow.int32()), ("probability", pyarrow.float64())])
SCHEMA = pyarrow.schema(
    [
        pyarrow.field("path", pyarrow.string(), nullable=False),
        *_BEST,
        ("top", pyarrow.list_(_BEST)),
        ("prediction_set", pyarrow.list_(pyarrow.string())),
        ("abstain", pyarrow.bool_()),
        ("logits", pyarrow.list_(pyarrow.float32())),
        ("distance", pyarrow.float64()),
        ("error", pyarrow.string()),
    ]
)
"""Of a row; a row with `error` has no answer, and `logits` and `distance` are there on request."""


def convert(lines: Path, path: Path) -> None:
    """Writes the rows of a file with one JSON object a line as a Parquet file: whole, or not at all."""
    write_atomically(path, _encoded(lines))


def _encoded(lines: Path) -> Iterator[bytes]:
    """The bytes of the file, as its row groups are complete."""
    sink = _Sink()
    with (
        lines.open("rb") as file,
        pyarrow.parquet.ParquetWriter(sink, SCHEMA, compression="zstd") as writer,
    ):
        while rows := [json.loads(line) for line in itertools.islice(file, _BATCH)]:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=SCHEMA))
            yield from sink.taken()
    yield from sink.taken()  # the end, which is written when the writer is closed


class _Sink(io.RawIOBase):
    """A file that keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._chunks.append(bytes(data))
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size

    def taken(self) -> list[bytes]:
        taken, self._chunks = self._chunks, []
        return taken
