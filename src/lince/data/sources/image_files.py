"""Encoded images from files, folder trees and .zip archives.

A new kind of source is a module like `zip_file.py`, which keeps `base.Source`, and a line in `open_source`.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from lince.data.sources.base import Entry, Member, Source
from lince.data.sources.directory import Tree, read_file
from lince.data.sources.zip_file import Archive, read_member
from lince.errors import DataError, ImageError, LinceError
from lince.images import EXTENSIONS
from lince.text import printable
from lince.types import ImageLimits

Found = Path | Member | LinceError
"""A file, a file in an archive, or why neither can be read."""


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
    for name, found in find_images(paths):
        try:
            yield name, read_image(found, limit_bytes)
        except LinceError as error:
            yield name, error


def find_images(paths: Iterable[Path]) -> Iterator[tuple[str, Found]]:
    """Finds the images of files, folders (recursively) and .zip archives, one at a time, in constant memory.

    A file in `paths` always counts; inside folders and archives, files without an image's name are skipped.

    Args:
        paths: files, folders and archives, in order.

    Yields:
        The path for messages (in an archive `archive.zip/inner/path`), and what `read_image` takes.
    """
    for path in paths:
        name = printable(str(path))
        if os.path.isdir(path) or path.suffix.lower() == ".zip":
            yield from _inside(path, name=name)
        else:
            yield name, path


def read_image(found: Found, limit_bytes: int) -> bytes:
    """Reads what `find_images` found.

    Raises:
        ImageError: it is larger than the limit, or damaged in its archive.
        DataError: it cannot be read.
    """
    if isinstance(found, LinceError):
        raise found
    return read_file(found, limit_bytes) if isinstance(found, Path) else read_member(found, limit_bytes)


def _inside(path: Path, *, name: str) -> Iterator[tuple[str, Found]]:
    found = False
    try:
        with open_source(path) as source:
            for entry in filter(lambda entry: entry.is_wanted, source.walk()):
                found = True
                yield f"{name}/{entry.path}", _unread(entry)
    except DataError as error:
        yield name, error
    else:
        if not found:
            yield name, DataError(f"{name!r} holds no images. Expected files named {', '.join(sorted(EXTENSIONS))}.")


def _unread(entry: Entry) -> Found:
    if isinstance(entry.key, Member):
        return ImageError("corrupt_image", entry.problem) if entry.problem else entry.key
    return DataError(entry.problem) if entry.problem else Path(entry.key)
