"""TLS: the certificate, read again when it is renewed, and handshakes that are bounded in time and number."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from lince.errors import ServiceError
from lince.serving.reloaded_file import ReloadedFile
from lince.serving.settings import ServeSettings
from lince.system.files import read_bounded, reason_of

_MAX_BYTES = 2**20  # of a file; a chain of certificates has a few thousand
_MISMATCH = "KEY_VALUES_MISMATCH"
_SHUTDOWN_S = 5.0  # that a client may take to confirm the end, as `connection_close.LINGER_S`
_RETRY_S = 1.0  # after the system had no descriptor left, as asyncio
_log = logging.getLogger(__name__)

Certificate = ReloadedFile[ssl.SSLContext]
"""A certificate and its key, as contexts for new connections. Connections that are open keep theirs."""


def certificate(settings: ServeSettings) -> Certificate | None:
    """The certificate of the settings; None without TLS.

    Raises:
        ServiceError: the files cannot be read or used, or the key does not belong to the certificate.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    chain, key = settings.tls_cert, settings.tls_key
    return ReloadedFile(lambda: _context(chain, key), chain, key)


class TlsListener:
    """Accepts connections on a socket and makes the handshakes.

    asyncio would let any number of clients take any time for that.
    """

    def __init__(
        self,
        listener: socket.socket,
        connect: Callable[[], asyncio.Protocol],
        certificate: Certificate,
        *,
        timeout_s: float,
        most: int,
    ):
        """Starts to accept; called in an event loop.

        Args:
            listener: a socket that listens.
            connect: makes the protocol of a new connection, which begins after the handshake.
            certificate: for new connections.
            timeout_s: seconds that a handshake may take.
            most: handshakes at a time. One more connection is closed.
        """
        self._listener, self._connect, self._certificate = listener, connect, certificate
        self._timeout_s, self._most = timeout_s, most
        self._handshakes: set[asyncio.Task[None]] = set()
        listener.setblocking(False)
        self._accepting = asyncio.create_task(self._accept())

    @property
    def is_shaking(self) -> bool:
        """Whether a handshake is under way."""
        return bool(self._handshakes)

    async def close(self) -> None:
        """Accepts no more, and ends the handshakes that are under way. The listening socket stays open."""
        tasks = {self._accepting, *self._handshakes}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except ConnectionError:  # the client left before it was accepted
                continue
            except OSError as error:
                _log.error("A connection cannot be accepted (%s). Next try in %g s.", error.strerror, _RETRY_S)
                await asyncio.sleep(_RETRY_S)
                continue
            if len(self._handshakes) >= self._most:
                connection.close()
            else:
                task = asyncio.create_task(self._shake_hands(connection))
                self._handshakes.add(task)
                task.add_done_callback(self._handshakes.discard)
            await asyncio.sleep(0)  # connections that are open have their turn

    async def _shake_hands(self, connection: socket.socket) -> None:
        with suppress(OSError):  # the client has left, took too long or speaks no TLS: the connection is closed
            await asyncio.get_running_loop().connect_accepted_socket(
                self._connect,
                connection,
                ssl=self._certificate.value,
                ssl_handshake_timeout=self._timeout_s,
                ssl_shutdown_timeout=_SHUTDOWN_S,
            )


def _context(chain: Path, key: Path) -> ssl.SSLContext:
    for path in (chain, key):
        try:
            read_bounded(path, _MAX_BYTES)
        except OSError as error:
            raise ServiceError(f"File {str(path)!r} of TLS cannot be read ({reason_of(error)}).") from error

    def refuse_password() -> NoReturn:
        raise ServiceError(f"The key {str(key)!r} is encrypted. Remove its password: openssl pkey -in FILE -out FILE.")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # a client could make the server compute without a request
    try:
        context.load_cert_chain(chain, key, refuse_password)
    except OSError as error:  # ssl.SSLError is one
        if getattr(error, "reason", "") == _MISMATCH:
            raise ServiceError(f"The key {str(key)!r} does not belong to the certificate {str(chain)!r}.") from error
        raise ServiceError(
            f"{str(chain)!r} and {str(key)!r} cannot be used for TLS. Expected a certificate, with those of its "
            "issuers behind it, and its private key, both in PEM."
        ) from error
    return context
