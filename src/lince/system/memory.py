"""How much memory a process keeps, and how much it may take. Linux with glibc; elsewhere nothing happens."""

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

_M_MMAP_THRESHOLD = -3  # from glibc's malloc.h


def return_freed() -> None:
    """Makes glibc give large blocks back when they are freed.

    By default it learns, from the first few, to keep them: 540 MB of a few 25-megapixel pictures stayed for good, and
    15 MB do with this. Other systems' C libraries have no such option and no such habit.
    """
    if sys.platform == "linux":
        with suppress(AttributeError):  # musl
            ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 2**17)


def limit_growth(growth_bytes: int) -> None:
    """Lets the process take so many bytes more than it has; what goes beyond is a MemoryError."""
    if sys.platform == "linux":
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + growth_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
