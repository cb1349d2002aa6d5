"""A reader of untrusted flatbuffers: every offset is checked before the bytes at its target are read.

LiteRT does not check offsets: byte 20 of a model file, set to 0, ended the process with SIGSEGV. The readers that
flatbuffers generates for Python do not check them either. The rules are those of the format (FlatBuffers Internals,
https://flatbuffers.dev/internals/): a table points back to its vtable, which says where in the table each field lies.
"""

import struct
from collections.abc import Mapping

import numpy as np

from lince.errors import WRITE_AGAIN, ModelFileError

Slots = Mapping[str, tuple[int, str]]
"""The fields that a table may have, by name: their number in the schema and `struct`'s letter for their type."""

OFFSET = "I"
"""The type of a field that points to a table, a vector or a string."""

_MAX_TEXT_BYTES = 2**12
_MAX_VTABLE_BYTES = 4 + 2 * 32  # the largest table of LiteRT's schema, `Operator`, has 14 fields


def refusal(reason: str) -> ModelFileError:
    """The error of a network that is refused, with what is wrong with it."""
    return ModelFileError(
        f"its network cannot be trusted: {reason}. Expected a network as Lince writes it. {WRITE_AGAIN}"
    )


class Table:
    """A table of a flatbuffer. Its fields all lie within the data; a field that is not in `slots` is refused."""

    def __init__(self, data: bytes, position: int, slots: Slots, what: str):
        self._data, self._position, self._slots, self._what = data, position, slots, what
        vtable = position - self._unpack("i", position)
        size, inline = self._unpack("H", vtable), self._unpack("H", vtable + 2)
        if (
            not 4 <= size <= _MAX_VTABLE_BYTES
            or size % 2
            or inline < 4
            or vtable + size > len(data)
            or position + inline > len(data)
        ):
            raise self._refusal()
        entries = struct.unpack_from(f"<{(size - 4) // 2}H", data, vtable + 4)
        self._places = {slot: position + entry for slot, entry in enumerate(entries) if entry}
        formats = dict(slots.values())
        for slot, place in self._places.items():
            if slot not in formats:
                raise refusal(f"{what} has field {slot}, which Lince never writes")
            width = struct.calcsize(formats[slot])
            if not position + 4 <= place <= position + inline - width or place % width:
                raise self._refusal()

    @classmethod
    def empty(cls, slots: Slots, what: str) -> "Table":
        """A table without fields: every number has its default, and everything else is absent."""
        offset_to_vtable = vtable_bytes = table_bytes = 4
        return cls(struct.pack("<HHi", vtable_bytes, table_bytes, offset_to_vtable), 4, slots, what)

    def number(self, name: str, default: int = 0) -> int:
        """A number. A field that is not written has the schema's default."""
        slot, letter = self._slots[name]
        place = self._places.get(slot)
        return default if place is None else self._unpack(letter, place)

    def numbers(self, name: str, dtype: str) -> np.ndarray | None:
        """A vector of numbers, as a view of the data; None when it is absent."""
        place = self._target(name)
        if place is None:
            return None
        kind = np.dtype(dtype)
        return np.frombuffer(self._data, kind, self._count(place, kind.itemsize), place + 4)

    def text(self, name: str) -> str | None:
        """A string; None when it is absent. LiteRT reads to a zero byte, which must be behind it, and not within."""
        place = self._target(name)
        if place is None:
            return None
        start, count = place + 4, self._count(place, 1)
        if count > _MAX_TEXT_BYTES or self._data[start + count : start + count + 1] != b"\0":
            raise self._refusal()
        text = self._data[start : start + count]
        try:
            decoded = text.decode()
        except UnicodeDecodeError as error:
            raise refusal(f"{self._what} has a {name} that is not UTF-8") from error
        if "\0" in decoded:
            raise self._refusal()
        return decoded

    def table(self, name: str, slots: Slots, what: str) -> "Table | None":
        """The table that a field points to; None when it is absent."""
        place = self._target(name)
        return None if place is None else Table(self._data, place, slots, what)

    def tables(self, name: str, slots: Slots, what: str, *, most: int) -> list["Table"]:
        """The tables of a vector, at most `most`; none when the vector is absent."""
        place = self._target(name)
        if place is None:
            return []
        count = self._count(place, 4)
        if count > most:
            raise refusal(f"{self._what} has {count:,} {name}, more than {most:,}")
        places = range(place + 4, place + 4 + 4 * count, 4)
        return [Table(self._data, at + self._unpack("I", at), slots, f"{what} {i}") for i, at in enumerate(places)]

    def _target(self, name: str) -> int | None:
        place = self._places.get(self._slots[name][0])
        return None if place is None else place + self._unpack(OFFSET, place)

    def _count(self, place: int, size: int) -> int:
        """The number of elements of the vector at this place; all of them lie within the data."""
        count = self._unpack("I", place)
        if place + 4 + count * size > len(self._data) or place % 4 or (place + 4) % size:
            raise self._refusal()
        return count

    def _unpack(self, letter: str, place: int) -> int:
        if place < 0:
            raise self._refusal()
        try:
            [number] = struct.unpack_from(f"<{letter}", self._data, place)
        except struct.error as error:
            raise self._refusal() from error
        return int(number)

    def _refusal(self) -> ModelFileError:
        return refusal(f"{self._what} points out of bounds")


def root(data: bytes, slots: Slots, what: str) -> Table:
    """The first table of a flatbuffer.

    Raises:
        ModelFileError: it points out of the data, or has a field that is not in `slots`.
    """
    if len(data) < 8:
        raise refusal(f"{what} points out of bounds")
    return Table(data, struct.unpack_from("<I", data)[0], slots, what)
