"""Native libraries are kept from writing to the terminal."""

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

    TensorFlow writes six lines when it starts and LiteRT one; no setting turns them off. All threads share stderr: use
    this where nothing else writes to it. Where the text cannot be kept (no memory file and no temporary folder), it is
    shown at once.
    """
    held = _unnamed_file()
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


def _unnamed_file() -> BinaryIO | None:
    """A file in memory, where there are such (on Linux): a container may have a read-only root. Else one on disk.

    None where no folder can be written either.
    """
    with contextlib.suppress(AttributeError, OSError):
        return os.fdopen(os.memfd_create("lince-stderr"), "w+b")
    with contextlib.suppress(OSError):
        return tempfile.TemporaryFile()
    return None
