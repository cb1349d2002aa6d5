"""Connections that are not read from for a while: why each of them is paused, and which clients have left meanwhile."""

import asyncio
import select
from collections.abc import Hashable

from uvicorn.protocols.http.flow_control import FlowControl


class PausableFlow(FlowControl):
    """uvicorn's switch for reading from one connection. Reading stays off as long as one of our reasons holds."""

    def __init__(self, transport: asyncio.Transport):
        super().__init__(transport)
        self._reasons: set[Hashable] = set()

    @property
    def held(self) -> bool:
        """Whether there is a reason not to read."""
        return bool(self._reasons)

    def hold(self, reason: Hashable) -> None:
        """Stops reading for a reason."""
        self._reasons.add(reason)
        self.pause_reading()

    def release(self, reason: Hashable) -> None:
        """Drops a reason; reads again when it was the last one."""
        self._reasons.discard(reason)
        self.resume_reading()

    def release_all(self) -> None:
        """Drops all reasons and reads again."""
        self._reasons.clear()
        self.resume_reading()

    def resume_reading(self) -> None:
        """As uvicorn's, which calls it too; does nothing while a reason holds."""
        if not self._reasons:
            super().resume_reading()


class PausedConnections:
    """The paused connections of one process. An event loop does not notice when a client leaves one of them.

    Linux reports such clients. On other systems their connections stay until they are read from again.
    """

    def __init__(self) -> None:
        self._poll = select.poll() if hasattr(select, "POLLRDHUP") else None
        self._transports: dict[int, asyncio.Transport] = {}

    def add(self, transport: asyncio.Transport) -> int:
        """Watches a connection; returns the number to pass to `remove`."""
        descriptor: int = transport.get_extra_info("socket").fileno()
        self._transports[descriptor] = transport
        if self._poll is not None:
            self._poll.register(descriptor, select.POLLRDHUP)
        return descriptor

    def remove(self, descriptor: int) -> None:
        """Forgets a connection that is read from again, or has ended."""
        if self._transports.pop(descriptor, None) is not None and self._poll is not None:
            self._poll.unregister(descriptor)

    def drop_gone(self) -> int:
        """Ends the connections whose clients have left; returns how many there were."""
        gone = [] if self._poll is None else [descriptor for descriptor, _ in self._poll.poll(0)]
        for descriptor in gone:
            transport = self._transports[descriptor]
            self.remove(descriptor)
            transport.abort()
        return len(gone)
