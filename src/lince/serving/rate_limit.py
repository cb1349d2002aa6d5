"""Rate limits: a token bucket for each client, in bounded memory.

A bucket is one number, the time at which it will be full again ("generic cell rate algorithm").
Source: ITU-T Recommendation I.371, 2004, annex A.
"""

from collections import OrderedDict
from ipaddress import IPv6Address

MAX_BUCKETS = 10_000
"""Clients that are remembered; 2 MB. Who has asked least recently is forgotten first, and may ask again."""

_BURST_S = 2.0


class RateLimit:
    """At most `rate` requests a second for each name, and two seconds' worth of them at once."""

    def __init__(self, rate: float):
        """Args: rate: requests a second, above 0."""
        self._interval_s = 1 / rate
        self._burst_s = max(_BURST_S, self._interval_s)  # one request at least
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, name: str, now: float) -> float:
        """Counts one request.

        Args:
            name: whose request.
            now: seconds of a clock that never goes back.

        Returns:
            0 when the request may pass. Otherwise seconds until one may, and the request is not counted.
        """
        full_at = max(now, self._full_at.get(name, now)) + self._interval_s
        if (wait_s := full_at - now - self._burst_s) > 1e-9:  # rounding must not cost a request
            return wait_s
        self._full_at[name] = full_at
        self._full_at.move_to_end(name)
        if len(self._full_at) > MAX_BUCKETS:
            self._full_at.popitem(last=False)
        return 0.0


def client_name(address: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 that a provider gives to one customer of IPv6.

    Other text, which only a trusted proxy can send, counts as it is, cut to 100 characters.
    """
    if ":" not in address:
        return address[:100]
    try:
        found = IPv6Address(address)
    except ValueError:
        return address[:100]
    return str(found.ipv4_mapped or found.packed[:8].hex())
