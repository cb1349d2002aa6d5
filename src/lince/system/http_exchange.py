"""One request to a server that is not trusted, and its answer: bounded in bytes, in time and in shape."""

import http.client
import re
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

_SHOWN_CHARACTERS = 300
_CHUNK_BYTES = 2**16
_HARMFUL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
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
    """One request on a connection of its own.

    Args:
        url: address of the service, such as http://127.0.0.1:8000.
        method, path: of the request; the path goes behind that of the address.
        limit_bytes: the most that an answer may have.
        timeout_s: seconds to connect, and again for everything after it, however busily the server sends.
        body, content_type: of a POST.

    Returns:
        The content of an answer with status 200.

    Raises:
        ServiceError: nobody answers there in time, or with another status, or with more bytes.
    """
    address = _address(url)
    secure = address.scheme == "https"
    make_connection = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = make_connection(address.hostname, address.port, timeout=timeout_s)
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
    """An answer's JSON as a dataclass: every type and range in it is checked, and what it does not name is skipped.

    Raises:
        ServiceError: it is of another shape.
    """
    try:
        return schema.from_json(content, kind)
    except schema.MisfitError as error:
        raise foreign(url, path, f"status 200, {str(error).rstrip('.')}") from error


def foreign(url: str, path: str, reason: str) -> ServiceError:
    """For a server that answers as no Lince does."""
    expected = "Expected the address of a `lince serve` of this version."
    return ServiceError(f"{url}{path} does not answer as Lince does ({shown(reason)}). {expected}")


def shown(text: str) -> str:
    """A server's own words for a sentence: not endless, and nothing in them moves the cursor of a terminal."""
    text = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
    return _HARMFUL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


@contextmanager
def _deadline(connected: socket.socket, seconds: float) -> Iterator[None]:
    """Cuts the connection after that time: a socket's own timeout begins anew with each byte that comes."""
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
    if time.monotonic() >= end:  # what ends with the connection looks whole
        raise TimeoutError(f"timed out: no whole answer in {seconds:g} s")


def _cut(connected: socket.socket) -> None:
    with suppress(OSError):
        socket.socket.shutdown(connected, socket.SHUT_RDWR)  # not TLS's own, which another thread is using


def _read(response: http.client.HTTPResponse, limit_bytes: int) -> bytes:
    """At most one byte more than the limit. Raises HTTPException when the answer ends early."""
    pieces, size = [], 0
    while size <= limit_bytes and (piece := response.read(min(_CHUNK_BYTES, limit_bytes + 1 - size))):
        pieces.append(piece)
        size += len(piece)
    if size <= limit_bytes and response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(pieces)


def _address(url: str) -> SplitResult:
    try:
        address = urlsplit(url)
        valid = address.scheme in ("http", "https") and address.hostname and address.port != 0
        valid = valid and address.hostname.encode("idna")
    except ValueError:  # a port that is not a number, half an IPv6 address, a host that no name service takes
        valid = False
    if not valid:
        raise ServiceError(f"Received {url!r}. Expected the address of a server, such as 'http://127.0.0.1:8000'.")
    return address


class _Said(msgspec.Struct):
    message: str


class _Error(msgspec.Struct):
    error: _Said


def _refused(url: str, path: str, *, status: int, content: bytes) -> bytes:
    """Always raises, with the server's own words where they are of Lince's shape."""
    try:
        said = msgspec.json.decode(content, type=_Error).error.message
    except msgspec.ValidationError as error:
        raise foreign(url, path, f"status {status}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise foreign(url, path, f"status {status}, no JSON") from error
    raise ServiceError(f"{url}{path} answered with status {status}: {shown(said)}")
