"""What a file is that is no picture we read, by its first bytes, and how to make one of it."""

import re

_EXPORT = "export it as JPEG or PNG"
_RAW = ("a camera's raw file", "develop it, and export it as JPEG")
_FILM = ("a film", "take single pictures out of it")
_HEIC = (
    "HEIC, the iPhone's format",
    'export it as JPEG, or set the camera to "Most Compatible" (Settings, Camera, Formats)',
)
_JPEG_2000, _JPEG_XL = ("JPEG 2000", _EXPORT), ("JPEG XL", _EXPORT)
_ARCHIVE = ("an archive", "unpack it")

_BEGINNINGS: dict[bytes, tuple[str, str]] = {
    b"%PDF": ("PDF, a document", "export its pages as PNG"),
    b"%!PS": ("PostScript, a drawing", _EXPORT),
    b"8BPS": ("PSD, Photoshop's format", _EXPORT),
    b"gimp xcf": ("XCF, GIMP's format", _EXPORT),
    b"\0\0\1\0": ("ICO, a symbol of Windows", "save it as PNG"),
    b"icns": ("ICNS, a symbol of macOS", "save it as PNG"),
    b"\0\0\0\x0cJXL ": _JPEG_XL,
    b"\xff\x0a": _JPEG_XL,
    b"\0\0\0\x0cjP  ": _JPEG_2000,
    b"\xff\x4f\xff\x51": _JPEG_2000,
    b"II+\0": ("BigTIFF", _EXPORT),
    b"MM\0+": ("BigTIFF", _EXPORT),
    b"FUJIFILMCCD-RAW": _RAW,
    b"IIU\0": _RAW,
    b"IIRO": _RAW,
    b"IIRS": _RAW,
    b"MMOR": _RAW,
    b"FOVb": _RAW,
    b"v/1\1": ("OpenEXR", _EXPORT),
    b"#?RADIANCE": ("Radiance HDR", _EXPORT),
    b"DDS ": ("DDS, a texture", _EXPORT),
    b"SIMPLE  =": ("FITS, astronomers' format", _EXPORT),
    b"\x93NUMPY": ("a NumPy array", "save it as PNG"),
    b"\x89HDF": ("HDF5", "save each of its pictures as PNG"),
    b"\x1aE\xdf\xa3": _FILM,
    b"OggS": _FILM,
    b"PK\3\4": ("a zip archive, or a document that is one", "unpack it"),
    b"\x1f\x8b": _ARCHIVE,
    b"Rar!": _ARCHIVE,
    b"7z\xbc\xaf\x27\x1c": _ARCHIVE,
    b"BZh": _ARCHIVE,
    b"\xfd7zXZ": _ARCHIVE,
    b"\0\5\x16\7": ("what macOS keeps beside a file on foreign disks", "take the file without the leading ._"),
    b"version https://git-lfs": ("a pointer of Git LFS, not the file itself", "run git lfs pull"),
}
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_PORTABLE = re.compile(rb"P[1-7][\s#]")
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_LOOKED_AT = 1_024


def describe(data: bytes) -> tuple[str, str] | None:
    """Names a file that is no picture we read.

    Args:
        data: its bytes; the first kilobyte is looked at, and whether all of them are 0.

    Returns:
        What it is and how to make a picture of it, as parts of a sentence; None where the bytes say nothing.
    """
    head = data[:_LOOKED_AT]
    for beginning, kind in _BEGINNINGS.items():
        if head.startswith(beginning):
            return kind
    if head[4:8] == b"ftyp":
        return _by_brand(head[8:12])
    if head.startswith(b"RIFF"):
        return _FILM if head[8:12] == b"AVI " else ("sound", "take a picture instead")
    if _PORTABLE.match(head):
        return "a portable pixel map (PBM, PGM or PPM)", "save it as PNG"
    if head[128:132] == b"DICM":
        return "DICOM, medicine's format", "export it as PNG"
    if not data.strip(b"\0"):
        return "a file of zeros, which was never written to its end", "copy it again"
    return _markup(head)


def _by_brand(brand: bytes) -> tuple[str, str]:
    if brand in _HEIF_BRANDS:
        return _HEIC
    return _RAW if brand == b"crx " else _FILM


def _markup(head: bytes) -> tuple[str, str] | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<") and b"<svg" in text.lower():
        return "SVG, a drawing of lines", "export it as PNG"
    if _HTML.search(text):
        return "a page of the web, as a failed download leaves it", "download the picture again"
    return None


def is_text(data: bytes) -> bool:
    """Whether the first kilobyte is text in UTF-8."""
    head = data[:_LOOKED_AT]
    if _CONTROL.search(head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return len(data) > _LOOKED_AT and error.start >= _LOOKED_AT - 3  # a character that is cut
    return True
