"""A process that may take only so much more memory."""

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
