"""Reads the encoded images of a request's body, within limits and in memory. Nothing is decoded here.

Bytes are counted as they arrive, because Content-Length may be wrong or absent. Forms are parsed while they arrive, so
that one part too many or a wrong field ends the request at once. Nothing is written to disk.
"""

import asyncio
import re
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import msgspec
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from lince.serving.errors import RequestError
from lince.serving.settings import ServeSettings

FIELDS = ("file", "file[]", "image")
"""Names of a form's parts: ours, that of forms which PHP and Rails read, and that which many clients use."""

Take = Callable[[int], None]
_FORM = "multipart/form-data"
_JSON = b"application/json"
# A part has a disposition, a type and perhaps a length. A file name of 255 letters takes 2.3 kB when it is escaped.
_MAX_PART_HEADERS = 8
_MAX_BOUNDARY_BYTES = 200  # RFC 2046 allows 70; `re` caches a compiled pattern of each
_MAX_PART_HEADER_BYTES = 8 * 2**10
# A parameter takes 1.5 µs to parse: 64 KiB of semicolons would take 97 ms, the headers of 32 parts 3 s.
_MAX_PARAMETERS = 100
# Text before the first boundary, for readers whose program knows no forms (RFC 2046, section 5.1.1).
_MAX_PREAMBLE_BYTES = 8 * 2**10
# Ways in which a body may be packed, and zlib's window for each.
_WINDOWS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS, "identity": None}
_UNPACKED_AT_A_TIME = 2**15  # packed bytes: empty blocks of deflate take 0.07 µs a byte
_HOW = (
    f"Expected the bytes of one image as 'image/*' or 'application/octet-stream', '{_FORM}' with parts named "
    f"'{FIELDS[0]}', or 'application/json'; with curl: --data-binary @image.png -H 'Content-Type: image/png', or "
    f"-F {FIELDS[0]}=@image.png."
)
_HOW_IN_JSON = 'Expected {"image": {"b64": encoded image in base64}}, or a list of such objects.'


class _Base64(msgspec.Struct, forbid_unknown_fields=True):
    b64: bytes


class _OneImage(msgspec.Struct, forbid_unknown_fields=True):
    """An image in JSON."""

    image: _Base64


class Buffer:
    """Counts the bytes of all bodies held at a time. It is used on the event loop only, and needs no lock."""

    def __init__(self, limit_bytes: int):
        self._limit_bytes = limit_bytes
        self._used_bytes = 0

    def hold(self, count: int) -> bool:
        """Counts bytes until `release`, if there is room for them."""
        if self._used_bytes + count > self._limit_bytes:
            return False
        self._used_bytes += count
        return True

    def release(self, count: int) -> None:
        """Counts bytes no longer."""
        self._used_bytes -= count

    @contextmanager
    def share(self) -> Iterator[Take]:
        """One request's share, which is released at the end: a function that adds bytes to it.

        It raises RequestError when the bodies together would exceed the limit.
        """
        held_bytes = 0

        def take(count: int) -> None:
            nonlocal held_bytes
            if not self.hold(count):
                message = "The server already holds as many bytes of requests as it may. Try again in a second."
                raise RequestError("overloaded", message)
            held_bytes += count

        try:
            yield take
        finally:
            self.release(held_bytes)


async def read_images(request: Request, settings: ServeSettings, take: Take) -> list[bytes]:
    """Reads the encoded images of a request, one or more, in order; `take` of `Buffer.share` counts their bytes.

    Raises:
        RequestError: a wrong type, a malformed form, too many bytes or parts, too slow a client, no room left.
    """
    media_type, boundary = _media_type(request)
    _check_length(request, settings.max_body_bytes)
    chunks = _chunks(request, settings.max_body_bytes, take)
    async with _patience(settings):
        if boundary is not None:
            return await _read_form(chunks, boundary, max_parts=settings.max_parts)
        body = b"".join([chunk async for chunk in chunks])
    return _images_of_json(body, max_parts=settings.max_parts) if media_type == _JSON else [body]


