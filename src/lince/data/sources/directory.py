"""A folder tree as a source of images."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from lince.data.sources.base import Entry, is_litter, too_large
from lince.data.sources.sorting import Named, by_name
from lince.errors import DataError
from lince.system.files import open_regular
from lince.text import printable

# Deeper than any dataset, and far below Python's recursion limit (1,000 calls).
_MAX_DEPTH = 64
_FILE, _FOLDER, _LINK = b"f", b"d", b"l"


class Tree:
    """The files in a folder and its subfolders. Symbolic links are followed, except to a folder that contains them."""

    def __init__(self, root: Path):
        self.name = printable(str(root))
        self._root = root

    def walk(self) -> Iterator[Entry]:
        """Every entry except hidden and system files, sorted by name within its folder."""
        yield from _walk(str(self._root), prefix="", above=())

    def read(self, entry: Entry, limit_bytes: int) -> bytes:
        """The content of one file; see `Source`."""
        if entry.problem:
            raise DataError(entry.problem)
        return read_file(Path(str(entry.key)), limit_bytes)

    def stamp(self) -> str:
        """SHA-256 (hex) over path, size and modification time of every entry."""
        digest = hashlib.sha256()
        for entry in self.walk():
            digest.update(f"{entry.path}\0{_state(entry)}\0".encode())
        return digest.hexdigest()


def read_file(path: Path, limit_bytes: int) -> bytes:
    """Reads a whole regular file, or a link to one, of at most `limit_bytes`; at most one byte more is read.

    Raises:
        ImageError: when it is larger (`image_too_large`).
        DataError: when it cannot be read.
    """
    try:
        with open_regular(path) as file:
            # `read` takes memory for as many bytes as it is asked for.
            expected = min(os.fstat(file.fileno()).st_size, limit_bytes)
            data = file.read(expected + 1)
            if expected < len(data) <= limit_bytes:  # it has grown
                data += file.read(limit_bytes + 1 - len(data))
    except OSError as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"It cannot be read ({reason}). Check that it exists, and its permissions.") from error
    if len(data) > limit_bytes:
        raise too_large(limit_bytes)
    return data


def _walk(folder: str, *, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[Entry]:
    """Entries in `folder` and its subfolders; `above` identifies the folders around it, to detect a loop."""
    try:
        identity = _identity(folder)
        children = by_name(_children(folder))
    except OSError as error:
        problem = f"The folder cannot be listed ({error.strerror}). Check its permissions."
        yield Entry(prefix.rstrip("/") or ".", folder, problem, is_folder=True)
        return
    for name, kind in children:
        child = os.fsdecode(name)
        path, key = prefix + printable(child), os.path.join(folder, child)
        if kind == _FILE or (kind == _LINK and not os.path.isdir(key)):
            yield Entry(path, key)
        elif len(above) >= _MAX_DEPTH:
            yield Entry(path, key, f"The folder lies more than {_MAX_DEPTH} folders deep.", is_folder=True)
        elif not (kind == _LINK and _identity(key) in (*above, identity)):
            yield Entry(path, key, is_folder=True)
            yield from _walk(key, prefix=f"{path}/", above=(*above, identity))


def _children(folder: str) -> Iterator[Named]:
    """Names, and of what kind each is, without a system call for each."""
    with os.scandir(folder) as found:
        for child in found:
            if not is_litter(child.name):
                kind = _LINK if child.is_symlink() else _FOLDER if child.is_dir(follow_symlinks=False) else _FILE
                yield os.fsencode(child.name), kind


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _state(entry: Entry) -> str:
    """A text that changes with the file. A folder's own time does not count: system files change it."""
    if entry.is_folder:
        return str(entry.problem)
    try:
        status = os.stat(str(entry.key))
    except OSError as error:
        return str(error.errno)
    return f"{status.st_size} {status.st_mtime_ns}"
