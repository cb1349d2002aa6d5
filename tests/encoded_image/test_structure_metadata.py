"""Trouble in metadata never costs the pixels, in any format; damaged pixels are still refused."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from lince import encoded_image
from lince.errors import ImageError
from lince.images import decode
from lince.types import ImageSpec

SPEC = ImageSpec(16, 16)
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def saved(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes = b"", *, crc: int = 0, length: int | None = None) -> bytes:
    """A chunk of a PNG; `crc` and `length` make it a broken one."""
    head = struct.pack(">I", len(body) if length is None else length)
    return head + kind + body + struct.pack(">I", zlib.crc32(kind + body) ^ crc)


def png(before: bytes = b"", *, between: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG with chunks before, amid and behind its pixels."""
    data = saved("PNG")
    start, end = 33, len(data) - 12
    pixels = data[start + 8 : end - 4]
    middle = len(pixels) // 2
    halves = chunk(b"IDAT", pixels[:middle]) + between + chunk(b"IDAT", pixels[middle:])
    return data[:start] + before + halves + after + data[end:]


def jpeg(*segments: tuple[int, bytes], **options: object) -> bytes:
    data = saved("JPEG", **options)
    made = (b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments)
    return data[:2] + b"".join(made) + data[2:]


def too_short(length: int, actual: int) -> bytes:
    """A JPEG with an Exif segment that goes on behind its end."""
    body = b"Exif\0\0" + bytes(range(255)) * (actual // 255 + 1)
    data = saved("JPEG")
    return data[:2] + b"\xff\xe1" + struct.pack(">H", length) + body[:actual] + data[2:]


def webp(
    *chunks: tuple[bytes, bytes], before: bool = False, cut: int = 0, declared: int = 0, **options: object
) -> bytes:
    data = saved("WEBP", lossless=True, **options)
    made = b"".join(kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2) for kind, body in chunks)
    whole = data[12:]
    body = b"WEBP" + (made + whole if before else whole + made)
    whole = b"RIFF" + struct.pack("<I", len(body) + declared) + body
    return whole[: len(whole) - cut]


def with_flags(flags: int) -> bytes:
    data = bytearray(webp(exif=b"Exif\0\0II", xmp=b"<x/>"))
    data[20:24] = bytes([flags, 1, 2, 3])
    return bytes(data)


def gif(before: bytes) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).quantize(64).save(file, "GIF")
    data = file.getvalue()
    start = 13 + (3 << (data[10] & 7) + 1)
    return data[:start] + before + data[start:]


def bmp(header_bytes: int = 40, *, more: bytes = b"", masks: bytes = b"") -> bytes:
    """Pixels of 24 bits, or of 32 with masks, behind a header of any length."""
    bits, compression = (32, 3) if masks else (24, 0)
    rows = PIXELS[::-1, :, ::-1]
    if masks:
        rows = np.dstack([rows, np.zeros(rows.shape[:2], np.uint8)])
    body = b"".join(row.tobytes() + bytes(-len(row.tobytes()) % 4) for row in rows)
    header = struct.pack("<IiiHHIIiiII", header_bytes, 30, 20, 1, bits, compression, 0, 0, 0, 0, 0)[:header_bytes]
    header = header[:40] + masks + bytes(max(0, header_bytes - len(header) - len(masks)))
    offset = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, offset) + header + body + more


MASKS = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
GARBAGE = bytes(range(256)) * 4
BIG_PROFILE = b"a\0\0" + zlib.compress(bytes(2 * 2**20))
EXIF = b"II*\0" + struct.pack("<IHHHIHH", 8, 1, 0x0112, 3, 1, 6, 0) + bytes(4)  # to be turned by 90°
XMP = b'<x:xmpmeta tiff:Orientation="6"/>'

