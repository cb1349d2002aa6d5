"""The program without a process of its own: hundreds of commands would start Python hundreds of times."""

import pytest

import in_process


@pytest.fixture(scope="session")
def lince():
    """`lince("inspect", path)`, in this process; `tests/end_to_end/` starts the installed program."""
    return in_process.lince
