"""One request to an untrusted server, and its answer: limited in bytes and in time, and checked for its shape."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec

from lince import schema
from lince.errors import ServiceError
from lince.text import printable

_SHOWN_CHARACTERS = 300
_CHUNK_BYTES = 2**16
_Decoded = TypeVar("_Decoded")


def ask(
    url: str,
    method: str,
    path: str,
    *,
    limit_bytes: int,
    timeout_s: float,
    body: bytes | None = None,
    content_type: str | None = None,
) -> bytes:
    """Makes one request on a new connection.

    Args:
        url: address of the service, such as http://127.0.0.1:8000.
        method, path: of the request; the path is appended to that of the address.
        limit_bytes: the largest answer that is accepted.
        timeout_s: seconds to connect, and again for the whole exchange after it.
        body, content_type: of a POST.

    Returns:
        The content of an answer with status 200.

    Raises:
        ServiceError: there is no answer in time, or one with another status or with more bytes.
    """
    address = _address(url)
    is_secure = address.scheme == "https"
    make_connection = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
    connection = make_connection(address.hostname or "", address.port, timeout=timeout_s)
    headers = {"Accept": "application/json"} | ({"Content-Type": content_type} if content_type else {})
    try:
        connection.connect()
        with _deadline(connection.sock, timeout_s):
            connection.request(method, address.path.rstrip("/") + path, body, headers)
            response = connection.getresponse()
            status, content = response.status, _read(response, limit_bytes)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = shown(str(error)) or type(error).__name__
        message = (
            f"No answer from {url} ({reason}). Expected a running server: start `lince serve`, or correct the address."
        )
        raise ServiceError(message) from error
    finally:
        connection.close()
    if len(content) > limit_bytes:
        raise foreign(url, path, f"status {status}, more than {limit_bytes:,} bytes")
    return content if status == 200 else _refused(url, path, status=status, content=content)


def decode(url: str, path: str, content: bytes, kind: type[_Decoded]) -> _Decoded:
    """An answer's JSON as a dataclass: every type and range is checked, and unknown keys are skipped.

    Raises:
        ServiceError: it does not fit the dataclass.
    """
    try:
        return schema.from_json(content, kind)
    except schema.MisfitError as error:
        raise foreign(url, path, f"status 200, {str(error).rstrip('.')}") from error


def foreign(url: str, path: str, reason: str) -> ServiceError:
    """The error for a server whose answers are not Lince's."""
    expected = "Expected the address of a `lince serve` of this version."
    return ServiceError(f"{url}{path} does not answer as Lince does ({shown(reason)}). {expected}")


def shown(text: str) -> str:
    """A server's own text for a sentence: shortened, and with control characters escaped."""
    return printable(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…")


@contextmanager
def _deadline(connected: socket.socket, seconds: float) -> Iterator[None]:
    """Ends the connection after so many seconds: a socket's own timeout starts again with each byte received."""
    end = time.monotonic() + seconds
    timer = threading.Timer(seconds, _cut, [connected])
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, ValueError, http.client.HTTPException) as error:
        if time.monotonic() >= end:
            raise TimeoutError(f"timed out: no whole answer in {seconds:g} s") from error
        raise
    finally:
        timer.cancel()
    if time.monotonic() >= end:  # an answer that ends with the connection looks complete
        raise TimeoutError(f"timed out: no whole answer in {seconds:g} s")


def _cut(connected: socket.socket) -> None:
    with suppress(OSError):
        socket.socket.shutdown(connected, socket.SHUT_RDWR)  # not TLS's own method, which another thread is using


def _read(response: http.client.HTTPResponse, limit_bytes: int) -> bytes:
    """The answer, up to one byte more than the limit. Raises HTTPException when it ends early."""
    pieces, size = [], 0
    while size <= limit_bytes and (piece := response.read(min(_CHUNK_BYTES, limit_bytes + 1 - size))):
        pieces.append(piece)
        size += len(piece)
    if size <= limit_bytes and response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(pieces)


def _address(url: str) -> SplitResult:
    """Raises ServiceError: it is not the address of a server."""
    try:
        address = urlsplit(url)
        host = (address.hostname or "").encode("idna")
        if address.scheme in ("http", "https") and host and address.port != 0:
            return address
    except ValueError:  # a port that is not a number, half an IPv6 address, a host that is not valid in DNS
        pass
    raise ServiceError(f"Received {url!r}. Expected the address of a server, such as 'http://127.0.0.1:8000'.")


class _Said(msgspec.Struct):
    message: str


class _Error(msgspec.Struct):
    error: _Said


def _refused(url: str, path: str, *, status: int, content: bytes) -> bytes:
    """Always raises, with the server's own message where the answer has Lince's shape."""
    try:
        said = msgspec.json.decode(content, type=_Error).error.message
    except msgspec.ValidationError as error:
        raise foreign(url, path, f"status {status}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise foreign(url, path, f"status {status}, no JSON") from error
    raise ServiceError(f"{url}{path} answered with status {status}: {shown(said)}")
