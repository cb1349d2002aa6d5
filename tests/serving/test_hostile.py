"""A few of each kind of damaged, hostile and wrong request; `benchmarks/hostile_inputs.py` sends a thousand."""

from collections.abc import Iterator

import numpy as np
import pytest
from hostile_http import exchange, is_clear
from hostile_requests import KINDS, Input, encoded, heavy_pictures
from server_process import ServerProcess, running_server

SEEDS = range(3)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running_server() as server:
        yield server


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_input_gets_a_clear_4xx(server: ServerProcess, kind: str):
    """Never a 5xx, never silence: a code and a sentence."""
    for seed in SEEDS:
        status, answer = exchange(server.port, KINDS[kind](np.random.default_rng((seed, len(kind)))).to_bytes())
        assert is_clear(status, answer), (kind, seed, status, answer)


def test_a_good_picture_is_no_hostile_input(server: ServerProcess):
    """The check above can fail: a valid picture gets 200."""
    status, answer = exchange(server.port, Input(encoded(np.random.default_rng(0), "PNG")).to_bytes())
    assert (status, is_clear(status, answer)) == (200, False)


def test_memory_is_given_back(server: ServerProcess):
    """The heaviest pictures the limits allow need less than 600 MB, and leave less than 60 MB behind."""
    before = server.memory_bytes()
    for picture in heavy_pictures():
        assert exchange(server.port, picture.to_bytes())[0] == 200
    assert server.memory_bytes("VmHWM") < 600 * 2**20
    assert server.memory_bytes() < before + 60 * 2**20


def test_nothing_was_logged_as_a_bug(server: ServerProcess):
    """Bad input is the client's affair: no traceback."""
    exchange(server.port, KINDS["random"](np.random.default_rng(1)).to_bytes())
    assert "Traceback" not in server.log.read_text()
