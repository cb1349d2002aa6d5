"""A .zip as a source of images, read in place: nothing in it is written to disk.

Its directory is read piece by piece, so that memory does not grow with the number of members: Python's `zipfile` keeps
a kilobyte of each.
"""

import hashlib
import os
import re
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from lince.data.sources.base import Entry, Member, is_litter, too_large
from lince.data.sources.sorting import Named, by_name
from lince.errors import DataError, ImageError
from lince.system.files import open_regular
from lince.text import printable

# The file ends with the central directory, then an optional zip64 record and its locator, then a record of 22 bytes and
# a comment. Source: PKWARE APPNOTE 6.3.10, sections 4.3.14 to 4.3.16.
_END, _END_BYTES, _MAX_COMMENT_BYTES = b"PK\x05\x06", 22, 65_535
_LOCATOR, _LOCATOR_BYTES = b"PK\x06\x07", 20
_RECORD64, _RECORD64_BYTES = b"PK\x06\x06", 56
_TAIL_BYTES = _RECORD64_BYTES + _LOCATOR_BYTES + _END_BYTES + _MAX_COMMENT_BYTES
# By the same, 4.3.12: signature, versions, flags, method, time, date, CRC-32, sizes packed and unpacked, lengths of
# name, extra fields and comment, disk, attributes, where the local header begins. 4.3.7: the local header.
_RECORD, _RECORD_START = struct.Struct("<4s2x2x2H2x2x3L3H2x2x4xL"), b"PK\x01\x02"
_HEADER, _HEADER_START = struct.Struct("<4s22x2H"), b"PK\x03\x04"
_STORED, _DEFLATED = 0, 8  # the two common methods (4.4.5)
# By the same (4.4.4, 4.5.3, 4.6.9): the flag of encryption; the extra fields with sizes of 64 bits, and with the name
# in UTF-8.
_ENCRYPTED, _SIZES_64, _UNICODE_PATH = 0x1, 0x0001, 0x7075
_IN_64_BITS, _LAST = 0xFFFFFFFF, 2**63 - 1  # no file reaches so far
_FACTS = struct.Struct("<q2QL2H")  # what is kept of a member while names are sorted


@dataclass(frozen=True)
class _Directory:
    """Where the central directory lies, and how far all offsets are from those that it states."""

    start: int
    size: int
    shift: int


class Archive:
    """The members of a .zip file."""

    def __init__(self, path: Path):
        self.name = printable(str(path))
        self._path = path
        self._lock = threading.Lock()  # threads move in the same file
        with ExitStack() as stack:
            try:
                self._file = stack.enter_context(open_regular(path))
                self._directory = _find_directory(self._file)
                self._stamp = _stamp(self._file, self._directory)
            except ValueError as error:  # of `rindex`
                raise _without_end(path) from error
            except (OSError, struct.error) as error:
                raise _not_a_zip(path, getattr(error, "strerror", None) or str(error)) from error
            stack.pop_all()

    def close(self) -> None:
        self._file.close()

    def walk(self) -> Iterator[Entry]:
        """Every member except hidden and system files, sorted by name within its folder."""
        before = b""
        for key, found in by_name(self._members()):
            offset, packed_bytes, size, crc, flags, method = _FACTS.unpack_from(found)
            parts, is_folder = _parts(found[_FACTS.size :])
            if parts and not any(is_litter(part) for part in parts if part != ".."):
                problem = None if is_folder else _problem(parts, flags, method, is_twice=key == before)
                member = Member(self._path, offset, packed_bytes, size, crc, is_packed=method == _DEFLATED)
                yield Entry("/".join(map(printable, parts)), member, problem, is_folder=is_folder)
            before = key

    def read(self, entry: Entry, limit_bytes: int) -> bytes:
        """The content of one member; see `Source`."""
        if entry.problem:
            raise ImageError("corrupt_image", entry.problem)
        assert isinstance(entry.key, Member)
        with self._lock:
            packed = _packed(self._file, entry.key, limit_bytes)
        return _unpacked(packed, entry.key, limit_bytes)

    def stamp(self) -> str:
        """SHA-256 (hex) of the archive's directory: name, CRC-32 and size of every member; one small read."""
        return self._stamp

    def _members(self) -> Iterator[Named]:
        """The parts of each member's path, as a key to sort by, and its facts with its name."""
        with open_regular(self._path) as file:  # a place of its own in the file
            file.seek(self._directory.start)
            left = self._directory.size
            while left >= _RECORD.size:
                record = file.read(_RECORD.size)
                if len(record) < _RECORD.size or not record.startswith(_RECORD_START):
                    raise _not_a_zip(self._path, "its directory is damaged")
                _, flags, method, crc, packed_bytes, size, *lengths, offset = _RECORD.unpack(record)
                more = file.read(sum(lengths))
                left -= len(record) + sum(lengths)
                if left < 0 or len(more) < sum(lengths):
                    raise _not_a_zip(self._path, "its directory is damaged")
                name, extra = more[: lengths[0]], more[lengths[0] : lengths[0] + lengths[1]]
                size, packed_bytes, offset = _in_64_bits(extra, size, packed_bytes, offset)
                name = _unicode_path(extra, name)
                offset = min(offset + self._directory.shift, _LAST)  # below 0 in a damaged archive
                facts = _FACTS.pack(offset, packed_bytes, size, crc, flags, method)
                yield "\0".join(_parts(name)[0]).encode(), facts + name


