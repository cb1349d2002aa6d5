"""The standard streams: messages that cannot be written are dropped, results that cannot be written are an error.

stderr   messages: what cannot be written is dropped, so that training goes on when the terminal is closed
stdout   results: the first failed write raises OutputError, or ends the program quietly when its reader has gone

Both keep the encoding of the locale. A character that it lacks is written as the nearest ASCII, or as an escape.
"""

import codecs
import errno
import io
import os
import select
import sys
from typing import Any, BinaryIO, TextIO

from lince.errors import OutputError

READER_GONE = 141
"""The exit code when the reader of stdout has gone: 128 + SIGPIPE, as a shell reports it."""

_ERRORS = "lince.legible"
_NEAREST = {
    **{"–": "-", "−": "-", "…": "...", "“": '"', "”": '"', "’": "'", "×": "x", "·": "*"},
    **{"µ": "u", "μ": "u", "σ": "sigma", "±": "+-", "≥": ">=", "≤": "<=", "→": "->"},
}


def prepare() -> None:
    """Replaces stdout and stderr of this process as described above; a second call changes nothing."""
    codecs.register_error(_ERRORS, _legible)
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        _open_if_closed(descriptor, name)
    sys.stdout, sys.stderr = _wrapped(sys.stdout, _Results), _wrapped(sys.stderr, _Messages)


def _open_if_closed(descriptor: int, name: str) -> None:
    """Opens the null device in place of a closed stream, whose number the next opened file would get otherwise."""
    try:
        os.fstat(descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if getattr(sys, name) is None:
        setattr(sys, name, open(os.devnull, "r+", encoding="utf-8"))  # noqa: SIM115


def _wrapped(stream: TextIO, kind: type["_Messages"]) -> TextIO:
    buffer = getattr(stream, "buffer", None)
    if buffer is None or isinstance(getattr(buffer, "raw", None), kind):  # a notebook's, or replaced already
        return stream
    stream.flush()
    is_unbuffered = getattr(stream, "write_through", False)
    return io.TextIOWrapper(
        io.BufferedWriter(kind(stream)),
        encoding=stream.encoding,
        errors=_ERRORS,
        line_buffering=bool(stream.line_buffering or is_unbuffered),
    )


def _legible(error: UnicodeError) -> tuple[str, int]:
    """An error handler of `codecs`: the text to write in place of characters that the encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    found = (_NEAREST.get(one) or one.encode("ascii", "backslashreplace").decode() for one in lacking)
    return "".join(found), error.end


class _Messages(io.RawIOBase):
    """Bytes to a stream on which nothing depends."""

    def __init__(self, stream: TextIO):
        self._stream = stream  # a reference: without one the stream would close its file
        # python -u has no buffer in between
        self._raw: io.RawIOBase | BinaryIO = getattr(stream.buffer, "raw", stream.buffer)
        self._lost = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()

    def write(self, data: Any, /) -> int:
        """Writes some of a buffer; if that fails, returns its whole length, because the rest would fail again later.

        Args:
            data: bytes or a memoryview. (`collections.abc.Buffer` needs Python 3.12.)
        """
        if self._lost:
            return len(data)
        try:
            while (written := self._raw.write(data)) is None:  # another process made the shared pipe non-blocking
                select.select([], [self._raw], [])
        except OSError as error:
            return self._fail(error, len(data))
        return written

    def _fail(self, error: OSError, length: int) -> int:
        return length  # the next write is tried again: a full disk may have room later


class _Results(_Messages):
    """Bytes to a stream whose content the user wants."""

    def _fail(self, error: OSError, length: int) -> int:
        self._lost = True
        if error.errno in (errno.EPIPE, errno.EINVAL):  # EINVAL is Windows's error for a closed pipe
            raise SystemExit(READER_GONE) from error
        raise OutputError(
            f"The results could not be written to standard output ({error.strerror}). Files that this command wrote "
            "are complete. Make room there, or send the output elsewhere, and run the command again."
        ) from error
