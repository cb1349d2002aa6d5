"""Encoded images from files, folder trees and .zip archives.

A new kind of source is a module like `zip_file.py`, which keeps `base.Source`, and a line in `open_source`.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from lince.data.sources.base import Source
from lince.data.sources.directory import Tree, read_file
from lince.data.sources.zip_file import Archive
from lince.errors import DataError, LinceError
from lince.images import EXTENSIONS
from lince.text import printable
from lince.types import ImageLimits


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Opens a folder, or a .zip file, for a `with` statement.

    Raises:
        DataError: when there is nothing at `path`, or it is neither a folder nor a zip archive.
    """
    try:
        path.stat()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or error
        if str(path).startswith(("http:/", "https:/")):
            reason = "it is an address: download it first"
        message = f"Cannot read {printable(str(path))!r} ({reason})."
        raise DataError(f"{message} Expected a folder or a .zip of images, or the word 'cifar10'.") from error
    if path.is_dir():
        yield Tree(path)
    else:
        with closing(Archive(path)) as archive:
            yield archive


def iter_images(
    paths: Iterable[Path], *, limit_bytes: int = ImageLimits().max_bytes
) -> Iterator[tuple[str, bytes | LinceError]]:
    """As `find_images`, with the files read: the encoded bytes, or the error that says why there are none."""
    for name, found in find_images(paths, limit_bytes=limit_bytes):
        yield name, _attempt(read_file, found, limit_bytes) if isinstance(found, Path) else found


def find_images(
    paths: Iterable[Path], *, limit_bytes: int = ImageLimits().max_bytes
) -> Iterator[tuple[str, Path | bytes | LinceError]]:
    """Finds the images of files, folders (recursively) and .zip archives, one at a time, in constant memory.

    A file in `paths` always counts; inside folders and archives, files without an image's name are skipped.

    Args:
        paths: files, folders and archives, in order.
        limit_bytes: the largest accepted size of one encoded image.

    Yields:
        The path for messages (in an archive `archive.zip/inner/path`), and a file to read with `read_file`, the encoded
        bytes of an archive's member, or the error that says why there are none.
    """
    for path in paths:
        name = printable(str(path))
        if os.path.isdir(path) or path.suffix.lower() == ".zip":
            yield from _inside(path, name=name, limit_bytes=limit_bytes)
        else:
            yield name, path


def _inside(path: Path, *, name: str, limit_bytes: int) -> Iterator[tuple[str, Path | bytes | LinceError]]:
    found = False
    try:
        with open_source(path) as source:
            for entry in filter(lambda entry: entry.is_wanted, source.walk()):
                found = True
                is_file = isinstance(entry.key, str) and not entry.problem
                content = Path(str(entry.key)) if is_file else _attempt(source.read, entry, limit_bytes)
                yield f"{name}/{entry.path}", content
    except DataError as error:
        yield name, error
    else:
        if not found:
            yield name, DataError(f"{name!r} holds no images. Expected files named {', '.join(sorted(EXTENSIONS))}.")


def _attempt(read: Callable[..., bytes], *arguments: object) -> bytes | LinceError:
    try:
        return read(*arguments)
    except LinceError as error:
        return error
