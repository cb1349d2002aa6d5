"""Sorting of names: in memory, or in a temporary file where there are many."""

import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from operator import itemgetter

from lince.errors import DataError

_IN_MEMORY = 20_000  # about 5 MB

Named = tuple[bytes, bytes]
"""A name, and what is known of it."""


def by_name(found: Iterable[Named]) -> Iterator[Named]:
    """Sorts by the bytes of the names. Equal names keep their order. Memory does not grow with their number.

    All names are read before this returns.

    Raises:
        DataError: the temporary file cannot be written.
    """
    rest = iter(found)
    first = list(itertools.islice(rest, _IN_MEMORY))
    if len(first) < _IN_MEMORY:
        return iter(sorted(first, key=itemgetter(0)))
    # SQLite deletes the file of a database without a name, and sorts what is larger than its memory in files too.
    database = sqlite3.connect("", check_same_thread=False)
    try:
        database.execute("CREATE TABLE found (name BLOB, rest BLOB)")
        database.executemany("INSERT INTO found VALUES (?, ?)", itertools.chain(first, rest))
    except BaseException as error:
        database.close()
        if isinstance(error, sqlite3.Error):
            raise _not_sorted(error) from error
        raise
    return _sorted(database)


def _sorted(database: sqlite3.Connection) -> Iterator[Named]:
    try:
        with closing(database):
            yield from database.execute("SELECT name, rest FROM found ORDER BY name, rowid")
    except sqlite3.Error as error:
        raise _not_sorted(error) from error


def _not_sorted(error: sqlite3.Error) -> DataError:
    return DataError(
        f"The names of more than {_IN_MEMORY:,} files could not be sorted on disk ({error}). Free disk space, or set "
        "SQLITE_TMPDIR to a folder that has some."
    )
