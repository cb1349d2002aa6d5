"""Damaged, hostile and wrong requests, drawn from a seed, for `hostile_inputs.py` and the tests."""

import io
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

_RAW = {"Content-Type": "application/octet-stream"}
_BOUNDARY = "b0undary"
FORM = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}


@dataclass(frozen=True)
class Input:
    """One request. With `wire`, these bytes are sent instead of a well-formed request."""

    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: dict(_RAW))
    method: str = "POST"
    path: str = "/predict"
    wire: bytes | None = None

    def to_bytes(self) -> bytes:
        if self.wire is not None:
            return self.wire
        headers = {"Host": "127.0.0.1", "Content-Length": str(len(self.body)), "Connection": "close"} | self.headers
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


def encoded(rng: np.random.Generator, name: str, size: int = 40) -> bytes:
    """A picture of noise."""
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(file, name)
    return file.getvalue()


def png(width: int, height: int, *chunks: tuple[bytes, bytes], colour: int = 2) -> bytes:
    """A PNG built by hand: its data need not agree with its header."""
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    data = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(data)


def black_png(width: int, height: int, *, colour: int = 6) -> bytes:
    """A valid picture of one colour: a thousand times smaller than its pixels."""
    samples = {0: 1, 2: 3, 6: 4}[colour]
    packer = zlib.compressobj(9)
    row = bytes(1 + width * samples)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return png(width, height, (b"IDAT", data), colour=colour)


def form(*parts: tuple[str, bytes], end: bytes = b"--\r\n", more_headers: str = "") -> bytes:
    """A multipart body of (name, content)."""
    head = 'Content-Disposition: form-data; name="{}"; filename="x.png"\r\nContent-Type: image/png\r\n{}\r\n'
    pieces = [f"--{_BOUNDARY}\r\n{head.format(name, more_headers)}".encode() + data + b"\r\n" for name, data in parts]
    return b"".join(pieces) + f"--{_BOUNDARY}".encode() + end


