"""What kind of file it is that is not an image we read, by its first bytes, and how to make an image of it."""

import re

_EXPORT = "export it as JPEG or PNG"
_RAW = ("a camera's raw file", "develop it, and export it as JPEG")
_VIDEO = ("a video", "export single frames of it")
_HEIC = (
    "HEIC, the iPhone's format",
    'export it as JPEG, or set the camera to "Most Compatible" (Settings, Camera, Formats)',
)
_ICON = ("ICO, a Windows icon", "save it as PNG")
_SOUND = ("sound", "choose an image instead")
_ARCHIVE = ("an archive", "unpack it")

_BEGINNINGS: dict[bytes, tuple[str, str]] = {
    b"%PDF": ("PDF, a document", "export its pages as PNG"),
    b"AT&TFORM": ("DjVu, a document", "export its pages as PNG"),
    **dict.fromkeys((b"\xc5\xd0\xd3\xc6", b"%!PS"), ("PostScript, a drawing", _EXPORT)),
    b"8BPS": ("PSD, Photoshop's format", _EXPORT),
    b"gimp xcf": ("XCF, GIMP's format", _EXPORT),
    b"\0\0\1\0": _ICON,
    b"icns": ("ICNS, a macOS icon", "save it as PNG"),
    **dict.fromkeys((b"\0\0\0\x0cJXL ", b"\xff\x0a"), ("JPEG XL", _EXPORT)),
    **dict.fromkeys((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"), ("JPEG 2000", _EXPORT)),
    **dict.fromkeys((b"FUJIFILMCCD-RAW", b"\0MRM", b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"FOVb"), _RAW),
    b"v/1\1": ("OpenEXR", _EXPORT),
    b"#?RADIANCE": ("Radiance HDR", _EXPORT),
    b"DDS ": ("DDS, a texture", _EXPORT),
    b"SIMPLE  =": ("FITS, a format of astronomy", _EXPORT),
    b"\x93NUMPY": ("a NumPy array", "save it as PNG"),
    b"\x89HDF": ("HDF5", "save each of its pictures as PNG"),
    **dict.fromkeys((b"\x1aE\xdf\xa3", b"OggS", b"FLV\1", b"YUV4MPEG2", b"\0\0\1\xba", b"\0\0\1\xb3"), _VIDEO),
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": _VIDEO,
    b"\x8aMNG\r\n\x1a\n": ("MNG, an animation of PNGs", "export its frames as PNG"),
    b"\x8bJNG\r\n\x1a\n": ("JNG", _EXPORT),
    b"II\xbc": ("JPEG XR", _EXPORT),
    b"qoif": ("QOI", _EXPORT),
    b"BPG\xfb": ("BPG", _EXPORT),
    b"FLIF": ("FLIF", _EXPORT),
    **dict.fromkeys((b"\1\xda\0\1", b"\1\xda\1\1"), ("SGI", _EXPORT)),
    b"\xd7\xcd\xc6\x9a": ("WMF, a vector drawing", "export it as PNG"),
    **dict.fromkeys((b"ID3", b"fLaC"), _SOUND),
    b"/* XPM */": ("XPM", "save it as PNG"),
    b"PK\3\4": ("a zip archive, or a document that is one", "unpack it"),
    **dict.fromkeys((b"PK\5\6", b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"Rar!", b"7z\xbc\xaf\x27\x1c", b"BZh"), _ARCHIVE),
    b"\xfd7zXZ": _ARCHIVE,
    b"\0\5\x16\7": ("metadata that macOS stores beside a file", "choose the file without the leading ._"),
    b"version https://git-lfs": ("a pointer of Git LFS, not the file itself", "run git lfs pull"),
}
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_HEIF_BRANDS |= {b"mif2", b"avci", b"avcs"}
_VIDEO_BOXES = frozenset({b"moov", b"mdat", b"wide", b"pnot"})  # with which old videos begin
_VIDEO_BRANDS = (b"iso", b"mp4", b"qt", b"M4", b"3g", b"avc1")
_PORTABLE = re.compile(rb"P[1-7Ff][\s#]")
_MARKUP = re.compile(rb"<(?:!doctype\s+)?(svg|html|head|body)\b", re.IGNORECASE)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
# Targa has no magic number: its first 18 bytes are matched, without a palette or with one. Newer files end so.
_TARGA = re.compile(
    rb".(?:\x00[\x02\x03\x0a\x0b]\x00{5}|\x01[\x01\x09]\x00\x00..[\x0f\x10\x18\x20]).{8}[\x08\x0f\x10\x18\x20][\x00-\x3f]",
    re.DOTALL,
)
_TARGA_END = b"TRUEVISION-XFILE.\0"
_PCX = re.compile(rb"\x0a[\x00\x02-\x05]\x01[\x01\x02\x04\x08]")
_STREAM = (b"GGGG", 188)  # MPEG transport stream: a G begins each packet of so many bytes
_LOOKED_AT = 4_096


def describe(data: bytes) -> tuple[str, str] | None:
    """Recognises a file that is not an image we read, by its first 4 kB, its last bytes, and whether all of it is 0.

    Returns:
        What it is and how to make an image of it, as parts of a sentence; None where the bytes are not recognised.
    """
    head = data[:_LOOKED_AT]
    for beginning, kind in _BEGINNINGS.items():
        if head.startswith(beginning):
            return kind
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    if head.startswith(b"RIFF"):
        return {b"AVI ": _VIDEO, b"WAVE": _SOUND, b"ACON": _ICON}.get(head[8:12])
    if head[4:8] in _VIDEO_BOXES:
        return _VIDEO
    if _PORTABLE.match(head):
        return "a portable pixmap (PBM, PGM or PPM)", "save it as PNG"
    if head[128:132] == b"DICM":
        return "DICOM, a medical format", "export it as PNG"
    if head[257:262] == b"ustar":
        return _ARCHIVE
    if head[:: _STREAM[1]].startswith(_STREAM[0]):
        return _VIDEO
    if _PCX.match(head):
        return "PCX", _EXPORT
    if not data.strip(b"\0"):
        return "a file of zeros, which was not written completely", "copy it again"
    if _TARGA.match(head) or data.endswith(_TARGA_END):
        return "TGA (Targa)", _EXPORT
    if head.startswith(b"\0\0\2\0"):  # a cursor; some Targa files begin so too
        return _ICON
    return _markup(head)


def _by_brand(head: bytes) -> tuple[str, str]:
    """By the first of its brands that is known: some pictures have a rare brand before it."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    for brand in (head[start : start + 4] for start in (8, *range(16, end, 4))):
        if brand in _HEIF_BRANDS:
            return _HEIC
        if brand == b"crx ":
            return _RAW
        if brand.startswith(_VIDEO_BRANDS):
            return _VIDEO
    return _VIDEO


def _markup(head: bytes) -> tuple[str, str] | None:
    """By the first known element; a web page may contain drawings."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.decode("utf-16", "ignore").encode()
    found = _MARKUP.search(head)
    if found and found[1].lower() != b"svg":
        return "a web page, as a failed download leaves it", "download the image again"
    if found and head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        return "SVG, a vector drawing", "export it as PNG"
    return None


def is_text(data: bytes) -> bool:
    """Whether the first 4 kB are text in UTF-8."""
    head = data[:_LOOKED_AT]
    if _CONTROL.search(head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return len(data) > _LOOKED_AT and error.start >= _LOOKED_AT - 3  # a truncated character
    return True
