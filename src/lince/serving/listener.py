"""The socket that a service listens on, and how it is given up without breaking a connection."""

import asyncio
import ctypes
import selectors
import socket
import struct
import sys
import time
from contextlib import suppress

from lince.errors import ServiceError
from lince.serving.errors import STOPPING
from lince.serving.settings import ServeSettings
from lince.serving.wire import error_bytes

BACKLOG = 1024  # connections the kernel holds for us; it caps them at its own limit (4096 on Linux today)
_POLL_S = 0.01
_TURN_AWAY_S = 0.3  # of the two seconds that a stop has after `shutdown_s`

# Of Linux: asm-generic/socket.h, and a program of linux/filter.h (code, jump if true, jump if false, value) that sees a
# segment from its TCP header on. It drops what has SYN set and ACK not, which is a new connection, and nothing else.
_SO_ATTACH_FILTER = 26
_LOAD_BYTE, _AND, _JUMP_IF_EQUAL, _RETURN = 0x30, 0x54, 0x15, 0x06
_FLAGS_AT, _SYN, _ACK = 13, 0x02, 0x10
_DROP_NEW = (
    (_LOAD_BYTE, 0, 0, _FLAGS_AT),
    (_AND, 0, 0, _SYN | _ACK),
    (_JUMP_IF_EQUAL, 0, 1, _SYN),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, 0xFFFFFFFF),
)


def listen(settings: ServeSettings) -> socket.socket:
    """A socket on the address; whoever connects before the model is ready waits for it.

    Raises:
        ServiceError: the address cannot be listened on.
    """
    try:
        [family, _, _, _, address], *_ = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except UnicodeError as error:  # a host that no name service takes
        raise ServiceError(
            f"Setting 'host' received {settings.host!r}. Expected an address or a name of this machine."
        ) from error
    except OSError as error:
        raise ServiceError(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}. "
            "Expected a free port of this machine: choose another with --port, or stop the program that holds it."
        ) from error


def address(listener: socket.socket) -> str:
    """Where it listens, as the address of a web page."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def refuse_new(listener: socket.socket) -> None:
    """Lets nobody else connect, in any process that shares the socket, while those who wait can still be accepted.

    The kernel resets whoever waits when a listening socket is closed or shut down. Elsewhere than on Linux, who
    connects between the last `accept` and the close is reset.
    """
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in _DROP_NEW))
    with suppress(OSError):
        descriptor = struct.pack("@HP", len(_DROP_NEW), ctypes.addressof(program))
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, descriptor)


async def until_nobody_waits(listener: socket.socket, *, timeout_s: float) -> None:
    """Waits until the event loop, or another process, has accepted everybody."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    while _somebody_waits(listener) and loop.time() < end:
        await asyncio.sleep(_POLL_S)


def turn_away(listener: socket.socket) -> None:
    """Answers 503 to whoever still waits, when no worker lives to do so."""
    refuse_new(listener)
    answer = error_bytes("shutting_down", STOPPING, close=True)
    waiting = _waiting(listener)
    for connection in waiting:
        with suppress(OSError):
            connection.setblocking(False)
            connection.send(answer)
            connection.shutdown(socket.SHUT_WR)
    _read_to_the_end(waiting, time.monotonic() + _TURN_AWAY_S)
    for connection in waiting:
        connection.close()


def _read_to_the_end(connections: list[socket.socket], end: float) -> None:
    """What is left unread when a connection is closed would reset it, and take the answer away."""
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
        while selector.get_map() and (left_s := end - time.monotonic()) > 0:
            for key, _ in selector.select(left_s):
                with suppress(OSError):
                    if key.fileobj.recv(2**16):
                        continue
                selector.unregister(key.fileobj)


def _waiting(listener: socket.socket) -> list[socket.socket]:
    found: list[socket.socket] = []
    with suppress(OSError):
        listener.setblocking(False)
        while len(found) < BACKLOG:
            found.append(listener.accept()[0])
    return found


def _somebody_waits(listener: socket.socket) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        return bool(selector.select(0))
