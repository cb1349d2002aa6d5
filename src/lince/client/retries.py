"""Whether a request is made again, and when. Predictions change nothing on the server, so each may be repeated."""

import re
from dataclasses import dataclass

from lince.client.answers import Reply

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
_BUSY = (429, 503)  # too many requests of this client, or of all


@dataclass(frozen=True)
class Retries:
    """Exponential backoff with jitter.

    Attributes:
        most: how many times a request may be made again.
    """

    most: int

    def pause_s(self, attempt: int, reply: Reply | None, *, left_s: float, jitter: float) -> float | None:
        """Seconds to wait before the next attempt.

        Args:
            attempt: how many have failed before this one.
            reply: its answer; None when the connection failed before there was a whole one.
            left_s: seconds that are left for all attempts.
            jitter: drawn from 0..1, so that clients that failed together do not come back together.

        Returns:
            The pause; None for no further attempt. A server is not asked earlier than it says.
        """
        if attempt >= self.most or (reply is not None and reply.status not in _BUSY):
            return None
        backoff_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**attempt) * (1 + jitter) / 2
        pause_s = backoff_s + (_seconds(reply.retry_after) if reply is not None else 0)
        return pause_s if pause_s < left_s else None


def _seconds(retry_after: str | None) -> int:
    """Of the header Retry-After. A date is not understood, and the backoff counts alone."""
    return int(retry_after) if retry_after and re.fullmatch(r"[0-9]{1,9}", retry_after) else 0
