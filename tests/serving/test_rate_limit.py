"""Token buckets: how many requests pass, who counts as one client, and how much is remembered."""

import pytest

from lince.serving import rate_limit
from lince.serving.rate_limit import RateLimit, client_name


@pytest.mark.parametrize(("rate", "burst"), [(1, 2), (10, 20), (7, 14), (0.1, 1), (1000, 2000)])
def test_two_seconds_worth_pass_at_once(rate: float, burst: int):
    """One request at least, whatever the rate; after the wait that is told, one more passes."""
    limit = RateLimit(rate)
    waits = [limit.wait_s("a", 100.0) for _ in range(burst + 1)]
    assert [0.0] * burst == waits[:-1]
    assert 1 / rate == pytest.approx(waits[-1])
    assert 0.0 == limit.wait_s("a", 100.0 + waits[-1])
    assert limit.wait_s("a", 100.0 + waits[-1]) > 0


def test_the_rate_holds_over_time():
    """A client that asks ten times as often gets what it may; refused requests cost it nothing."""
    limit = RateLimit(10)
    passed = sum(limit.wait_s("a", 100 + number / 100) == 0 for number in range(10_000))
    assert 20 + 10 * 100 == pytest.approx(passed, abs=1)


def test_clients_do_not_share_a_bucket():
    """One that has used up its own is nobody else's concern."""
    limit = RateLimit(1)
    assert [0, 0, True] == [limit.wait_s("a", 0), limit.wait_s("a", 0), limit.wait_s("a", 0) > 0]
    assert 0 == limit.wait_s("b", 0)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch):
    """Who asked least recently is forgotten, and not who asks all the time."""
    monkeypatch.setattr(rate_limit, "MAX_BUCKETS", 3)
    limit = RateLimit(1)
    for name in "abcabd":
        assert 0 == limit.wait_s(name, 0)
    assert limit.wait_s("a", 0) > 0
    assert 0 == limit.wait_s("c", 0)  # was forgotten: it would be its second request
    assert 0 == limit.wait_s("c", 0)
    assert 3 == len(limit._full_at)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "20010db800010002"),
        ("2001:db8:1:2::9", "20010db800010002"),
        ("fe80::1%eth0", "fe80000000000000"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("no:address", "no:address"),
        ("x" * 1000, "x" * 100),
        ("", ""),
    ],
)
def test_who_is_one_client(address: str, name: str):
    """A customer has a whole /64 of IPv6; an IPv4 address in the form of IPv6 is the same client."""
    assert name == client_name(address)
