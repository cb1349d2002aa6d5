"""Damage to bytes and to JSON, drawn from a seed."""

import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_LEAVES = (None, True, -1, 0, 32.0, 1e308, 2**63, 10**30, "", "x" * 5_000, "32", [], {}, [[]], "\ud800", "\0")
_LITERALS = ("NaN", "Infinity", "-Infinity", "1e999", "-0", "1" * 5_000, "[" * 5_000, '{"a":' * 5_000, "\xff", "")


def mutant(sources: Sequence[bytes], rng: np.random.Generator) -> bytes:
    """One of the sources, damaged one to four times."""
    data = bytearray(sources[rng.integers(len(sources))])
    for _ in range(int(rng.integers(1, 5))):
        damage = _DAMAGES[rng.integers(len(_DAMAGES))]
        data = damage(data, rng, sources[rng.integers(len(sources))])
    return bytes(data)


def _place(data: bytearray, rng: np.random.Generator) -> int:
    """A random position; in half of the cases near the beginning, where headers are."""
    end = min(len(data), 128) if rng.integers(2) else len(data)
    return int(rng.integers(end + 1))


def _truncate(data: bytearray, rng: np.random.Generator, _: bytes) -> bytearray:
    return data[: _place(data, rng)]


def _flip(data: bytearray, rng: np.random.Generator, _: bytes) -> bytearray:
    for _ in range(int(rng.integers(1, 9))):
        if data:
            data[_place(data, rng) % len(data)] ^= 1 << int(rng.integers(8))
    return data


def _number(data: bytearray, rng: np.random.Generator, _: bytes) -> bytearray:
    """A boundary value, in either byte order."""
    layout = ("<B", "<H", ">H", "<I", ">I")[rng.integers(5)]
    number = _NUMBERS[rng.integers(len(_NUMBERS))] & (256 ** struct.calcsize(layout) - 1)
    where = _place(data, rng)
    data[where : where + struct.calcsize(layout)] = struct.pack(layout, number)
    return data


def _insert(data: bytearray, rng: np.random.Generator, _: bytes) -> bytearray:
    where = _place(data, rng)
    data[where:where] = rng.bytes(int(rng.integers(1, 65)))
    return data


def _remove(data: bytearray, rng: np.random.Generator, _: bytes) -> bytearray:
    where = _place(data, rng)
    del data[where : where + int(rng.integers(1, 65))]
    return data


def _duplicate(data: bytearray, rng: np.random.Generator, _: bytes) -> bytearray:
    """Repeats a part of the bytes up to twenty times."""
    where, length = _place(data, rng), int(rng.integers(1, 257))
    piece = data[where : where + length]
    data[where:where] = piece * int(rng.integers(1, 21))
    return data


def _splice(data: bytearray, rng: np.random.Generator, other: bytes) -> bytearray:
    return data[: _place(data, rng)] + other[_place(bytearray(other), rng) :]


_DAMAGES = (_truncate, _flip, _flip, _number, _number, _insert, _remove, _duplicate, _splice)


def with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have correct checksums again, so that a reader continues after them."""
    repaired, where = bytearray(data), 8
    while where + 12 <= len(repaired):
        end = where + 8 + int.from_bytes(repaired[where : where + 4], "big")
        if end + 4 > len(repaired):
            break
        repaired[end : end + 4] = struct.pack(">I", zlib.crc32(repaired[where + 4 : end]))
        where = end + 4
    return bytes(repaired)


def json_mutant(value: Any, rng: np.random.Generator) -> bytes:
    """A value with one to three leaves replaced, or a literal in the text that Python would not write."""
    for _ in range(int(rng.integers(1, 4))):
        value = _replaced(value, rng)
    text = json.dumps(value)
    if rng.integers(3) == 0:
        where = int(rng.integers(len(text) + 1))
        text = text[:where] + _LITERALS[rng.integers(len(_LITERALS))] + text[where + int(rng.integers(6)) :]
    return text.encode("utf-8", "surrogatepass")


def _replaced(value: Any, rng: np.random.Generator) -> Any:
    if not isinstance(value, dict | list) or not value or rng.integers(8) == 0:
        return _LEAVES[rng.integers(len(_LEAVES))]
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[rng.integers(len(keys))]
    copied = value.copy()
    if rng.integers(10) == 0:
        del copied[key]
    else:
        copied[key] = _replaced(copied[key], rng)
    return copied
