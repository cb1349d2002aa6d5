"""What was read from files, and is read again when they change: API keys and TLS certificates."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from lince.errors import ServiceError
from lince.system.files import Stamp, stamp_of

LOOK_S = 1.0
"""Seconds between two looks at the files."""

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class ReloadedFile(Generic[_T]):
    """A value that is read from files. Looks at them when it is used, at most once in `LOOK_S`."""

    def __init__(self, read: Callable[[], _T], *paths: Path):
        """Reads the value.

        Args:
            read: reads the files; raises ServiceError when they are not valid.
            paths: of the files.

        Raises:
            ServiceError: the files are not valid.
        """
        self._read, self._paths = read, paths
        self._stamps = _stamps(paths)  # before the files are read: a change meanwhile is then seen later
        self._value = read()
        self._looked_at = time.monotonic()

    @property
    def value(self) -> _T:
        """The last value that was valid. Files that are not valid change nothing, and are logged once."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            self._look()
        return self._value

    def _look(self) -> None:
        stamps = _stamps(self._paths)
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._value = self._read()
        except ServiceError as error:
            _log.error("The old content stays in use. %s", error)
        else:
            _log.info("%s was read again.", " and ".join(repr(str(path)) for path in self._paths))


def _stamps(paths: Sequence[Path]) -> list[Stamp | None]:
    return [_stamp(path) for path in paths]


def _stamp(path: Path) -> Stamp | None:
    try:
        return stamp_of(path)
    except (OSError, ValueError):  # ValueError: a null character in the path
        return None
