"""Libraries that write to the terminal unasked: their text is held back."""

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import BinaryIO


@contextlib.contextmanager
def captured_stderr() -> Iterator[None]:
    """Captures what native code writes to stderr, and shows it only when the block fails.

    TensorFlow writes six lines when a process loads it, LiteRT one, and no setting of theirs turns these off. The
    stream belongs to the whole process: use this where no other thread writes. Where nothing can hold the text (no
    memory file and no temporary folder), it is shown.
    """
    held = _memory_file() or _temporary_file()
    if held is None:
        yield
        return
    sys.stderr.flush()
    original = os.dup(2)
    with held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            with contextlib.suppress(OSError):  # a closed pipe, a full disk
                os.write(original, held.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)


@contextlib.contextmanager
def captured_output() -> Iterator[None]:
    """Also discards what Python code prints, so that stdout holds results only."""
    out, err = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with captured_stderr(), out, err:
        yield


def _memory_file() -> BinaryIO | None:
    """Only Linux has it. It needs no folder, so it works in a container with a read-only root."""
    try:
        return os.fdopen(os.memfd_create("lince-stderr"), "w+b")
    except (AttributeError, OSError):
        return None


def _temporary_file() -> BinaryIO | None:
    try:
        return tempfile.TemporaryFile()
    except OSError:  # no folder that can be written
        return None