PNG_KINDS = (
    *(b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP", b"pHYs", b"tIME", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD"),
    *(
        b"hIST",
        b"sPLT",
        b"acTL",
        b"fcTL",
        b"fdAT",
        b"oFFs",
        b"pCAL",
        b"sCAL",
        b"cICP",
        b"mDCV",
        b"cLLI",
        b"caBX",
        b"xyZw",
    ),
)

PNGS: dict[str, Callable[[], bytes]] = {
    f"{kind.decode()} {what}": lambda kind=kind, change=change: change(kind)
    for kind in PNG_KINDS
    for what, change in {
        "empty": lambda kind: png(chunk(kind)),
        "garbage": lambda kind: png(chunk(kind, GARBAGE)),
        "bad checksum": lambda kind: png(chunk(kind, GARBAGE, crc=1)),
        "2 MB": lambda kind: png(chunk(kind, bytes(2**21))),
        "amid the pixels": lambda kind: png(between=chunk(kind, GARBAGE, crc=1)),
        "behind the pixels": lambda kind: png(after=chunk(kind, GARBAGE, crc=1)),
        "cut behind the pixels": lambda kind: png(after=chunk(kind, GARBAGE, length=2**31 - 1))[:-500],
        "very long": lambda kind: png(after=chunk(kind, GARBAGE, length=2**32 - 1)),
    }.items()
}
PNGS |= {
    "a profile of 2 MB": lambda: png(chunk(b"iCCP", BIG_PROFILE)),
    "a packed text of 2 MB": lambda: png(chunk(b"zTXt", BIG_PROFILE)),
    "Exif as text that is none": lambda: png(chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 8\nzz")),
    "Exif as packed text that is none": lambda: png(chunk(b"zTXt", b"Raw profile type exif\0\0zz")),
    "XMP that is packed and damaged": lambda: png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0zz")),
    "XMP without an end": lambda: png(chunk(b"iTXt", b"XML:com.adobe.xmp\0")),
    "no end": lambda: png()[:-12],
    "half an end": lambda: png()[:-6],
    "junk behind the end": lambda: png() + GARBAGE,
    "Exif with a bad checksum": lambda: png(chunk(b"eXIf", EXIF, crc=1)),
}
JPEGS: dict[str, Callable[[], bytes]] = {
    f"APP{marker - 0xE0} {name}": lambda marker=marker, body=body: jpeg((marker, body))
    for marker in range(0xE0, 0xF0)
    for name, body in {
        "empty": b"",
        "garbage": GARBAGE,
        "JFIF cut": b"JFIF",
        "Exif": b"Exif\0\0",
        "broken Exif": b"Exif\0\0II*\0\xff\xff\xff\xff",
        "Exif with many entries": b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        "profile cut": b"ICC_PROFILE\0",
        "profile out of order": b"ICC_PROFILE\0\x09\x01",
        "pictures that are not there": b"MPF\0II*\0\x08\0\0\0\xff\xff",
        "Photoshop": b"Photoshop 3.0\0" + b"8BIM\x03\xed\0\0\xff\xff\xff\xff",
        "Adobe cut": b"Adobe\0",
        "XMP": b"http://ns.adobe.com/xap/1.0/\0" + b"\xff" * 99,
    }.items()
}
JPEGS |= {
    f"APP1 that says {length} of {actual:,} bytes": lambda length=length, actual=actual: too_short(length, actual)
    for length in (0, 2, 10, 50)
    for actual in (100, 5_000, 60_000)
}
JPEGS |= {
    "comment": lambda: jpeg((0xFE, GARBAGE)),
    "Exif of 2 MB": lambda: jpeg(*[(0xE1, b"Exif\0\0" + bytes(65_000))] * 32),
    "junk behind the end": lambda: jpeg() + GARBAGE,
}
WEBPS: dict[str, Callable[[], bytes]] = {
    f"{kind.decode()}{name}": lambda kind=kind, change=change: change(kind)
    for kind in (b"EXIF", b"XMP ", b"ICCP", b"abcd")
    for name, change in {
        " empty": lambda kind: webp((kind, b"")),
        " garbage": lambda kind: webp((kind, GARBAGE)),
        " 2 MB": lambda kind: webp((kind, bytes(2**21))),
        " before": lambda kind: webp((kind, GARBAGE), before=True),
        " before, in a canvas": lambda kind: webp((kind, GARBAGE), before=True, exif=b"Exif\0\0II"),
        " cut": lambda kind: webp((kind, GARBAGE), cut=99),
        " cut by its length": lambda kind: webp((kind, GARBAGE), declared=99),
    }.items()
}
WEBPS |= {f"flags {flags:#x} of the canvas": lambda flags=flags: with_flags(flags) for flags in (0, 0x08, 0x2C, 0xED)}
WEBPS["junk behind the end"] = lambda: webp() + GARBAGE
GIFS: dict[str, Callable[[], bytes]] = {
    name: lambda block=block: gif(block)
    for name, block in {
        "empty comment": b"!\xfe\0",
        "comment": b"!\xfe\xff" + GARBAGE[:255] + b"\0",
        "long comment": b"!\xfe" + (b"\xff" + GARBAGE[:255]) * 3_000 + b"\0",
        "comment of 2 MB": b"!\xfe" + (b"\xff" + GARBAGE[:255]) * 8_200 + b"\0",
        "empty application": b"!\xff\0",
        "application cut": b"!\xff\x0bNETSCAPE2.0\0",
        "loop cut": b"!\xff\x0bNETSCAPE2.0\1\1\0",
        "empty control": b"!\xf9\0",
        "control cut": b"!\xf9\1\1\0",
        "empty plain text": b"!\1\0",
        "unknown": b"!\x77\3abc\0",
        "junk": b"\0\1\2\3",
    }.items()
}
BMPS: dict[str, Callable[[], bytes]] = {
    **{
        f"header of {size} bytes": lambda size=size: bmp(size)
        for size in (16, 20, 36, 40, 44, 52, 56, 64, 108, 124, 128, 200)
    },
    **{
        f"masks in a header of {size} bytes": lambda size=size: bmp(size, masks=MASKS)
        for size in (52, 56, 60, 108, 124, 140)
    },
    "profile behind the pixels": lambda: bmp(124, more=GARBAGE),
}


@pytest.mark.parametrize("kind", PNGS)
def test_png(kind: str):
    """Whatever is wrong with a chunk that is no pixels: the pixels are those of the picture without it."""
    check(PNGS[kind](), saved("PNG"))


@pytest.mark.parametrize("kind", JPEGS)
def test_jpeg(kind: str):
    """Applications' segments and comments."""
    check(JPEGS[kind](), saved("JPEG"))


@pytest.mark.parametrize("kind", WEBPS)
def test_webp(kind: str):
    """Exif, XMP, profiles and unknown chunks, before and behind the frame."""
    check(WEBPS[kind](), saved("WEBP", lossless=True))


@pytest.mark.parametrize("kind", GIFS)
def test_gif(kind: str):
    """Comments and applications' extensions, and controls too short to say anything."""
    check(GIFS[kind](), gif(b""))


@pytest.mark.parametrize("kind", BMPS)
def test_bmp(kind: str):
    """Headers of any length."""
    check(BMPS[kind](), saved("BMP"))


def check(data: bytes, clean: bytes) -> None:
    assert decode(clean, SPEC).tolist() == decode(data, SPEC).tolist()


@pytest.mark.parametrize(
    "data",
    [
        png(chunk(b"eXIf", EXIF)),
        png(chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 26\n" + EXIF.hex().encode())),
        png(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 26\n" + EXIF.hex().encode()))),
        png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)),
        png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP))),
        png(chunk(b"eXIf", b"garbage"), after=chunk(b"eXIf", EXIF)),
        webp((b"EXIF", b"Exif\0\0" + EXIF)),
        webp((b"EXIF", EXIF)),
        webp((b"XMP ", XMP)),
        jpeg((0xE1, b"Exif\0\0" + EXIF)),
        jpeg((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)),
        jpeg((0xE1, b"Exif\0\0" + EXIF[:-4] + b"\xff" * 9), (0xE2, b"ICC_PROFILE\0")),
        jpeg((0xE1, b"Exif\0\0MM\0*" + struct.pack(">IHHHIHH", 8, 1, 0x0112, 3, 1, 6, 0))),
    ],
)
def test_orientation_is_read_wherever_it_can_be(data: bytes):
    """Exif, Exif as text and XMP, also beside what is broken."""
    kind = encoded_image.inspect(data).format
    clean = saved(kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.rot90(decode(clean, SPEC), -1).tolist() == decode(data, SPEC).tolist()


@pytest.mark.parametrize("value", [0, 1, 9, 255, 65_535])
def test_an_orientation_that_is_none_turns_nothing(value: int):
    """Only 2 to 8 say something."""
    exif = EXIF[:18] + struct.pack("<H", value) + EXIF[20:]
    check(png(chunk(b"eXIf", exif)), saved("PNG"))


def test_colours_of_a_jpeg_are_metadata_that_counts():
    """Adobe's segment says whether samples are YCbCr: without it, the picture has other colours."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 50, 100)).save(file, "JPEG", keep_rgb=True, quality=95)
    assert b"Adobe" in file.getvalue()
    assert np.abs(decode(file.getvalue(), SPEC).astype(int) - (200, 50, 100)).max() <= 2


def test_transparency_is_no_metadata():
    """A transparent colour shows white; where its checksum is wrong, the picture is damaged."""
    one_colour = PIXELS[0, 0].astype(">u2").tobytes()
    file = io.BytesIO()
    Image.new("RGB", (30, 20), tuple(PIXELS[0, 0].tolist())).save(file, "PNG")
    data = file.getvalue()
    whole = data[:33] + chunk(b"tRNS", one_colour) + data[33:]
    assert {255} == set(decode(whole, SPEC).ravel().tolist())
    assert "corrupt_image" == refusal(data[:33] + chunk(b"tRNS", one_colour, crc=1) + data[33:])


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE"])
def test_what_pixels_need_is_checked(kind: bytes):
    """A wrong checksum of header or palette is damage."""
    file = io.BytesIO()
    Image.fromarray(PIXELS).quantize(16).save(file, "PNG")
    data = bytearray(file.getvalue())
    start = data.index(kind)
    data[start + 4 + int.from_bytes(data[start - 4 : start], "big")] ^= 1
    assert "corrupt_image" == refusal(bytes(data))


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_pixels_of_a_png_that_changed_are_missed(share: float):
    """As of a copy that stopped: the rest is zeros, which unpack to something; each part has a checksum."""
    data = png()
    place = int(share * len(data))
    assert "corrupt_image" == refusal(data[:place] + bytes(len(data) - place - 12) + data[-12:])


@pytest.mark.parametrize(
    "data",
    [
        png(chunk(b"eXIf", GARBAGE))[:-600],
        jpeg((0xE1, b"Exif\0\0II"))[:-600],
        webp((b"EXIF", EXIF))[:-600],
        webp((b"EXIF", EXIF), before=True)[:-600],
        gif(b"!\xfe\0")[:-300],
        bmp(128)[:-600],
    ],
    ids=["png", "jpeg", "webp", "webp with Exif before", "gif", "bmp"],
)
def test_pixels_that_are_missing_are_missed(data: bytes):
    """Leaving out metadata makes no half picture a whole one."""
    assert "corrupt_image" == refusal(data)


def test_nothing_to_leave_out_is_copied():
    """An ordinary picture goes to the decoder as it came."""
    for kind in ("PNG", "JPEG", "WEBP", "BMP"):
        data = saved(kind)
        assert encoded_image.inspect(data).without_metadata(data) is data, kind


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, SPEC)
    return caught.value.code
