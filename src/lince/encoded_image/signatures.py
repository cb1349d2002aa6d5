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
_SYMBOL = ("ICO, a symbol of Windows", "save it as PNG")
_SGI = ("SGI", _EXPORT)
_SOUND = ("sound", "take a picture instead")
_ARCHIVE = ("an archive", "unpack it")

_BEGINNINGS: dict[bytes, tuple[str, str]] = {
    b"%PDF": ("PDF, a document", "export its pages as PNG"),
    b"AT&TFORM": ("DjVu, a document", "export its pages as PNG"),
    b"\xc5\xd0\xd3\xc6": ("PostScript, a drawing", _EXPORT),
    b"%!PS": ("PostScript, a drawing", _EXPORT),
    b"8BPS": ("PSD, Photoshop's format", _EXPORT),
    b"gimp xcf": ("XCF, GIMP's format", _EXPORT),
    b"\0\0\1\0": _SYMBOL,
    b"icns": ("ICNS, a symbol of macOS", "save it as PNG"),
    b"\0\0\0\x0cJXL ": _JPEG_XL,
    b"\xff\x0a": _JPEG_XL,
    b"\0\0\0\x0cjP  ": _JPEG_2000,
    b"\xff\x4f\xff\x51": _JPEG_2000,
    b"FUJIFILMCCD-RAW": _RAW,
    b"\0MRM": _RAW,
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
    b"FLV\1": _FILM,
    b"YUV4MPEG2": _FILM,
    b"\0\0\1\xba": _FILM,
    b"\0\0\1\xb3": _FILM,
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": _FILM,
    b"\x8aMNG\r\n\x1a\n": ("MNG, a film of PNGs", "export its pictures as PNG"),
    b"\x8bJNG\r\n\x1a\n": ("JNG", _EXPORT),
    b"II\xbc": ("JPEG XR", _EXPORT),
    b"qoif": ("QOI", _EXPORT),
    b"BPG\xfb": ("BPG", _EXPORT),
    b"FLIF": ("FLIF", _EXPORT),
    b"\1\xda\0\1": _SGI,
    b"\1\xda\1\1": _SGI,
    b"\xd7\xcd\xc6\x9a": ("WMF, a drawing of lines", "export it as PNG"),
    b"ID3": _SOUND,
    b"fLaC": _SOUND,
    b"/* XPM */": ("XPM", "save it as PNG"),
    b"PK\5\6": _ARCHIVE,
    b"\x28\xb5\x2f\xfd": _ARCHIVE,
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
_HEIF_BRANDS |= {b"mif2", b"avci", b"avcs"}
_FILM_BOXES = frozenset({b"moov", b"mdat", b"wide", b"pnot"})  # with which old films begin
_FILM_BRANDS = (b"iso", b"mp4", b"qt", b"M4", b"3g", b"avc1")
_PORTABLE = re.compile(rb"P[1-7Ff][\s#]")
_MARKUP = re.compile(rb"<(?:!doctype\s+)?(svg|html|head|body)\b", re.IGNORECASE)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
# Targa has no magic: its first 18 bytes are looked at, of a picture without a palette or with one; newer ones end so.
_TARGA = re.compile(
    rb".(?:\x00[\x02\x03\x0a\x0b]\x00{5}|\x01[\x01\x09]\x00\x00..[\x0f\x10\x18\x20]).{8}[\x08\x0f\x10\x18\x20][\x00-\x3f]",
    re.DOTALL,
)
_TARGA_END = b"TRUEVISION-XFILE.\0"
_PCX = re.compile(rb"\x0a[\x00\x02-\x05]\x01[\x01\x02\x04\x08]")
_STREAM = (b"GGGG", 188)  # of television: a G begins each packet of so many bytes
_LOOKED_AT = 4_096


def describe(data: bytes) -> tuple[str, str] | None:
    """Names a file that is no picture we read.

    Args:
        data: its bytes; their first 4 kB are looked at, and whether all of them are 0.

    Returns:
        What it is and how to make a picture of it, as parts of a sentence; None where the bytes say nothing.
    """
    head = data[:_LOOKED_AT]
    for beginning, kind in _BEGINNINGS.items():
        if head.startswith(beginning):
            return kind
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    if head.startswith(b"RIFF"):
        return {b"AVI ": _FILM, b"WAVE": _SOUND, b"ACON": _SYMBOL}.get(head[8:12])
    if head[4:8] in _FILM_BOXES:
        return _FILM
    if _PORTABLE.match(head):
        return "a portable pixel map (PBM, PGM or PPM)", "save it as PNG"
    if head[128:132] == b"DICM":
        return "DICOM, medicine's format", "export it as PNG"
    if head[257:262] == b"ustar":
        return _ARCHIVE
    if head[:: _STREAM[1]].startswith(_STREAM[0]):
        return _FILM
    if _PCX.match(head):
        return "PCX", _EXPORT
    if not data.strip(b"\0"):
        return "a file of zeros, which was never written to its end", "copy it again"
    if _TARGA.match(head) or data.endswith(_TARGA_END):
        return "TGA (Targa)", _EXPORT
    if head.startswith(b"\0\0\2\0"):  # a cursor; some Targas begin so, too
        return _SYMBOL
    return _markup(head)


def _by_brand(head: bytes) -> tuple[str, str]:
    """By the first of the brands that says something: some pictures begin with a brand that few know."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    for brand in (head[start : start + 4] for start in (8, *range(16, end, 4))):
        if brand in _HEIF_BRANDS:
            return _HEIC
        if brand == b"crx ":
            return _RAW
        if brand.startswith(_FILM_BRANDS):
            return _FILM
    return _FILM


def _markup(head: bytes) -> tuple[str, str] | None:
    """By the first element that says something; a page may hold drawings."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.decode("utf-16", "ignore").encode()
    found = _MARKUP.search(head)
    if found and found[1].lower() != b"svg":
        return "a page of the web, as a failed download leaves it", "download the picture again"
    if found and head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        return "SVG, a drawing of lines", "export it as PNG"
    return None


def is_text(data: bytes) -> bool:
    """Whether the first 4 kB are text in UTF-8."""
    head = data[:_LOOKED_AT]
    if _CONTROL.search(head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return len(data) > _LOOKED_AT and error.start >= _LOOKED_AT - 3  # a character that is cut
    return True