async def read_body(request: Request, settings: ServeSettings, take: Take) -> bytes:
    """Reads the whole body of a request, whatever its type, and unpacks it; `take` of `Buffer.share` counts its bytes.

    Raises:
        RequestError: packed in another way than by gzip or deflate, or damaged; too many bytes, packed or not; too slow
            a client; no room left.
    """
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in _WINDOWS:
        message = f"Received content-encoding {encoding[:100]!r}. Expected {', '.join(_WINDOWS)}, or none."
        raise RequestError("unsupported_media_type", message)
    _check_length(request, settings.max_body_bytes)
    chunks = _chunks(request, settings.max_body_bytes, take)
    async with _patience(settings):
        body = b"".join([chunk async for chunk in chunks])
    window = _WINDOWS[encoding]
    return body if window is None else await _unpack(body, window, settings.max_body_bytes, take)


async def _unpack(packed: bytes, window: int, limit_bytes: int, take: Take) -> bytes:
    """The bytes of a body that was packed; no more of them than allowed are made. Others run between the pieces."""
    unpacker, pieces, count = zlib.decompressobj(window), [], 0
    for start in range(0, len(packed), _UNPACKED_AT_A_TIME):
        try:
            pieces.append(unpacker.decompress(packed[start : start + _UNPACKED_AT_A_TIME], limit_bytes - count + 1))
        except zlib.error as error:
            raise RequestError("malformed_encoding", f"The packed body is damaged: {error}. Send it again.") from error
        count += len(pieces[-1])
        if count > limit_bytes:
            raise _too_large(f"more than {limit_bytes:,} unpacked", limit_bytes)
        take(len(pieces[-1]))
        await asyncio.sleep(0)
    if not unpacker.eof or unpacker.unused_data:
        raise RequestError("malformed_encoding", "The packed body is cut short, or followed by other bytes.")
    return b"".join(pieces)


@asynccontextmanager
async def _patience(settings: ServeSettings) -> AsyncIterator[None]:
    """Raises: RequestError: the body did not arrive in time."""
    try:
        async with asyncio.timeout(settings.receive_timeout_s):
            yield
    except TimeoutError:
        message = (
            f"The body did not arrive within {settings.receive_timeout_s:g} s. Send it faster, or a smaller image."
        )
        raise RequestError("receive_timeout", message) from None


def _images_of_json(body: bytes, *, max_parts: int) -> list[bytes]:
    if body.count(b"{") > 2 * max_parts:  # base64 has none
        message = f"The list has more than {max_parts} images. Send them in several requests."
        raise RequestError("too_many_parts", message)
    try:
        found = msgspec.json.decode(body, type=_OneImage | list[_OneImage])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError("malformed_json", f"The JSON cannot be read: {error}. {_HOW_IN_JSON}") from error
    images = [found] if isinstance(found, _OneImage) else found
    if not images:
        raise RequestError("no_image", f"The list holds no image. {_HOW_IN_JSON}")
    return [one.image.b64 for one in images]


def _media_type(request: Request) -> tuple[bytes, bytes | None]:
    """The type of a body, and the boundary if it is a form."""
    received = request.headers.get("content-type", "")
    if received.count(";") > _MAX_PARAMETERS:
        message = f"The Content-Type has more than {_MAX_PARAMETERS} parameters. {_HOW}"
        raise RequestError("unsupported_media_type", message)
    media_type, options = parse_options_header(received)
    if request.headers.get("content-encoding", "identity") != "identity":
        received = f"content-encoding {request.headers['content-encoding']}"
    elif media_type.startswith(b"image/") or media_type in (b"application/octet-stream", _JSON):
        return media_type, None
    elif media_type == _FORM.encode():
        boundary = options.get(b"boundary", b"")
        if len(boundary) > _MAX_BOUNDARY_BYTES:
            message = f"The boundary has {len(boundary):,} bytes. Expected at most {_MAX_BOUNDARY_BYTES}."
            raise RequestError("malformed_form", message)
        if boundary:
            return media_type, boundary
        raise RequestError("malformed_form", f"The Content-Type {received[:100]!r} names no boundary. {_HOW}")
    raise RequestError("unsupported_media_type", f"Received {received[:100] or 'no type'!r}. {_HOW}")


