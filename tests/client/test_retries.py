"""When a request is made again."""

import pytest

from lince.client.answers import Reply
from lince.client.retries import Retries


def pause_s(attempt: int, reply: Reply | None, *, left_s: float = 100.0, jitter: float = 1.0) -> float | None:
    return Retries(9).pause_s(attempt, reply, left_s=left_s, jitter=jitter)


def test_pauses_double_up_to_five_seconds():
    """The longest ones, which the jitter can halve."""
    pauses = [pause_s(attempt, None) for attempt in range(8)]
    assert [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0] == pauses
    assert [0.1, 2.5] == [pause_s(0, None, jitter=0), pause_s(7, None, jitter=0)]


@pytest.mark.parametrize("status", [200, 400, 401, 404, 408, 413, 422, 500, 502])
def test_other_statuses_are_answers(status: int):
    """Only 429 and 503 say that the same request may be answered later."""
    assert pause_s(0, Reply(status, b"", "1")) is None


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_waited_for(status: int):
    """The pause is longer than the header says, by the backoff."""
    assert [0.2, 7.2] == [pause_s(0, Reply(status, b"")), pause_s(0, Reply(status, b"", "7"))]


@pytest.mark.parametrize("header", ["", "x", "-1", "1.5", "9" * 5000, "Fri, 27 Nov 2026 08:00:00 GMT", "²"])
def test_a_header_that_is_no_number_is_ignored(header: str):
    """The backoff counts alone."""
    assert pause_s(0, Reply(503, b"", header)) == 0.2


def test_it_ends():
    """After the number of retries, and where the pause would take longer than the time that is left."""
    assert pause_s(9, None) is None
    assert pause_s(0, Reply(503, b"", "100")) is None
    assert pause_s(0, None, left_s=0.1) is None
