"""Connections that are not read from for a while: nobody would notice when their clients leave."""

import asyncio
import select


class Paused:
    """All of one process. Linux tells of clients that have left; elsewhere they stay until they are read from again."""

    def __init__(self):
        self._poll = select.poll() if hasattr(select, "POLLRDHUP") else None
        self._transports: dict[int, asyncio.Transport] = {}

    def add(self, transport: asyncio.Transport) -> int:
        """Takes note of a connection; the number that `remove` takes."""
        descriptor = transport.get_extra_info("socket").fileno()
        self._transports[descriptor] = transport
        if self._poll is not None:
            self._poll.register(descriptor, select.POLLRDHUP)
        return descriptor

    def remove(self, descriptor: int) -> None:
        """Forgets a connection that is read from again, or has ended."""
        if self._transports.pop(descriptor, None) is not None and self._poll is not None:
            self._poll.unregister(descriptor)

    def drop_gone(self) -> int:
        """Ends the connections whose clients have left; how many there were."""
        gone = [] if self._poll is None else [descriptor for descriptor, _ in self._poll.poll(0)]
        for descriptor in gone:
            transport = self._transports[descriptor]
            self.remove(descriptor)
            transport.abort()
        return len(gone)