def _check_length(request: Request, limit_bytes: int) -> None:
    """Refuses a body whose Content-Length is too large, before a byte of it is read."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit_bytes:
        raise _too_large(f"{int(declared):,}", limit_bytes)


async def _chunks(request: Request, limit_bytes: int, take: Take) -> AsyncIterator[bytes]:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit_bytes:
            raise _too_large(f"more than {limit_bytes:,}", limit_bytes)
        take(len(chunk))
        yield chunk


def _too_large(received: str, limit_bytes: int) -> RequestError:
    message = f"The body has {received} bytes. Expected at most {limit_bytes:,}: scale the image down or send fewer."
    return RequestError("body_too_large", message)


async def _read_form(chunks: AsyncIterator[bytes], boundary: bytes, *, max_parts: int) -> list[bytes]:
    try:
        form = _Form(boundary, max_parts)
        async for chunk in chunks:
            form.feed(chunk)
        form.check_begun()
    except FormParserError as error:
        raise RequestError("malformed_form", f"The form is malformed: {error}. {_HOW}") from error
    if not form.complete:
        raise RequestError("malformed_form", "The form lacks its closing boundary: it is cut short. Send it whole.")
    if not form.images:
        raise RequestError("no_image", f"The form holds no part. Expected 1 to {max_parts} named {FIELDS[0]!r}.")
    return form.images


class _Form:
    """A form being parsed: bytes in, images out."""

    def __init__(self, boundary: bytes, max_parts: int):
        self.images: list[bytes] = []
        self.complete = False
        self._max_parts = max_parts
        self._pieces: list[bytes] = []  # of the part, or of the header's value, that is being read
        self._header = b""
        self._field: str | None = None
        self._preamble: bytes | None = b""  # None once it has ended
        self._first = re.compile(rb"(?:\A|\r\n)--" + re.escape(boundary) + rb"(?:[ \t]*\r\n|--)")
        self._delimiter = b"--" + boundary
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_begin": self._begin_header,
                "on_header_field": self._add_name,
                "on_header_value": self._add,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._add,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
            max_header_count=_MAX_PART_HEADERS,
            max_header_size=_MAX_PART_HEADER_BYTES,
        )

    def feed(self, chunk: bytes) -> None:
        if self._preamble is not None:
            chunk = self._skip_preamble(self._preamble + chunk)
        self._parser.write(chunk)

    def check_begun(self) -> None:
        """Raises: FormParserError: when the body has ended without a boundary."""
        if self._preamble:
            raise FormParserError(f"it does not contain its boundary {self._delimiter[:100]!r}")

    def _skip_preamble(self, received: bytes) -> bytes:
        """The bytes from the first boundary on; none before it has arrived."""
        found = self._first.search(received, 0, _MAX_PREAMBLE_BYTES + 2 * len(self._delimiter))
        if found is None:
            if len(received) > _MAX_PREAMBLE_BYTES + 2 * len(self._delimiter):
                raise FormParserError(f"no boundary {self._delimiter[:100]!r} begins it")
            self._preamble = received
            return b""
        self._preamble = None
        end = b"--" if found[0].endswith(b"--") else b"\r\n"
        return self._delimiter + end + received[found.end() :]

    def _begin_part(self) -> None:
        if len(self.images) == self._max_parts:
            message = f"The form has more than {self._max_parts} parts. Send the images in several requests."
            raise RequestError("too_many_parts", message)
        self._field = None

    def _begin_header(self) -> None:
        self._header, self._pieces = b"", []

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            value = b"".join(self._pieces)
            if value.count(b";") > _MAX_PARAMETERS:
                raise FormParserError(f"a part has more than {_MAX_PARAMETERS} parameters in its Content-Disposition")
            _, options = parse_options_header(value)
            self._field = options.get(b"name", b"").decode("utf-8", "replace")

    def _end_headers(self) -> None:
        if self._field not in FIELDS:
            received = "no name" if self._field is None else repr(self._field[:100])
            named = f"Expected every part to be named {FIELDS[0]!r}"
            message = f"Part {len(self.images)} of the form has {received}. {named}."
            raise RequestError("wrong_field", message)
        self._pieces = []

    def _end_part(self) -> None:
        self.images.append(b"".join(self._pieces))
        self._pieces = []

    def _end(self) -> None:
        self.complete = True
