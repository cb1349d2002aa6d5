"""A log line for what a client can cause as often as it likes."""

import logging
import time

_INTERVAL_S = 1.0


class OccasionalLog:
    """Writes at most one warning a second, with the number of those that were left out before it."""

    def __init__(self, logger: logging.Logger):
        self._logger = logger
        self._next_s = 0.0
        self._left_out = 0

    def warn(self, message: str, *arguments: object) -> None:
        """Logs the message, or counts it."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            self._left_out += 1
            return
        others = f" ({self._left_out:,} like it in the time before)" if self._left_out else ""
        self._logger.warning(message + "%s", *arguments, others)
        self._next_s, self._left_out = now_s + _INTERVAL_S, 0
