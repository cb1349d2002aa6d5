"""Files that are no pictures we read are called by their names, with what to do."""

import io
import zipfile

import pytest
from PIL import Image, features

from lince.errors import ImageError
from lince.images import decode
from lince.types import ImageSpec


def box(brand: bytes, *more: bytes) -> bytes:
    body = b"ftyp" + brand + bytes(4) + b"".join(more)
    return (len(body) + 4).to_bytes(4, "big") + body + bytes(100)


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("a.txt", "text")
    return file.getvalue()


def saved(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 50, 100)).save(file, kind, **options)
    return file.getvalue()


KINDS: dict[str, tuple[bytes, str]] = {
    "heic": (
        box(b"heic", b"mif1", b"heic"),
        r"This is HEIC, the iPhone's format: export it as JPEG, or set the camera",
    ),
    "heif": (box(b"mif1", b"heic"), r"This is HEIC"),
    "heic sequence": (box(b"msf1", b"hevc"), r"This is HEIC"),
    "mp4": (box(b"isom", b"mp41"), r"This is a video: export single frames of it"),
    "mov": (box(b"qt  "), r"This is a video"),
    "webm": (b"\x1aE\xdf\xa3" + bytes(99), r"This is a video"),
    "avi": (b"RIFF\0\0\0\0AVI LIST", r"This is a video"),
    "wav": (b"RIFF\0\0\0\0WAVEfmt ", r"This is sound"),
    "cr3": (box(b"crx "), r"This is a camera's raw file: develop it"),
    "raf": (b"FUJIFILMCCD-RAW 0201", r"This is a camera's raw file"),
    "rw2": (b"IIU\0" + bytes(99), r"This is a camera's raw file"),
    "svg": (
        b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>",
        r"This is SVG, a vector drawing: export",
    ),
    "pdf": (b"%PDF-1.4\n", r"This is PDF, a document: export its pages as PNG"),
    "psd": (b"8BPS\0\1" + bytes(99), r"This is PSD, Photoshop's format: export it"),
    "ico": (saved("ICO", sizes=[(16, 16)]), r"This is ICO"),
    "jpeg 2000": (saved("JPEG2000"), r"This is JPEG 2000: export it"),
    "jpeg 2000 codestream": (b"\xff\x4f\xff\x51" + bytes(99), r"This is JPEG 2000"),
    "jpeg xl": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), r"This is JPEG XL"),
    "jpeg xl codestream": (b"\xff\x0a" + bytes(99), r"This is JPEG XL"),
    "ppm": (saved("PPM"), r"This is a portable pixmap"),
    "part of a webp": (b"RIFF\0\0\0\0WE", r"Received 10 bytes that are not an image we read\."),
    "mov without a type": (b"\0\0\0\x08wide\0\0\x10\0mdat", r"This is a video"),
    "cursor": (b"\0\0\2\0\1\0\x20\x20" + bytes(50), r"This is ICO"),
    "pfm": (b"PF\n2 2\n-1.0\n" + bytes(48), r"This is a portable pixmap"),
    "tga": (saved("TGA"), r"This is TGA \(Targa\): export it"),
    "packed tga": (saved("TGA", compression="tga_rle"), r"This is TGA"),
    "pcx": (saved("PCX"), r"This is PCX"),
    "sgi": (saved("SGI"), r"This is SGI"),
    "qoi": (b"qoif\0\0\0\x10" + bytes(99), r"This is QOI"),
    "jpeg xr": (b"II\xbc\1\x20\0\0\0" + bytes(99), r"This is JPEG XR"),
    "mpeg stream": ((b"G" + bytes(187)) * 9, r"This is a video"),
    "wmv": (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(99), r"This is a video"),
    "mp3": (b"ID3\4" + bytes(99), r"This is sound"),
    "tar": (b"a".ljust(257, b"\0") + b"ustar" + bytes(250), r"This is an archive"),
    "heif by its second brand": (box(b"1pic", b"mif1", b"heic"), r"This is HEIC"),
    "film that names a picture": (box(b"qt  ", b"heic"), r"This is a video"),
    "svg behind a long heading": (
        b"\xef\xbb\xbf<?xml version='1.0'?><!--" + b"words " * 400 + b"--><svg/>",
        r"This is SVG",
    ),
    "svg by its type": (b"<!DOCTYPE svg PUBLIC 'x' [" + b"<!ENTITY a 'b'> " * 400, r"This is SVG"),
    "svg in utf-16": ("<?xml version='1.0'?><svg/>".encode("utf-16"), r"This is SVG"),
    "page with a drawing": (b"<!doctype html><svg></svg>", r"This is a web page"),
    "zip": (archive(), r"This is a zip archive, or a document that is one: unpack it"),
    "html": (
        b"\n<!DOCTYPE html>\n<html><body>404 Not Found</body></html>",
        r"This is a web page, as a failed download",
    ),
    "text": ("Grüße, hello".encode(), r"Received 14 bytes that are not an image we read, but text\."),
    "text of a kilobyte": (("ä" * 5_000).encode(), r"Received 10,000 bytes that are not an image we read, but text\."),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        r"This is a pointer of Git LFS.*git lfs pull",
    ),
    "zeros": (bytes(5_000), r"This is a file of zeros, which was not written completely: copy it again"),
    "apple double": (b"\0\5\x16\7\0\2\0\0" + bytes(99), r"This is metadata that macOS stores beside a file"),
    "unknown": (bytes(range(1, 200)), r"Received 199 bytes that are not an image we read\."),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_is_and_what_to_do(kind: str):
    """One sentence says what came, one what was expected."""
    data, message = KINDS[kind]
    with pytest.raises(ImageError, match=message + r".*Expected JPEG, PNG, WEBP, BMP, GIF, TIFF, AVIF\.") as refused:
        decode(data, ImageSpec())
    assert "unsupported_format" == refused.value.code


def test_no_beginning_of_anything_raises_more():
    """Each signature cut anywhere."""
    for data, _ in KINDS.values():
        for length in range(1, min(len(data), 40)):
            with pytest.raises(ImageError):
                decode(data[:length], ImageSpec())


def test_a_pillow_without_avif_says_so(monkeypatch):
    """Some systems build Pillow without it: the picture is named, with what to install."""
    monkeypatch.setattr(features, "check", lambda name: name != "avif")
    message = r"This is AVIF, which the Pillow installed here was built without\. Install Pillow's own wheel, or save"
    with pytest.raises(ImageError, match=message):
        decode(saved("AVIF"), ImageSpec())
