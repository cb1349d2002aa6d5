"""The threads of OpenBLAS, which computes the matrix products of NumPy and SciPy."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# As the wheels of NumPy and SciPy name them, and as OpenBLAS itself does; {} is `get` or `set`.
_FUNCTIONS = ("scipy_openblas_{}_num_threads64_", "scipy_openblas_{}_num_threads", "openblas_{}_num_threads")
_LOADED = Path("/proc/self/maps")


@contextmanager
def one_thread() -> Iterator[None]:
    """Lets OpenBLAS use one thread meanwhile.

    Its threads wait for each other by spinning. Where another program keeps the cores busy, any product of vectors of
    10,000 numbers or more takes 8 ms, two time slices, instead of 3 µs. On systems other than Linux, and with another
    library than OpenBLAS, nothing is changed.
    """
    pools = list(_pools())
    before = [get() for get, _ in pools]
    try:
        for _, set_threads in pools:
            set_threads(1)
        yield
    finally:
        for (_, set_threads), count in zip(pools, before, strict=True):
            set_threads(count)


def _pools() -> Iterator[tuple[Callable[[], int], Callable[[int], None]]]:
    """How to read and to set the number of threads, for each copy of OpenBLAS in this process."""
    for path in _libraries():
        library = ctypes.CDLL(path)  # it is loaded already
        for name in _FUNCTIONS:
            if hasattr(library, name.format("set")):
                yield getattr(library, name.format("get")), getattr(library, name.format("set"))
                break


def _libraries() -> list[str]:
    try:
        lines = _LOADED.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    paths = {line.split(maxsplit=5)[5] for line in lines if "openblas" in line}
    return sorted(path for path in paths if Path(path).is_file())
