"""A few of each kind of damaged, hostile and wrong request; `benchmarks/hostile_inputs.py` sends a thousand."""

from collections.abc import Iterator

import numpy as np
import pytest
from hostile_http import exchange, is_clear
from hostile_images import COSTLY, ORDINARY
from hostile_requests import KINDS, Input, encoded, heavy_pictures
from process_tree import Watch, cpu_s
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


@pytest.mark.parametrize("name", ORDINARY)
def test_everyday_picture_is_answered(server: ServerProcess, name: str):
    """No bound refuses what people have."""
    status, answer = exchange(server.port, Input(ORDINARY[name]()).to_bytes())
    assert status == 200, answer


@pytest.mark.parametrize("name", COSTLY)
def test_costly_picture_has_bounds(server: ServerProcess, name: str):
    """One second of CPU is the bound; three leave room for a busy machine's accounting, and faults cost minutes."""
    sent = Input(COSTLY[name]()).to_bytes()
    log, cpu = server.log.stat().st_size, cpu_s(server.process.pid)
    with Watch(server.process.pid) as watch:
        status, answer = exchange(server.port, sent)
    assert status == 200 or is_clear(status, answer), answer
    assert cpu_s(server.process.pid) - cpu < 3
    assert (watch.peak_share or watch.peak_resident) < 300 * 2**20
    assert server.log.stat().st_size - log < 64 * 2**10


def test_memory_is_given_back(server: ServerProcess):
    """The heaviest pictures the limits allow need less than 300 MB, children included, and leave 60 at most."""
    before = server.memory_bytes()
    with Watch(server.process.pid) as watch:
        for picture in heavy_pictures():
            assert exchange(server.port, picture.to_bytes())[0] == 200
    assert (watch.peak_share or watch.peak_resident) < 300 * 2**20
    assert server.memory_bytes() < before + 60 * 2**20


def test_nothing_was_logged_as_a_bug(server: ServerProcess):
    """Bad input is the client's affair: no traceback."""
    exchange(server.port, KINDS["random"](np.random.default_rng(1)).to_bytes())
    assert "Traceback" not in server.log.read_text()
