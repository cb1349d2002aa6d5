"""Reading flatbuffer tables that nobody vouches for: every offset is checked before what it leads to is read.

LiteRT follows offsets as they come: byte 20 of a model file set to 0 ended the process with SIGSEGV. The readers that
flatbuffers generates for Python do not check them either. The rules are those of the format (FlatBuffers Internals,
https://flatbuffers.dev/internals/): a table points back to its vtable, which says where in the table each field lies.
"""

import struct
from collections.abc import Mapping

import numpy as np

from lince.errors import ModelFileError

Slots = Mapping[str, tuple[int, str]]
"""The fields that a table may have, by name: number in the schema, and `struct`'s letter; `OFFSET` leads elsewhere."""

OFFSET = "I"
_MAX_TEXT_BYTES = 2**12
_MAX_VTABLE_BYTES = 4 + 2 * 32  # the largest table of LiteRT's schema, `Operator`, has 14 fields


def refusal(reason: str) -> ModelFileError:
    """The one sentence for all that is wrong with a network."""
    return ModelFileError(
        f"its network cannot be trusted: {reason}. Expected a network as Lince writes it: export the file again."
    )


class Table:
    """A table whose fields all lie within the data; a field that `slots` lacks is refused."""

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

    def number(self, name: str, default: int = 0) -> int:
        """A number; the default is the schema's, which is not written."""
        slot, letter = self._slots[name]
        place = self._places.get(slot)
        return default if place is None else self._unpack(letter, place)

    def numbers(self, name: str, dtype: str) -> np.ndarray | None:
        """A vector of numbers, a view of the data; None where there is none."""
        place = self._target(name)
        if place is None:
            return None
        kind = np.dtype(dtype)
        return np.frombuffer(self._data, kind, self._count(place, kind.itemsize), place + 4)

    def text(self, name: str) -> str | None:
        """A string; LiteRT reads on until a zero byte, so there must be one behind it, and none before."""
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
        """The table that a field leads to; None where there is none."""
        place = self._target(name)
        return None if place is None else Table(self._data, place, slots, what)

    def tables(self, name: str, slots: Slots, what: str, *, most: int) -> list["Table"]:
        """The tables of a vector, `most` at the most; none where there is no vector."""
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
        """The elements of the vector there, which all lie within the data."""
        count = self._unpack("I", place)
        if place + 4 + count * size > len(self._data) or place % 4 or (place + 4) % size:
            raise self._refusal()
        return count

    def _unpack(self, letter: str, place: int) -> int:
        try:
            return struct.unpack_from(f"<{letter}", self._data, place)[0] if place >= 0 else self._out_of_bounds()
        except struct.error as error:
            raise self._refusal() from error

    def _out_of_bounds(self) -> int:
        raise self._refusal()

    def _refusal(self) -> ModelFileError:
        return refusal(f"{self._what} leads out of bounds")


def root(data: bytes, slots: Slots, what: str) -> Table:
    """The table that a flatbuffer begins with.

    Raises:
        ModelFileError: it leads out of the data, or has a field that it may not have.
    """
    if len(data) < 8:
        raise refusal(f"{what} leads out of bounds")
    return Table(data, struct.unpack_from("<I", data)[0], slots, what)
