"""Pictures that are cheap to send and costly to decode are told by their parts; ordinary ones pass."""

import io
import struct
import time
import zlib
from collections.abc import Callable
from contextlib import nullcontext, suppress

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from lince.encoded_image import inspect
from lince.errors import ImageError

# ---- builders ----


def saved(kind: str, size: tuple[int, int] = (48, 32), mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), np.uint8)
    Image.fromarray(noise).convert(mode).save(file, kind, **options)
    return file.getvalue()


def segment(marker: int, body: bytes = b"") -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg_with(inserted: bytes, **options: object) -> bytes:
    """A JPEG with bytes after its first marker."""
    data = saved("JPEG", **options)
    return data[:2] + inserted + data[2:]


def jpeg_with_scans(count: int) -> bytes:
    """A progressive JPEG with so many empty refinement scans more."""
    data = saved("JPEG", progressive=True)
    scan = segment(0xDA, b"\x01\x01\x00\x01\x01\x10")
    return data[:-2] + scan * count + data[-2:]


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with(inserted: bytes, *, before_end: bool = False) -> bytes:
    """A PNG with chunks after its header, or before its end."""
    data = saved("PNG")
    position = len(data) - 12 if before_end else 33
    return data[:position] + inserted + data[position:]


def gif_with(inserted: bytes) -> bytes:
    """A GIF with blocks before its first frame."""
    data = saved("GIF", mode="P")
    position = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    return data[:position] + inserted + data[position:]


def webp_with(inserted: bytes) -> bytes:
    data = saved("WEBP") + inserted
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def bmp(width: int, height: int, compression: int) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, 0, 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 1078) + header + bytes(1024) + b"\x00\x01"


PACKED_MEGABYTE = zlib.compress(bytes(10**6))

COSTLY: dict[str, Callable[[], bytes]] = {
    "scans": lambda: jpeg_with_scans(200),
    "comments": lambda: jpeg_with(segment(0xFE) * 2_000),
    "empty app segments": lambda: jpeg_with(segment(0xED) * 2_000),
    "quantization tables": lambda: jpeg_with(segment(0xDB) * 2_000),
    "scans behind a marker without length": lambda: (
        jpeg_with_scans(0)[:-2] + b"\xff\x01" + jpeg_with_scans(200)[-2_002:]
    ),
    "blocks behind an empty one": lambda: gif_with(b"!\xf9\0" + b"\x01a" * 5_000 + b"\0"),
    "blocks behind a looping extension": lambda: gif_with(b"!\xff\x0bNETSCAPE2.0\0" + b"\x01a" * 5_000 + b"\0"),
    "frame headers": lambda: jpeg_with(segment(0xC0, bytes(15)) * 2),
    "a long frame header": lambda: jpeg_with(segment(0xC0, bytes(60_000))),
    "restart markers in the head": lambda: jpeg_with(b"\xff\xd0" * 2_000),
    "segments between scans": lambda: saved("JPEG", progressive=True)[:-2] + segment(0xFE) * 2_000 + b"\xff\xd9",
    "scans of a large picture": lambda: jpeg_with_scans(30).replace(
        struct.pack(">HH", 32, 48), struct.pack(">HH", 5_000, 10_000)
    ),
    "empty data chunks": lambda: png_with(chunk(b"IDAT") * 5_000),
    "unknown chunks": lambda: png_with(chunk(b"abCd") * 5_000, before_end=True),
    "gif comments": lambda: gif_with((b"!\xfe" + b"\x01a" * 100 + b"\0") * 100),
    "gif extensions": lambda: gif_with(b"!\xf9\x04\0\0\0\0\0" * 5_000),
    "gif controls of many bytes": lambda: gif_with((b"!\xf9" + b"\xffa" * 128 + b"\0") * 200),
    "gif junk": lambda: gif_with(b"\x01" * 5_000),
    "webp chunks": lambda: webp_with(b"junk\0\0\0\0" * 20_000),
    "rle8": lambda: bmp(5_000, 5_000, 1),
    "rle8 of a few pixels": lambda: bmp(8, 8, 1) + b"\x00\x00" * 10**5,
    "rle4 in one row": lambda: bmp(25_000_000, 1, 2),
}