def _truncated(rng: np.random.Generator) -> Input:
    name = rng.choice(["PNG", "JPEG", "WEBP", "BMP", "GIF"])
    data = encoded(rng, name)
    return Input(data[: int(rng.integers(1, len(data) * 3 // 4))])


def _flipped(rng: np.random.Generator) -> Input:
    """Damage in the compressed pixels. PNG's checksum shows it; a JPEG with such damage is another valid picture."""
    data = bytearray(encoded(rng, "PNG"))
    for position in rng.integers(60, len(data) - 40, 20):
        data[position] ^= int(rng.integers(1, 256))
    return Input(bytes(data))


def _random(rng: np.random.Generator) -> Input:
    return Input(rng.bytes(int(rng.integers(1, 50_000))))


def _random_after_magic(rng: np.random.Generator) -> Input:
    magics = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM", b"RIFF\x24\x00\x00\x00WEBPVP8 ")
    return Input(magics[rng.integers(len(magics))] + rng.bytes(int(rng.integers(0, 2_000))))


def _huge_dimensions(rng: np.random.Generator) -> Input:
    side = int(rng.integers(6_000, 2**16 - 1))
    pictures = (
        png(side * 1000, side * 1000, (b"IDAT", zlib.compress(b"\0" * 1000))),
        b"GIF89a"
        + struct.pack("<HHBBB", side, side, 0x80, 0, 0)
        + bytes(6)
        + b","
        + struct.pack("<HHHHB", 0, 0, side, side, 0),
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0),
        encoded(rng, "JPEG").replace(struct.pack(">HH", 40, 40), struct.pack(">HH", side, side), 1),
    )
    return Input(pictures[rng.integers(len(pictures))])


def _bomb(rng: np.random.Generator) -> Input:
    """A picture that does decode to what it declares: slightly more than the limit."""
    return Input(black_png(5_001 + int(rng.integers(50)), 5_001, colour=int(rng.choice([0, 2, 6]))))


def _chunk_bomb(rng: np.random.Generator) -> Input:
    """Text and colour profile that unpack to 100 MB, before damaged pixels."""
    packed = zlib.compress(bytes(10**8), 9)
    chunk = [(b"zTXt", b"a\0\0" + packed), (b"iCCP", b"a\0\0" + packed), (b"iTXt", b"a\0\1\0\0\0" + packed)][
        rng.integers(3)
    ]
    return Input(png(40, 40, chunk, (b"IDAT", rng.bytes(50))))


def _no_pixels(rng: np.random.Generator) -> Input:
    width, height = [(0, 0), (0, 5), (5, 0)][rng.integers(3)]
    gif = b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + b";"
    return Input([png(width, height, (b"IDAT", zlib.compress(b""))), gif][rng.integers(2)])


def _text(rng: np.random.Generator) -> Input:
    return Input(b"This is not a picture. " * int(rng.integers(1, 1_000)), {"Content-Type": "image/png"})


def _svg(rng: np.random.Generator) -> Input:
    body = b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>'
    return Input(body, {"Content-Type": str(rng.choice(["image/svg+xml", "application/octet-stream"]))})


def _foreign_format(rng: np.random.Generator) -> Input:
    name = rng.choice(["ICO", "PPM", "TGA", "PDF", "JPEG2000"])
    return Input(encoded(rng, name))


def _other_program(rng: np.random.Generator) -> Input:
    magics = (
        b"%PDF-1.7\n",
        b"PK\x03\x04",
        b"\x7fELF",
        b"\x1f\x8b\x08",
        b"%!PS-Adobe\n%%BoundingBox: 0 0 9 9\n",
        b"<html>",
        b"MZ",
    )
    return Input(magics[rng.integers(len(magics))] + rng.bytes(500))


def _empty(rng: np.random.Generator) -> Input:
    return Input(b"", {"Content-Type": str(rng.choice(["image/png", "application/octet-stream"]))})


def _wrong_type(rng: np.random.Generator) -> Input:
    types = (
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "video/mp4",
        "",
        "/",
        "image",
        "\xff",
    )
    return Input(encoded(rng, "PNG"), {"Content-Type": types[rng.integers(len(types))]})


def _packed(rng: np.random.Generator) -> Input:
    return Input(zlib.compress(bytes(10**7)), _RAW | {"Content-Encoding": str(rng.choice(["gzip", "deflate", "br"]))})


def _too_many_bytes(rng: np.random.Generator) -> Input:
    return Input(bytes(10 * 2**20 + int(rng.integers(1, 10**6))))


def _many_parts(rng: np.random.Generator) -> Input:
    content = encoded(rng, "PNG") if rng.integers(2) else b""
    return Input(form(*[("file", content)] * int(rng.integers(33, 5_000 if not content else 200))), FORM)


def _bad_parts(rng: np.random.Generator) -> Input:
    return Input(form(*[("file", rng.bytes(300))] * int(rng.integers(1, 33))), FORM)


def _wrong_field(rng: np.random.Generator) -> Input:
    name = ["images", "files", "FILE", "", "x" * 500, "../../etc/passwd", "\u202e", "file[0]"][rng.integers(8)]
    return Input(form(("file", encoded(rng, "PNG")), (name, encoded(rng, "PNG"))), FORM)


def _malformed_form(rng: np.random.Generator) -> Input:
    good = form(("file", encoded(rng, "PNG")))
    bodies = (
        good[: len(good) // 2],
        rng.bytes(1_000),
        b"",
        good.replace(b"b0undary", b"another"),
        form(),
        b"\r\n" * 5_000,
    )
    body = [*bodies, good.replace(b"Content-Type: image/png", b"no colon here"), form(("file", b""), end=b"")][
        rng.integers(8)
    ]
    return Input(body, FORM)


def _bad_boundary(rng: np.random.Generator) -> Input:
    types = ("multipart/form-data", "multipart/form-data; boundary=", f"multipart/form-data; boundary={'x' * 5_000}")
    return Input(form(("file", b"x")), {"Content-Type": types[rng.integers(len(types))]})


def _part_headers(rng: np.random.Generator) -> Input:
    more = "X-A: b\r\n" * 10_000 if rng.integers(2) else f"X-A: {'b' * 100_000}\r\n"
    return Input(form(("file", encoded(rng, "PNG")), more_headers=more), FORM)


def _parser_worst_case(rng: np.random.Generator) -> Input:
    """Many strings that are almost the boundary: the most expensive body for a parser."""
    return Input(form(("file", f"\r\n--{_BOUNDARY}x".encode() * int(rng.integers(1_000, 50_000)))), FORM)


def _chunked(rng: np.random.Generator) -> Input:
    """Bodies without a stated length: garbage, or more than the limit."""
    count, size = (200, 65_536) if rng.integers(2) else (3, 100)
    head = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nConnection: close\r\n"
    return Input(wire=head + b"Transfer-Encoding: chunked\r\n\r\n" + _chunks(bytes(size) for _ in range(count)))


def _chunks(pieces: Iterable[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def _not_http(rng: np.random.Generator) -> Input:
    starts = (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS greeting
        b"GET\r\n\r\n",
        b"POST /predict HTTP/9.9\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\nzz",
        b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
    )
    return Input(wire=starts[rng.integers(len(starts))] + b"\r\n" * 5)


def _huge_headers(rng: np.random.Generator) -> Input:
    lines = b"X: y\r\n" * 200_000 if rng.integers(2) else b"X: " + b"y" * 10**6
    return Input(wire=b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\n" + lines)


def _wrong_question(rng: np.random.Generator) -> Input:
    queries = ("top=0", "top=-1", "top=many", "top=1e9", "logits=perhaps", "top=", "top=1&top=x", f"top={'9' * 5_000}")
    return Input(encoded(rng, "PNG"), path=f"/predict?{queries[rng.integers(len(queries))]}")


def _wrong_place(rng: np.random.Generator) -> Input:
    places = (
        "/nowhere",
        "/predict/",
        "/page/../settings.py",
        "/page/%2e%2e/app.py",
        "/%00",
        "//predict",
        "/page/",
        "/" + "a" * 9_000,
    )
    return Input(method="GET", path=places[rng.integers(len(places))])


def _wrong_method(rng: np.random.Generator) -> Input:
    return Input(method=str(rng.choice(["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])))


def _wrong_host(rng: np.random.Generator) -> Input:
    return Input(
        encoded(rng, "PNG"), _RAW | {"Host": ["evil.example", "127.0.0.1.evil.example:80", "\xff"][rng.integers(3)]}
    )


KINDS: dict[str, Callable[[np.random.Generator], Input]] = {
    function.__name__.removeprefix("_"): function
    for function in (
        *(
            _truncated,
            _flipped,
            _random,
            _random_after_magic,
            _huge_dimensions,
            _bomb,
            _chunk_bomb,
            _no_pixels,
            _text,
            _svg,
        ),
        *(_foreign_format, _other_program, _empty, _wrong_type, _packed, _too_many_bytes, _many_parts, _bad_parts),
        *(_wrong_field, _malformed_form, _bad_boundary, _part_headers, _parser_worst_case, _chunked, _not_http),
        *(_huge_headers, _wrong_question, _wrong_place, _wrong_method, _wrong_host),
    )
}


def heavy_pictures() -> list[Input]:
    """Valid pictures that need the most memory the limits allow: 25 megapixels, one with transparency."""
    file = io.BytesIO()
    Image.new("RGB", (5_000, 5_000), "teal").save(file, "JPEG", progressive=True)
    return [Input(black_png(5_000, 5_000, colour=6)), Input(black_png(5_000, 5_000, colour=2)), Input(file.getvalue())]
