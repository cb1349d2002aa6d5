"""Sorting of names, in memory and on disk."""

import sqlite3
import tracemalloc

import numpy as np
import pytest

from lince.data.sources import sorting
from lince.data.sources.sorting import by_name
from lince.errors import DataError


@pytest.fixture(params=[10, 10_000])
def in_memory(request, monkeypatch: pytest.MonkeyPatch) -> int:
    """The most names in memory: fewer, and more than there are."""
    monkeypatch.setattr(sorting, "_IN_MEMORY", request.param)
    return request.param


@pytest.mark.usefixtures("in_memory")
def test_order_is_that_of_the_bytes():
    """Names of any bytes, of different lengths, also empty ones; equal names keep their order."""
    rng = np.random.default_rng(0)
    names = [bytes(rng.integers(0, 256, rng.integers(0, 4)).tolist()) for _ in range(500)]
    found = [(name, str(number).encode()) for number, name in enumerate(names)]
    assert sorted(found, key=lambda one: one[0]) == list(by_name(found))
    assert [] == list(by_name([]))


@pytest.mark.usefixtures("in_memory")
def test_an_error_while_names_are_read_comes_at_once():
    """A folder that cannot be listed is known before its first name is asked for."""

    def broken():
        yield from [(b"%d" % number, b"") for number in range(20)]
        raise PermissionError

    with pytest.raises(PermissionError):
        by_name(broken())


def test_memory_does_not_grow():
    """Python's own part of it: ten times as many names take no more."""

    def peak(count: int) -> int:
        tracemalloc.start()
        for _ in by_name((b"%012d" % (number * 7919 % count), b"f") for number in range(count)):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(400_000) < 1.2 * peak(40_000)


def test_a_full_disk_is_an_error(monkeypatch: pytest.MonkeyPatch):
    """With what to do about it."""

    class Full:
        def execute(self, _):
            raise sqlite3.OperationalError("database or disk is full")

        def close(self):
            pass

    monkeypatch.setattr(sorting, "_IN_MEMORY", 10)
    monkeypatch.setattr(sorting.sqlite3, "connect", lambda *_, **__: Full())
    with pytest.raises(DataError, match=r"could not be sorted on disk \(database or disk is full\). Free disk space"):
        by_name([(b"%d" % number, b"") for number in range(20)])
