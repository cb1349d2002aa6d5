"""Native libraries that write to the terminal on their own."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import BinaryIO


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Holds back what native code writes to stderr, and shows it only when the block fails.

    TensorFlow greets every process with six lines, LiteRT with one, and no setting of theirs turns them off. The stream
    is the whole process's: use it where nothing else has anything to say. Where nothing can hold the text (no memory
    file and no temporary folder), it is shown.
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


def _memory_file() -> BinaryIO | None:
    """Linux alone has it; it needs no folder, so that a container may have a read-only root."""
    try:
        return os.fdopen(os.memfd_create("lince-stderr"), "w+b")
    except (AttributeError, OSError):
        return None


def _temporary_file() -> BinaryIO | None:
    try:
        return tempfile.TemporaryFile()
    except OSError:  # no folder that can be written
        return None
