"""The threads of OpenBLAS: one meanwhile, and as many as before afterwards."""

import sys

import numpy as np
import pytest

from lince.system import blas


def counts() -> list[int]:
    """The number of threads of each copy of OpenBLAS in this process."""
    return [get() for get, _ in blas._pools()]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not list the libraries of a process there")
def test_one_thread_meanwhile():
    """Products are the same, and the number of threads is what it was, also after an error."""
    matrix = np.arange(9.0).reshape(3, 3)
    for _, set_threads in blas._pools():
        set_threads(2)
    before = counts()
    assert before
    expected = matrix @ matrix
    with blas.one_thread():
        assert [1] * len(before) == counts()
        np.testing.assert_array_equal(expected, matrix @ matrix)
    assert before == counts()
    with pytest.raises(KeyError), blas.one_thread():
        raise KeyError
    assert before == counts()


def test_system_without_a_list_of_libraries(tmp_path, monkeypatch):
    """Nothing is changed there."""
    monkeypatch.setattr(blas, "_LOADED", tmp_path / "missing")
    with blas.one_thread():
        assert [] == counts()