def read_member(member: Member, limit_bytes: int) -> bytes:
    """The content of one member, from its archive, which is opened for it.

    Raises:
        ImageError: it is damaged or too large.
        DataError: the archive cannot be read.
    """
    try:
        with open_regular(member.archive) as file:
            packed = _packed(file, member, limit_bytes)
    except OSError as error:
        raise DataError(f"{str(member.archive)!r} cannot be read ({error.strerror}).") from error
    return _unpacked(packed, member, limit_bytes)


def _packed(file: BufferedReader, member: Member, limit_bytes: int) -> bytes:
    """The bytes of a member as they lie in the archive."""
    if member.size > limit_bytes:
        raise too_large(limit_bytes)
    # Deflate makes incompressible bytes longer by five in each block of up to 65,535, and some programs write less.
    if member.packed_bytes > limit_bytes + limit_bytes // 100 + 1000:
        raise _damaged("it states more bytes packed than unpacked")
    try:
        file.seek(member.offset)
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size or not header.startswith(_HEADER_START):
            raise _damaged("its header is missing")
        _, *lengths = _HEADER.unpack(header)
        file.seek(sum(lengths), os.SEEK_CUR)
        packed = file.read(member.packed_bytes)
    except (OSError, ValueError, OverflowError) as error:  # an offset outside of the file
        raise _damaged(getattr(error, "strerror", None) or str(error)) from error
    if len(packed) < member.packed_bytes:
        raise _damaged("the archive ends before it")
    return packed


def _unpacked(packed: bytes, member: Member, limit_bytes: int) -> bytes:
    """Unpacks no more than the limit, whatever size the member states: a zip bomb stops here."""
    data = packed
    if member.is_packed:
        inflating = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = inflating.decompress(packed, min(member.size, limit_bytes) + 1)
        except zlib.error as error:
            raise _damaged(str(error)) from error
    if len(data) != member.size or zlib.crc32(data) != member.crc:
        raise _damaged("its size or checksum is not the stated one")
    return data


def _damaged(reason: str) -> ImageError:
    return ImageError("corrupt_image", f"It cannot be unpacked ({reason}). Make the archive again.")


def _in_64_bits(extra: bytes, *values: int) -> Iterator[int]:
    """Size, size packed and offset: those that do not fit into 32 bits are in an extra field, in this order."""
    field = _extra_field(extra, _SIZES_64)
    for value in values:
        if value == _IN_64_BITS and len(field) >= 8:
            [value] = struct.unpack_from("<Q", field)
            field = field[8:]
        yield value


def _parts(name: bytes) -> tuple[list[str], bool]:
    """The parts of a member's path, and whether it is a folder.

    Without the flag a name should be in code page 437, but `zip` on Linux and macOS writes UTF-8: valid UTF-8 is read
    as UTF-8. Each part is decoded by itself, so that a folder has one name whatever its files are called.
    """
    parts = _split(name)
    decoded = (part.decode("utf-8" if _is_utf8(part) else "cp437") for part in parts)
    return [part for part in decoded if part not in ("", ".")], parts[-1] == b""


def _split(name: bytes) -> list[bytes]:
    """The parts of a path. Some programs write backslashes; in Shift-JIS and GBK that byte is half of many letters."""
    return re.split(rb"[/\\]" if _is_utf8(name) or b"/" not in name else b"/", name)


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unicode_path(extra: bytes, name: bytes) -> bytes:
    """The name from its extra field, if there is one for this name; else the name."""
    field = _extra_field(extra, _UNICODE_PATH)
    return field[5:] if field[:5] == struct.pack("<BL", 1, zlib.crc32(name)) and field[5:] else name


def _extra_field(extra: bytes, wanted: int) -> bytes:
    """The content of the first field with this number; empty without one."""
    while len(extra) >= 4:
        tag, size = struct.unpack_from("<HH", extra)
        if tag == wanted:
            return extra[4 : 4 + size]
        extra = extra[4 + size :]
    return b""


def _problem(parts: list[str], flags: int, method: int, *, is_twice: bool) -> str | None:
    if ".." in parts:
        return "Its name leads out of the archive."
    if flags & _ENCRYPTED:
        return "It is encrypted. Expected an archive without a password."
    if method not in (_STORED, _DEFLATED):
        return f"It is compressed by method {method}. Expected deflate or none: make the archive again."
    if is_twice:
        return "The archive holds another file of the same name."
    return None


def _stamp(file: BufferedReader, directory: _Directory) -> str:
    file.seek(directory.start)
    return hashlib.file_digest(file, "sha256").hexdigest()  # in pieces, whatever size it states


def _find_directory(file: BufferedReader) -> _Directory:
    """Where the directory lies.

    It is found by its size, not by the offset in the archive, which is wrong where bytes precede the archive.

    Raises:
        ValueError: there is none. struct.error: it is truncated.
    """
    tail_at = max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES)
    file.seek(tail_at)
    tail = file.read()
    end = tail.rindex(_END)
    if tail.startswith(_LOCATOR, end - _LOCATOR_BYTES):
        end = tail.rindex(_RECORD64, 0, end)
        size, stated = struct.unpack_from("<2Q", tail, end + 40)
    else:
        size, stated = struct.unpack_from("<2L", tail, end + 12)
    start = tail_at + end - size
    if start < 0:
        raise struct.error("its directory is larger than the file")
    return _Directory(start, size, start - stated)


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
