"""Pictures sorted into a folder for each answer."""

import filecmp
import itertools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lince.data.sources.base import Member
from lince.data.sources.image_files import Found, read_image
from lince.errors import LinceError
from lince.system.files import write_atomically
from lince.text import printable
from lince.types import ImageLimits

NOT_SURE = "_not_sure"
"""The folder of pictures of which the model says "I don't know"."""


class AnswerFolders:
    """`ROOT/CLASS/…` with the pictures of each class, under the names that they have in their folder or archive.

    A file is a hard link to the picture where the file system can make one, otherwise a copy. None is overwritten: a
    picture of the same name has a number behind it, and one that is there already is left.

    Args:
        root: the folder, which is made if it is not there.
        classes: of the model.
        paths: where the pictures come from.

    Raises:
        LinceError: a class cannot be the name of a folder, or `root` lies in one of `paths`.
    """

    def __init__(self, root: Path, classes: Iterable[str], paths: Iterable[Path]):
        for label in classes:
            if label in ("", ".", "..", NOT_SURE) or os.path.basename(label) != label or "\0" in label:
                raise LinceError(
                    f"The class {label!r} cannot be the name of a folder. Sort the rows of --json instead."
                )
        if around := next(
            (path for path in paths if path.resolve() in (root.resolve(), *root.resolve().parents)), None
        ):
            raise LinceError(f"{str(root)!r} lies in {str(around)!r}. Expected a folder outside of the pictures.")
        self._root = root
        self._sources = [f"{printable(str(path))}/" for path in paths]

    def add(self, found: Found, row: dict[str, Any]) -> None:
        """Adds the picture of a row; one that has no answer is left out.

        Raises:
            OSError: it cannot be written.
            LinceError: it cannot be read any more.
        """
        if isinstance(found, LinceError) or "error" in row:
            return
        shown = row["path"]
        inside = [shown.removeprefix(source) for source in self._sources if shown.startswith(source)]
        folder = self._root / (NOT_SURE if row["abstain"] else row["label"])
        first = folder / (min(inside, key=len) if inside else os.path.basename(shown))
        first.parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            file = first if number == 1 else first.with_stem(f"{first.stem}-{number}")
            if not os.path.lexists(file):
                _put(found, file)
                return
            if _is_same(found, file):
                return


def _put(found: Path | Member, file: Path) -> None:
    if isinstance(found, Path):
        try:
            os.link(found, file)
            return
        except OSError:  # another file system, or one without links
            pass
    write_atomically(file, read_image(found, ImageLimits().max_bytes))


def _is_same(found: Path | Member, file: Path) -> bool:
    if isinstance(found, Path):
        return filecmp.cmp(found, file, shallow=False)
    return file.stat().st_size == found.size and file.read_bytes() == read_image(found, ImageLimits().max_bytes)
