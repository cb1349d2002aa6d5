"""What a source is: its entries, their names, and how they are read."""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lince.errors import ImageError
from lince.images import EXTENSIONS

# Image formats that are found in class folders and that Lince does not read. (Some are PNGs with a rare suffix.) Each
# such file is tried, and listed as left out with the formats that are read; skipping it would hide the problem.
_OTHER_PICTURES = frozenset(
    {".heic", ".heif", ".hif", ".heics", ".avifs", ".jxl", ".jp2", ".j2k", ".jpx", ".svg", ".psd", ".xcf", ".ico"}
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".ppm", ".pgm", ".pbm", ".pnm", ".tga"}
    | {".apng", ".srw", ".x3f", ".iiq", ".3fr", ".dcm", ".exr", ".dds", ".eps", ".jxr", ".qoi", ".pcx"}
)
_LITTER = frozenset({"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "@eadir"})


@dataclass(frozen=True, slots=True)
class Member:
    """Where an archive holds the bytes of one file, by its directory.

    Attributes:
        archive: its path.
        offset: of the member's header in the archive.
        packed_bytes, size: its bytes there, and unpacked.
        crc: CRC-32 of the unpacked bytes.
        is_packed: whether they are packed, by deflate.
    """

    archive: Path
    offset: int
    packed_bytes: int
    size: int
    crc: int
    is_packed: bool


@dataclass(frozen=True, slots=True)  # a million of them: 64 bytes each instead of 170
class Entry:
    """One file or folder of a source.

    Attributes:
        path: inside the source, parts joined by "/", printable.
        key: how the source finds it: a path, or the archive's member.
        problem: why it cannot be read, where that is known beforehand.
        is_folder: folders are listed too, so that an empty class is noticed.
    """

    path: str
    key: str | Member
    problem: str | None = None
    is_folder: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.path.split("/"))

    @property
    def is_image(self) -> bool:
        """Whether the name is that of an image; `images.decode` finds out what the file really is."""
        suffix = posixpath.splitext(self.path)[1].lower()
        return not self.is_folder and (suffix in EXTENSIONS or suffix in _OTHER_PICTURES)

    @property
    def is_wanted(self) -> bool:
        """Whether it is an image to read, or a folder that cannot be listed and may hold images."""
        return self.is_image or (self.is_folder and self.problem is not None)


class Source(Protocol):
    """A folder tree or an archive; `name` is for messages."""

    name: str

    def walk(self) -> Iterator[Entry]:
        """Every entry except hidden and system files, sorted by name within its folder."""

    def read(self, entry: Entry, limit_bytes: int) -> bytes:
        """The content of one file; safe to call from several threads.

        Raises:
            ImageError: when the file itself is bad: too large, encrypted, damaged.
            DataError: when it could not be reached; another attempt may succeed.
        """

    def stamp(self) -> str:
        """SHA-256 (hex) that changes when the content does, found without reading the content."""


def is_litter(name: str) -> bool:
    """Whether one part of a path is hidden, or of a file that operating systems create."""
    return name.startswith(".") or name.lower() in _LITTER


def too_large(limit_bytes: int) -> ImageError:
    """The error for a file with more than `limit_bytes`."""
    message = f"The file has more than {limit_bytes:,} bytes. Expected at most that in one image: scale it down."
    return ImageError("image_too_large", message)
