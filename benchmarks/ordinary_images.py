"""Ordinary valid pictures, with content like a photograph's. The service must answer them despite its bounds."""

import io
import itertools
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import hostile_exif
import hostile_jpeg
import hostile_others
import hostile_png
import numpy as np
from PIL import Image, ImageCms, PngImagePlugin


def photo(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Waves and coarse noise. The picture compresses as a photograph does, and is the same each time."""
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    if mode != "RGBA":
        return picture.convert(mode)
    picture.putalpha(Image.linear_gradient("L").resize((width, height)))
    return picture


def saved(picture: Image.Image, name: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, name, **options)
    return file.getvalue()


def _jpeg(width: int, height: int, mode: str = "RGB", **options: Any) -> bytes:
    return saved(photo(width, height, mode), "JPEG", quality=85, **options)


def _phone() -> bytes:
    """A picture as a phone writes it: orientation, 60 kB of maker's notes, colour profile, XMP in several segments."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = b"Exif\0\0" + hostile_exif.ordinary(orientation=6, size=60_000)
    data = _jpeg(4_032, 3_024, exif=exif, icc_profile=profile)
    name = b"http://ns.adobe.com/xmp/extension/\0" + b"0123456789ABCDEF" * 2
    pieces = [name + struct.pack(">LL", 320_000, start) + b"x" * 64_000 for start in range(0, 320_000, 64_000)]
    end = data.index(b"\xff\xdb")
    return data[:end] + b"".join(hostile_jpeg.segment(0xE1, piece) for piece in pieces) + data[end:]


def _pair() -> bytes:
    other = photo(1_600, 1_200).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return saved(photo(1_600, 1_200), "MPO", save_all=True, append_images=[other])


def _animated(name: str, **options: Any) -> bytes:
    frames = [photo(320, 240).rotate(angle) for angle in range(0, 200, 10)]
    return saved(frames[0], name, save_all=True, append_images=frames[1:], **options)


def _compressible(width: int, height: int, mode: str) -> bytes:
    """A drawing: areas of one colour."""
    small = photo(width // 50, height // 50, mode)
    return saved(small.resize((width, height), Image.Resampling.NEAREST), "PNG", compress_level=6)


def _transparent_palette() -> bytes:
    return saved(photo(800, 600).quantize(64), "PNG", transparency=bytes(range(0, 256, 4)))


def _grey_16() -> bytes:
    ramp = np.linspace(0, 65_535, 640 * 480).reshape(480, 640).astype(np.uint16)
    return saved(Image.fromarray(ramp), "PNG")


def _interlaced() -> bytes:
    """An interlaced picture, written row by row in Adam7's order: Pillow reads such pictures but cannot write them."""
    return hostile_png.plain(2_310, 1_732, hostile_png.RGB, interlaced=True)


def _annotated() -> bytes:
    info = PngImagePlugin.PngInfo()
    for index in range(12):
        info.add_text(f"Note {index}", f"A sentence of note {index}. " * 20, zip=index % 2 == 0)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return saved(photo(640, 480), "PNG", pnginfo=info, icc_profile=profile)


def _rle8(width: int = 640, height: int = 480) -> bytes:
    """A drawing in runs, as paint programs write it."""
    pixels = np.asarray(photo(width, height, "L").quantize(16))
    data = bytearray()
    for row in pixels[::-1]:
        data += _runs(row) + b"\0\0"
    return hostile_others.bmp(width, height, bytes(data) + b"\0\1")


def _runs(row: np.ndarray) -> bytes:
    edges = [0, *(np.flatnonzero(np.diff(row)) + 1), len(row)]
    pairs = bytearray()
    for start, end in itertools.pairwise(edges):
        for position in range(start, end, 255):
            pairs += bytes([min(255, end - position), row[start]])
    return bytes(pairs)


ORDINARY: dict[str, Callable[[], bytes]] = {
    "jpeg_12mp": partial(_jpeg, 4_000, 3_000, subsampling="4:2:0"),
    "jpeg_24mp": partial(_jpeg, 6_000, 4_000, subsampling="4:2:0"),
    "jpeg_12mp_progressive": partial(_jpeg, 4_000, 3_000, progressive=True),
    "jpeg_24mp_progressive": partial(_jpeg, 6_000, 4_000, progressive=True),
    "jpeg_12mp_444": partial(_jpeg, 4_000, 3_000, subsampling="4:4:4"),
    "jpeg_12mp_restarts": partial(_jpeg, 4_000, 3_000, restart_marker_rows=1),
    "jpeg_phone": _phone,
    "jpeg_cmyk": partial(_jpeg, 1_600, 1_200, "CMYK"),
    "jpeg_grey": partial(_jpeg, 1_600, 1_200, "L"),
    "jpeg_small": partial(_jpeg, 320, 240),
    "mpo_pair": _pair,
    "png_25mp_rgb": partial(_compressible, 5_000, 5_000, "RGB"),
    "png_25mp_rgba": partial(_compressible, 5_000, 5_000, "RGBA"),
    "png_2mp_photo": lambda: saved(photo(1_600, 1_200), "PNG", compress_level=1),
    "png_4mp_interlaced": _interlaced,
    "png_palette_transparent": _transparent_palette,
    "png_grey_16": _grey_16,
    "png_annotated": _annotated,
    "png_animated": partial(_animated, "PNG"),
    "webp_8mp": lambda: saved(photo(3_264, 2_448), "WEBP", quality=80, method=0),
    "webp_lossless": lambda: saved(photo(640, 480), "WEBP", lossless=True, method=0),
    "webp_animated": partial(_animated, "WEBP", method=0),
    "gif_animated": partial(_animated, "GIF"),
    "bmp_24_bit": lambda: saved(photo(1_280, 960), "BMP"),
    "bmp_rle8": _rle8,
    "tiff_lzw": lambda: saved(photo(1_600, 1_200), "TIFF", compression="tiff_lzw"),
    "tiff_fax": lambda: saved(photo(2_480, 3_508, "1"), "TIFF", compression="group4"),
    "tiff_raw": lambda: saved(photo(1_600, 1_200), "TIFF"),
    "avif_8mp": lambda: saved(photo(3_264, 2_448), "AVIF", speed=10),
    "avif_transparent": lambda: saved(photo(800, 600, "RGBA"), "AVIF", speed=10),
    "avif_animated": partial(_animated, "AVIF", speed=10),
}
"""Every one of these is answered with 200 by the default settings."""
