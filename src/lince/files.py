"""Files that are whole or not there: a crash leaves the old content or the new, never half of it."""

import os
import secrets
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Writes `data` to `path` through a temporary file beside it, fsync and rename.

    Args:
        path: where to; its folder exists. A file that is already there is replaced.
        data: the whole content.

    Raises:
        OSError: when the folder is missing or not writable, or the disk is full; `path` is then as it was, and the
            temporary file is gone.
    """
    # In the same folder, because a rename is atomic within one file system only. Opened by hand and not by
    # `tempfile`, which would make the file readable by its owner alone, whatever the umask says.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself last through a power cut; Windows cannot open a folder, and does without."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