HEAVY: dict[str, Callable[[], bytes]] = {
    "fill bytes": lambda: jpeg_with(b"\xff" * 2**22),
    "escaped bytes": lambda: jpeg_with(b"\xff\x00" * 2**21),
    "junk behind a comment": lambda: jpeg_with(segment(0xFE) + b"junk" * 2**20),
    "junk to the end": lambda: b"\xff\xd8\xff\xe0\0\x02" + b"junk" * 2**20,
    "a comment of a gif": lambda: gif_with(b"!\xfe" + (b"\xff" + b"a" * 255) * 9_000 + b"\0"),
    "Exif as text": lambda: png_with(chunk(b"tEXt", b"Raw profile type exif\0" + bytes(2**22))),
    "Exif segments": lambda: jpeg_with(segment(0xE1, b"Exif\0\0II") * 100),
    "Exif of a png": lambda: png_with(chunk(b"eXIf", bytes(2**21))),
    "Exif of a webp": lambda: webp_with(b"EXIF" + struct.pack("<I", 2**21) + bytes(2**21)),
    "colour profiles": lambda: png_with(chunk(b"iCCP", b"a\0\0" + PACKED_MEGABYTE) * 100),
    "packed texts": lambda: png_with(chunk(b"zTXt", b"a\0\0" + PACKED_MEGABYTE) * 100),
    "international texts": lambda: png_with(chunk(b"iTXt", b"a\0\1\0\0\0" + PACKED_MEGABYTE) * 100),
    "packed texts at the end": lambda: png_with(chunk(b"zTXt", b"a\0\0" + PACKED_MEGABYTE) * 100, before_end=True),
}
"""Metadata that costs a decoder much, and nobody who leaves it out."""

ORDINARY: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: saved("JPEG"),
    "progressive jpeg": lambda: saved("JPEG", progressive=True),
    "cmyk jpeg": lambda: saved("JPEG", mode="CMYK"),
    "jpeg with Exif, profile and comment": lambda: jpeg_with(
        segment(0xE1, b"Exif\0\0" + bytes(60_000))
        + segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(65_000)) * 100
        + segment(0xE2, b"ICC_PROFILE\0" + bytes(65_000)) * 3
        + segment(0xFE, b"made by a program")
    ),
    "png": lambda: saved("PNG"),
    "png in chunks of 4 kB": lambda: png_with(chunk(b"IDAT", bytes(4_096)) * 500),
    "png with texts": lambda: png_with(chunk(b"iCCP", b"a\0\0x") + chunk(b"tEXt", b"a\0b") * 30),
    "webp": lambda: saved("WEBP"),
    "gif": lambda: saved("GIF", mode="P"),
    "gif with a comment": lambda: gif_with(b"!\xfe" + (b"\xff" + b"a" * 255) * 20 + b"\0"),
    "bmp": lambda: saved("BMP"),
    "run-length encoded bmp": lambda: bmp(640, 480, 1),
    "not an image": lambda: b"text " * 10_000,
}


@pytest.mark.parametrize("kind", COSTLY)
def test_costly_structures_are_refused(kind: str):
    """One sentence with the limit, whatever the part is."""
    with pytest.raises(ImageError, match=r"The image has more than [0-9,]+ .* save it again") as refused:
        inspect(COSTLY[kind]())
    assert "image_too_complex" == refused.value.code


@pytest.mark.parametrize("kind", HEAVY)
def test_heavy_metadata_is_left_out(kind: str):
    """Megabytes of it pass, in no time: the decoder sees the picture alone."""
    data = HEAVY[kind]()
    start = time.process_time()
    left = inspect(data).without_metadata(data)
    assert time.process_time() - start < 0.1
    assert len(left) < 10_000


