"""Writes files whole or not at all, and reads files that a user names without waiting and up to a limit."""

import errno
import os
import re
import secrets
import stat
import sys
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from lince.schema import MisfitError
from lince.text import listed

if sys.platform != "win32":
    import fcntl

# Where files cannot be locked, a temporary file of this age is taken for one that a killed process left.
_STALE_S = 24 * 3600
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.lince\.tmp")
# A pipe without a writer would block `open` for ever, and a terminal could become this process's. Not on Windows.
_WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)

# What NumPy raises on an .npz that is missing, truncated or altered. RuntimeError: a flag says that a member is
# encrypted or compressed in another way.
DAMAGED_NPZ = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError)

Stamp = tuple[int, int, int]
"""Inode, size and time of the last change in nanoseconds: a file with another one is another file."""


def reason_of(error: Exception) -> str:
    """Why a file could not be read, as part of a sentence: the system's reason, what is wrong in it, or its damage."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).rstrip(".") if isinstance(error, MisfitError) else "it is damaged or cut short"


def meant(name: str, file: str) -> str:
    """Which folders the user may have meant who named a path that holds no such file.

    Args:
        name: the path, as it was typed.
        file: the name of a file that the right folder holds.

    Returns:
        A question, with a space before it, that names folders inside the path, or the one of this name inside `runs`.
        Empty where there are none.
    """
    path = Path(name)
    with suppress(OSError, ValueError):
        inside = sorted(path.iterdir()) if path.is_dir() else [Path("runs") / path]
        if found := [str(folder) for folder in inside if (folder / file).is_file()]:
            return f" Did you mean {'' if len(found) == 1 else 'one of '}{listed(found)}?"
    return ""


def open_regular(path: Path) -> BufferedReader:
    """Opens a regular file, or a link to one, for reading. A pipe or a device is refused without waiting for it.

    Raises:
        OSError: it cannot be opened, or is no regular file; `strerror` says which.
    """
    try:
        _require_regular(os.stat(path), path)  # before it is opened: opening a device can have effects
        descriptor = os.open(path, os.O_RDONLY | _WITHOUT_WAITING)
    except ValueError as error:  # a null character in the path
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    try:
        _require_regular(os.fstat(descriptor), path)  # again: it may have been replaced meanwhile
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def stamp_of(path: Path) -> Stamp:
    """What tells that a file has changed. Raises OSError when it is not there."""
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns


def read_bounded(path: Path, limit_bytes: int) -> bytes:
    """Reads a whole regular file that a user named, or a link to one, of at most `limit_bytes`.

    Raises:
        OSError: it cannot be read, is no regular file, is larger, or grows meanwhile; `strerror` says which.
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

    After a crash the file has the old content or the new, never a part. The next write into the folder removes the
    temporary files of killed processes.

    Args:
        path: the file, in a folder that exists. An existing file is replaced.
        data: the whole content, at once or in chunks.

    Raises:
        OSError: when the folder is missing or not writable, or the disk is full. `path` is then unchanged, and the
            temporary file is removed.
    """
    _remove_stale(path)
    file = _create_temporary(path)
    temporary = Path(file.name)
    try:
        with file:  # kept open, and so locked, until it is renamed
            for chunk in (data,) if isinstance(data, bytes) else data:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
            if os.name == "nt":  # Windows does not rename an open file
                file.close()
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process after the other, for files that are read and written again; not where nothing can be locked."""
    if sys.platform == "win32":  # cannot open a folder
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems cannot lock
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _require_regular(status: os.stat_result, path: Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def _create_temporary(path: Path) -> BinaryIO:
    """A new file beside `path`, locked: the system releases the lock when the process ends, however it ends.

    It is in the same folder because a rename is atomic only within one file system. It is not made by `tempfile`,
    whose files only their owner can read, whatever the umask.
    """
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.lince.tmp")
        file = temporary.open("xb")
        if sys.platform == "win32":
            return file
        with suppress(OSError):  # some network file systems cannot lock; there the age decides
            fcntl.flock(file, fcntl.LOCK_EX)
        if temporary.exists():
            return file
        file.close()  # another process removed it as a killed process's, before it was locked


def _remove_stale(path: Path) -> None:
    """Removes the temporary files that killed processes left in the folder, as far as that is possible."""
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in list(entries):
            if _TEMPORARY.fullmatch(entry.name):
                with suppress(OSError):
                    _remove_if_dead(entry)


def _remove_if_dead(entry: os.DirEntry[str]) -> None:
    if sys.platform == "win32":
        _remove_if_old(entry)
        return
    with open(entry.path, "rb+") as file:  # for writing: NFS locks only such files
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # its writer is running
            return
        except OSError:
            _remove_if_old(entry)
            return
        os.unlink(entry.path)


def _remove_if_old(entry: os.DirEntry[str]) -> None:
    if time.time() - entry.stat().st_mtime > _STALE_S:
        os.unlink(entry.path)


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself survive a power cut; Windows cannot open a folder, and does not need it."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
