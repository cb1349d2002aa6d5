"""The standard streams: printing never fails a run, and results that cannot be written are an error.

stderr   news; what cannot be written is dropped, so that a closed terminal ends no training
stdout   results; the first failed write raises OutputError, or ends the program quietly when its reader has gone

Both keep the encoding of the locale. A character that it lacks is written as the nearest ASCII, or as an escape.
"""

import codecs
import errno
import io
import os
import select
import sys

from lince.errors import OutputError

READER_GONE = 141
"""The exit code when the reader of stdout has gone: 128 + SIGPIPE, as a shell reports it of `cat`."""

_ERRORS = "lince.legible"
_NEAREST = {
    **{"–": "-", "−": "-", "…": "...", "“": '"', "”": '"', "’": "'", "×": "x", "·": "*"},
    **{"µ": "u", "μ": "u", "σ": "sigma", "±": "+-", "≥": ">=", "≤": "<=", "→": "->"},
}


def prepare() -> None:
    """Makes stdout and stderr of this process as above; a second call changes nothing."""
    codecs.register_error(_ERRORS, _legible)
    for descriptor, name, raw in ((0, "stdin", None), (1, "stdout", _Results), (2, "stderr", _News)):
        _open_if_closed(descriptor, name)
        if raw is not None:
            setattr(sys, name, _wrapped(getattr(sys, name), raw))


def _open_if_closed(descriptor: int, name: str) -> None:
    """Opens the null device in the place of a closed stream: the next file that is opened would take its number."""
    try:
        os.fstat(descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if getattr(sys, name) is None:
        setattr(sys, name, open(os.devnull, "r+", encoding="utf-8"))  # noqa: SIM115


def _wrapped(stream: io.TextIOBase, kind: type["_News"]) -> io.TextIOBase:
    buffer = getattr(stream, "buffer", None)
    if buffer is None or isinstance(getattr(buffer, "raw", None), kind):  # a notebook's stream, or one of ours
        return stream
    stream.flush()
    unbuffered = getattr(stream, "write_through", False)
    return io.TextIOWrapper(
        io.BufferedWriter(kind(stream)),
        encoding=stream.encoding,
        errors=_ERRORS,
        line_buffering=stream.line_buffering or unbuffered,
    )


def _legible(error: UnicodeError) -> tuple[str, int]:
    """An error handler of `codecs`: what can be read where a character cannot be written."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    found = (_NEAREST.get(one) or one.encode("ascii", "backslashreplace").decode() for one in lacking)
    return "".join(found), error.end


class _News(io.RawIOBase):
    """Bytes to a stream that nothing depends on."""

    def __init__(self, stream: io.TextIOBase):
        self._stream = stream  # which closes its file when nothing holds it any more
        self._raw = getattr(stream.buffer, "raw", stream.buffer)  # python -u has no buffer in between
        self._lost = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()

    def write(self, data: memoryview) -> int:
        """Writes some of it, or none and says that it wrote all: what is left in a buffer would fail again later."""
        if self._lost:
            return len(data)
        try:
            while (written := self._raw.write(data)) is None:  # somebody made the pipe that we share non-blocking
                select.select([], [self._raw], [])
        except OSError as error:
            return self._fail(error, len(data))
        return written

    def _fail(self, _: OSError, dropped: int) -> int:
        return dropped  # and try again: a full disk may have room later


class _Results(_News):
    """Bytes to a stream that the user asked for."""

    def _fail(self, error: OSError, _: int) -> int:
        self._lost = True
        if error.errno in (errno.EPIPE, errno.EINVAL):  # EINVAL is what Windows says of a closed pipe
            raise SystemExit(READER_GONE) from error
        raise OutputError(
            f"The results could not be written to standard output ({error.strerror}). Files that this command wrote "
            "are complete. Make room there, or send the output elsewhere, and run the command again."
        ) from error