@pytest.mark.parametrize("kind", ORDINARY)
def test_ordinary_structures_pass(kind: str):
    """What cameras and programs write is not refused."""
    inspect(ORDINARY[kind]())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"])
@pytest.mark.parametrize("size", [(1, 1), (48, 32), (300, 7)])
def test_size_is_that_of_pillow(kind: str, size: tuple[int, int]):
    """Format and size are known before anything is decoded."""
    found = inspect(saved(kind, size, mode="RGB" if kind != "GIF" else "P"))
    assert (kind, size) == (found.format, (found.width, found.height))


@pytest.mark.parametrize(
    "options", [{}, {"lossless": True}, {"lossless": True, "mode": "RGBA"}, {"exif": b"Exif\0\0II"}]
)
def test_every_kind_of_webp_tells_its_size(options: dict):
    """Lossy, lossless, and with a canvas."""
    found = inspect(saved("WEBP", (300, 7), **options))
    assert (300, 7, 16 * 300 * 7) == (found.width, found.height, found.buffer_bytes + 4 * found.pixels)


@pytest.mark.parametrize(("subsampling", "samples"), [(0, 3), (1, 2), (2, 1.5)])
def test_progressive_jpeg_holds_its_coefficients(subsampling: int, samples: float):
    """Two bytes for each sample of each component; a baseline one holds none."""
    found = inspect(saved("JPEG", progressive=True, subsampling=subsampling))
    assert int(2 * samples * 48 * 32) == found.buffer_bytes
    assert found.passes > 5
    baseline = inspect(saved("JPEG", subsampling=subsampling))
    assert (0, 1) == (baseline.buffer_bytes, baseline.passes)


def test_scans_are_counted_behind_an_end_that_is_none():
    """An end of image inside a comment ends nothing."""
    data = jpeg_with_scans(0)
    with_comment = data[:-2] + segment(0xFE, b"\xff\xd9") + jpeg_with_scans(90)[len(data) - 2 :]
    assert 90 == inspect(with_comment).passes - inspect(data).passes


def test_pictures_after_the_first_do_not_count():
    """A camera appends a preview, or a film; Pillow stops at the end of the first picture."""
    data = saved("JPEG", progressive=True)
    assert inspect(data) == inspect(data + jpeg_with_scans(500))


def test_a_frame_over_the_edge_makes_the_gif_larger():
    """Pillow makes room for it."""
    data = bytearray(saved("GIF", mode="P"))
    start = data.index(b",", 13 + 768 if data[10] & 0x80 else 13)
    data[start + 1 : start + 3] = struct.pack("<H", 5_000)
    assert 5_048 == inspect(bytes(data)).width


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"])
def test_damaged_structures_raise_nothing_else(kind: str):
    """Cut anywhere, or altered anywhere: a structure or an ImageError."""
    data = saved(kind, mode="P" if kind == "GIF" else "RGB")
    rng = np.random.default_rng(0)
    for length in range(min(len(data), 500)):
        with suppress(ImageError) if kind in ("TIFF", "AVIF") else nullcontext():
            inspect(data[:length])
    for _ in range(2_000):
        altered = bytearray(data)
        for position in rng.integers(0, min(len(data), 200), 3):
            altered[position] = rng.integers(256)
        with suppress(ImageError):
            inspect(bytes(altered))


def test_the_first_header_of_a_png_counts():
    """As for Pillow, which decodes no second one."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    assert (48, 32) == (
        inspect(png_with(header, before_end=True)).width,
        inspect(png_with(header, before_end=True)).height,
    )


def test_texts_of_pillow_pass():
    """A PNG with all kinds of text that Pillow writes."""
    info = PngImagePlugin.PngInfo()
    info.add_text("a", "b" * 1_000, zip=True)
    info.add_itxt("c", "d" * 1_000, zip=True)
    data = saved("PNG", pnginfo=info)
    assert saved("PNG") == inspect(data).without_metadata(data)
