"""A .zip as a source of images, read in place: nothing in it is written to disk."""

import hashlib
import os
import re
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from lince.data.sources.base import Entry, is_litter, too_large
from lince.errors import DataError, ImageError
from lince.system.files import open_regular
from lince.text import printable

# The file ends with the central directory, then an optional zip64 record and its locator, then a record of 22 bytes and
# a comment. Source: PKWARE APPNOTE 6.3.10, sections 4.3.14 to 4.3.16.
_END, _END_BYTES, _MAX_COMMENT_BYTES = b"PK\x05\x06", 22, 65_535
_LOCATOR, _LOCATOR_BYTES = b"PK\x06\x07", 20
_RECORD64, _RECORD64_BYTES = b"PK\x06\x06", 56
# The two common methods, which `zipfile` decompresses no further than requested. Of bzip2 and LZMA it decompresses all
# that it has read at once: 4 kB become 80 MB.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# By the same (4.4.4, 4.6.9): the flag of a name in UTF-8, and the extra field with the name in UTF-8.
_IS_UTF8, _UNICODE_PATH = 0x800, 0x7075
_TAIL_BYTES = _RECORD64_BYTES + _LOCATOR_BYTES + _END_BYTES + _MAX_COMMENT_BYTES


class Archive:
    """The members of a .zip file."""

    def __init__(self, path: Path):
        self.name = printable(str(path))
        self._path = path
        self._zip: zipfile.ZipFile | None = None
        # A ZipFile counts its open members without a lock. Decompressing is a fifth of an image's work (15 of 80 µs
        # for a 32 × 32 JPEG), so that the threads wait little for each other.
        self._lock = threading.Lock()
        self._stamp = _stamp(path)

    def close(self) -> None:
        if self._zip:
            self._zip.close()

    def walk(self) -> Iterator[Entry]:
        """Every member except hidden and system files, sorted by name within its folder."""
        before: list[str] = []
        for info in sorted(self._open().infolist(), key=_parts):
            parts = _parts(info)  # computed again, rather than keeping a million lists
            if parts and not any(is_litter(part) for part in parts if part != ".."):
                is_folder = _split(_name(info))[-1] == b""
                problem = None if is_folder else _problem(parts, info, before)
                yield Entry("/".join(map(printable, parts)), info, problem, is_folder=is_folder)
            before = parts

    def read(self, entry: Entry, limit_bytes: int) -> bytes:
        """The content of one member; see `Source`."""
        if entry.problem:
            raise ImageError("corrupt_image", entry.problem)
        info = cast(zipfile.ZipInfo, entry.key)  # of an entry that `walk` has made
        if info.file_size > limit_bytes:
            raise too_large(limit_bytes)
        try:
            with self._lock, self._open().open(info) as member:
                data = member.read(limit_bytes + 1)  # whatever size the member declares: a zip bomb stops here
        except Exception as error:  # zipfile raises many types on hostile members: zlib.error, struct.error, …
            message = f"It cannot be unpacked ({error or type(error).__name__}). Make the archive again."
            raise ImageError("corrupt_image", message) from error
        if len(data) > limit_bytes:
            raise too_large(limit_bytes)
        return data

    def stamp(self) -> str:
        """SHA-256 (hex) of the archive's directory: name, CRC-32 and size of every member; one small read."""
        return self._stamp

    def _open(self) -> zipfile.ZipFile:
        """Parses the directory when it is first needed (0.25 s for 58,000 members); a cached source never needs it."""
        if self._zip is None:
            try:
                self._zip = zipfile.ZipFile(self._path)
            except Exception as error:  # BadZipFile, and on hostile archives UnicodeDecodeError, struct.error, …
                raise _not_a_zip(self._path, str(error)) from error
        return self._zip


def _parts(info: zipfile.ZipInfo) -> list[str]:
    """The parts of a member's path. Names of members are decoded only here.

    Without the flag a name should be in code page 437, but `zip` on Linux and macOS writes UTF-8: valid UTF-8 is read
    as UTF-8. Each part is decoded by itself, so that a folder has one name whatever its files are called.
    """
    parts = (part.decode("utf-8" if _is_utf8(part) else "cp437") for part in _split(_name(info)))
    return [part for part in parts if part not in ("", ".")]


def _split(name: bytes) -> list[bytes]:
    """The parts of a path. Some programs write backslashes; in Shift-JIS and GBK that byte is half of many letters."""
    return re.split(rb"[/\\]" if _is_utf8(name) or b"/" not in name else b"/", name)


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _name(info: zipfile.ZipInfo) -> bytes:
    flag = info.flag_bits & _IS_UTF8
    raw = info.orig_filename.encode("utf-8" if flag else "cp437")  # as `zipfile` decoded it
    return _unicode_path(info.extra, raw)


def _unicode_path(extra: bytes, raw: bytes) -> bytes:
    """The name from its extra field, if there is one for this name; else the name.

    From Python 3.12 on, `zipfile` refuses an archive whose field is not in UTF-8, as it should be.
    """
    while len(extra) >= 4:
        tag, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if tag == _UNICODE_PATH and len(field) > 5 and field[:5] == struct.pack("<BL", 1, zlib.crc32(raw)):
            return field[5:]
    return raw


def _problem(parts: list[str], info: zipfile.ZipInfo, before: list[str]) -> str | None:
    if ".." in parts:
        return "Its name leads out of the archive."
    if info.flag_bits & 0x1:  # APPNOTE 4.4.4
        return "It is encrypted. Expected an archive without a password."
    if info.compress_type not in _METHODS:
        return f"It is compressed by method {info.compress_type}. Expected deflate or none: make the archive again."
    if parts == before:
        return "The archive holds another file of the same name."
    return None


def _stamp(path: Path) -> str:
    try:
        with open_regular(path) as file:
            tail_at = file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            file.seek(tail_at + _directory_offset(file.read()))
            return hashlib.file_digest(file, "sha256").hexdigest()  # in pieces, whatever size it declares
    except ValueError as error:  # of `rindex`
        raise _without_end(path) from error
    except (OSError, struct.error) as error:
        raise _not_a_zip(path, getattr(error, "strerror", None) or str(error)) from error


def _directory_offset(tail: bytes) -> int:
    """Where the directory starts, relative to the start of `tail`; usually negative.

    It is found by its size, not by the offset in the archive, which is wrong where bytes precede the archive.

    Raises:
        ValueError: there is none. struct.error: it is truncated.
    """
    end = tail.rindex(_END)
    if tail.startswith(_LOCATOR, end - _LOCATOR_BYTES):
        end = tail.rindex(_RECORD64, 0, end)
        [size] = struct.unpack_from("<Q", tail, end + 40)
    else:
        [size] = struct.unpack_from("<L", tail, end + 12)
    return end - int(size)


def _without_end(path: Path) -> DataError:
    """The error for an incomplete .zip, or for another file."""
    if path.suffix.lower() == ".zip":
        return _not_a_zip(path, "its end is missing")
    return DataError(
        f"{printable(str(path))!r} is a file and no zip archive. Expected a folder with a folder of images for each "
        "class, or a .zip of one; for single images: lince predict."
    )


def _not_a_zip(path: Path, reason: str) -> DataError:
    name, reason = printable(str(path)), printable(reason)
    return DataError(
        f"{name!r} is not a zip archive that can be read ({reason}). Expected a folder or a .zip of images."
    )
