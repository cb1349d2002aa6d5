"""Files that are whole or not there: a crash leaves the old content or the new, never half of it."""

import os
import secrets
import time
import zipfile
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

# What a killed process left is told from what another one is writing right now by its age: nothing takes a day.
_STALE_S = 24 * 3600

# What NumPy raises on an .npz that is missing, cut short or altered; RuntimeError where a bit says that a member is
# encrypted or packed in another way.
DAMAGED_NPZ = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError)


def write_atomically(path: Path, data: bytes | Iterable[bytes | memoryview]) -> None:
    """Writes `data` to `path` through a temporary file beside it, fsync and rename.

    Args:
        path: where to; its folder exists. A file that is already there is replaced.
        data: the whole content, at once or chunk by chunk.

    Raises:
        OSError: when the folder is missing or not writable, or the disk is full; `path` is then as it was, and the
            temporary file is gone.
    """
    # In the same folder, because a rename is atomic within one file system only. Opened by hand and not by
    # `tempfile`, which would make the file readable by its owner alone, whatever the umask says.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    _remove_stale(path)
    try:
        with temporary.open("xb") as file:
            for chunk in (data,) if isinstance(data, bytes) else data:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _remove_stale(path: Path) -> None:
    """Removes temporary files for the same target that a killed process left behind, as far as it can."""
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in list(entries):
            is_ours = entry.name.startswith(f".{path.name}.") and entry.name.endswith(".tmp")
            if is_ours and time.time() - entry.stat().st_mtime > _STALE_S:
                os.unlink(entry.path)


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself last through a power cut; Windows cannot open a folder, and does without."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
