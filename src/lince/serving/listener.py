"""The socket on which the service listens, and how it is closed without breaking a connection."""

import asyncio
import ctypes
import os
import selectors
import socket
import struct
import sys
import time
from contextlib import suppress

from lince.errors import ServiceError
from lince.serving.errors import STOPPING, error_bytes
from lince.serving.settings import ServeSettings

BACKLOG = 1024  # connections that wait in the kernel, which has its own limit as well (4096 on Linux today)
_POLL_S = 0.01
_TURN_AWAY_S = 0.3  # part of the two seconds that a stop has after `shutdown_s`

# From Linux: a constant of asm-generic/socket.h, and a program as in linux/filter.h (code, jump if true, jump if false,
# value). The program sees each segment from its TCP header on. It drops those with SYN and without ACK, which open a
# new connection, and passes all others.
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
    """Opens a socket on the address. Clients that connect before the model is ready wait for it.

    Raises:
        ServiceError: the address cannot be listened on.
    """
    try:
        [family, _, _, _, address], *_ = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (UnicodeError, socket.gaierror) as error:  # UnicodeError: it cannot be encoded for a name service
        raise ServiceError(
            f"Setting 'host' received {settings.host!r}. Expected an address or a name of this machine. "
            "Correct --host or LINCE_HOST."
        ) from error
    except OSError as error:
        reason = os.strerror(error.errno or 0)  # the error's own text may name the address again
        raise ServiceError(
            f"Cannot listen on {settings.host}:{settings.port}: {reason}. Expected an address of this machine and a "
            "free port: correct --host, choose another port with --port, or stop the program that holds it."
        ) from error


def address(listener: socket.socket, *, tls: bool) -> str:
    """The URL of the service on this socket."""
    host, port = listener.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def refuse_new(listener: socket.socket) -> None:
    """Refuses new connections, for all processes that share the socket. Waiting ones can still be accepted.

    The kernel resets waiting connections when a listening socket is closed or shut down. On systems other than Linux,
    connections made between the last `accept` and the close are reset.
    """
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *instruction) for instruction in _DROP_NEW))
    with suppress(OSError):
        descriptor = struct.pack("@HP", len(_DROP_NEW), ctypes.addressof(program))
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, descriptor)


async def drain(listener: socket.socket, *, timeout_s: float) -> None:
    """Waits until the event loop, or another process, has accepted all waiting connections."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    while _has_waiting(listener) and loop.time() < end:
        await asyncio.sleep(_POLL_S)


def turn_away(listener: socket.socket, *, tls: bool) -> None:
    """Answers 503 to all waiting connections; called when no worker is left to accept them.

    Without a handshake nothing can be answered over TLS: those connections are closed.
    """
    refuse_new(listener)
    answer = b"" if tls else error_bytes("shutting_down", STOPPING, close=True)
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
    """Reads what the clients still send: unread bytes would reset a connection at its close, and lose the answer."""
    by_descriptor = {connection.fileno(): connection for connection in connections}
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
        while selector.get_map() and (left_s := end - time.monotonic()) > 0:
            for key, _ in selector.select(left_s):
                with suppress(OSError):
                    if by_descriptor[key.fd].recv(2**16):
                        continue
                selector.unregister(key.fileobj)


def _waiting(listener: socket.socket) -> list[socket.socket]:
    found: list[socket.socket] = []
    with suppress(OSError):
        listener.setblocking(False)
        while len(found) < BACKLOG:
            found.append(listener.accept()[0])
    return found


def _has_waiting(listener: socket.socket) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        return bool(selector.select(0))
