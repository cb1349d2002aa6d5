"""Files that are whole or not there, and files that a user names: read without waiting, and never without end."""

import errno
import os
import re
import secrets
import stat
import time
import zipfile
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from lince.schema import MisfitError

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None

# Where files cannot be locked, what a killed process left is told from what is being written by its age.
_STALE_S = 24 * 3600
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.lince\.tmp")
# A pipe without a writer would block `open` for ever, a terminal could become ours. Windows knows neither.
_WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)

# What NumPy raises on an .npz that is missing, cut short or altered; RuntimeError where a bit says that a member is
# encrypted or packed in another way.
DAMAGED_NPZ = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError)


def reason_of(error: Exception) -> str:
    """Why a file could not be read, for a sentence: as the system says, what does not fit, or that it is damaged."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).rstrip(".") if isinstance(error, MisfitError) else "it is damaged or cut short"


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file (or a link to one) for reading; a pipe or a device is refused, and never waited for.

    Raises:
        OSError: it cannot be opened, or is no regular file; `strerror` says which.
    """
    try:
        _require_regular(os.stat(path), path)  # before it is opened: opening a device can have effects
        descriptor = os.open(path, os.O_RDONLY | _WITHOUT_WAITING)
    except ValueError as error:  # a null character in the path
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    try:
        _require_regular(os.fstat(descriptor), path)  # again: another file may have taken its place
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bounded(path: Path, limit_bytes: int) -> bytes:
    """Reads a file that a user named, whole.

    Args:
        path: a regular file, or a link to one.
        limit_bytes: the most that it may have; no more is read.

    Returns:
        Its content.

    Raises:
        OSError: it cannot be read, is no regular file, has more bytes, or grows meanwhile; `strerror` says which.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit_bytes:
            raise OSError(errno.EFBIG, f"it has more than {limit_bytes:,} bytes", str(path))
        data = file.read(size + 1)
    if len(data) > size:
        raise OSError(errno.EBUSY, "it grew while it was read", str(path))
    return data


def write_atomically(path: Path, data: bytes | Iterable[bytes | memoryview]) -> None:
    """Writes `data` to `path` through a temporary file beside it, fsync and rename.

    A crash leaves the old content or the new, never half of it. The next write into the folder removes the temporary
    file of a process that was killed.

    Args:
        path: where to; its folder exists. A file that is already there is replaced.
        data: the whole content, at once or chunk by chunk.

    Raises:
        OSError: when the folder is missing or not writable, or the disk is full; `path` is then as it was, and the
            temporary file is gone.
    """
    _remove_stale(path)
    file = _create_temporary(path)
    temporary = Path(file.name)
    try:
        with file:  # held open, and so locked, until it has its name
            for chunk in (data,) if isinstance(data, bytes) else data:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
            if os.name == "nt":  # Windows renames no open file
                file.close()
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _require_regular(status: os.stat_result, path: Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def _create_temporary(path: Path) -> BinaryIO:
    """A new file beside `path`, locked: the system lets go of the lock when the process ends, however it ends.

    In the same folder, because a rename is atomic within one file system only. Opened by hand and not by `tempfile`,
    which would make the file readable by its owner alone, whatever the umask says.
    """
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.lince.tmp")
        file = temporary.open("xb")
        if fcntl is None:
            return file
        with suppress(OSError):  # some network file systems cannot lock; there the age decides
            fcntl.flock(file, fcntl.LOCK_EX)
        if temporary.exists():
            return file
        file.close()  # another process took it for a dead one's, in the moment before it was locked


def _remove_stale(path: Path) -> None:
    """Removes temporary files in the folder that killed processes left behind, as far as it can."""
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in list(entries):
            if not entry.name.endswith(".tmp"):
                continue
            with suppress(OSError):
                if _TEMPORARY.fullmatch(entry.name):
                    _remove_if_dead(entry)
                elif entry.name.startswith(f".{path.name}."):  # of a Lince that did not lock
                    _remove_if_old(entry)


def _remove_if_dead(entry: os.DirEntry[str]) -> None:
    if fcntl is None:
        _remove_if_old(entry)
        return
    with open(entry.path, "rb+") as file:  # for writing: NFS locks no other file
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # its writer lives
            return
        except OSError:
            _remove_if_old(entry)
            return
        os.unlink(entry.path)


def _remove_if_old(entry: os.DirEntry[str]) -> None:
    if time.time() - entry.stat().st_mtime > _STALE_S:
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
