"""A process that may take only so much more memory, and returns what it has freed."""

import platform
import subprocess
import sys

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
@pytest.mark.parametrize(("wanted_mb", "outcome"), [(10, "taken"), (200, "MemoryError")])
def test_growth_is_limited(wanted_mb: int, outcome: str):
    """What fits is given, what does not is an exception and no crash."""
    program = f"""
from lince.system import memory
memory.limit_growth(100 * 2**20)
try:
    bytearray({wanted_mb} * 2**20)
    print("taken")
except MemoryError:
    print("MemoryError")
"""
    assert outcome == subprocess.check_output([sys.executable, "-c", program], text=True).strip()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries return memory by other rules")
def test_trim_returns_what_was_freed():
    """160 MB in blocks of 8 MB stay in the process when they are freed, and do not after the call."""
    program = """
import os
from lince.system import memory
def resident(): return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
before = resident()
first = b"x" * (16 * 2**20)
del first  # glibc now keeps blocks of this size
blocks, kept = [], []
for _ in range(20):
    blocks.append(b"x" * (8 * 2**20))
    kept.append(b"y" * 100_000)
blocks.clear()
print(resident() - before)
memory.trim()
print(resident() - before)
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    freed, returned = map(float, found.stdout.split())
    assert freed > 120
    assert returned < 40
