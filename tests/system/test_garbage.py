"""Garbage is not looked for during a pause, and is again after it."""

import gc

import pytest

from lince.system import garbage


def test_nothing_is_collected_in_a_pause():
    """Also after one that an error ends."""
    with garbage.paused():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), garbage.paused():
        _ = 1 / 0
    assert gc.isenabled()


def test_what_stays_after_a_start_is_not_looked_at_again():
    """Collections go on for everything newer."""
    with garbage.paused():
        kept = [[number] for number in range(1000)]
        garbage.settle()
        assert gc.isenabled()
        try:
            assert gc.get_freeze_count() > len(kept)
        finally:
            gc.unfreeze()
