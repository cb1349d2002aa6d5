"""Native libraries that write to the terminal on their own."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Holds back what native code writes to stderr, and shows it only when the block fails.

    TensorFlow greets every process with six lines, LiteRT with one, and no setting of theirs turns them off. The stream
    is the whole process's: use it where nothing else has anything to say.
    """
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)
