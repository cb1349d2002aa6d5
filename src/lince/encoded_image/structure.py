"""The structure of an encoded image: what its decoder has to do, and which of its bytes are not pixels."""

from dataclasses import dataclass, field

from lince.errors import ImageError


@dataclass
class Structure:
    """What is known of an encoded image before it is decoded.

    Attributes:
        format: Pillow's name; empty where the first bytes are of no format that is read.
        width, height: pixels as the header declares them; 0 where no header was found.
        passes: how often the decoder goes over the pixels: scans of a JPEG, 1 for the others.
        buffer_bytes: memory that the decoder needs beside the picture.
        slow: whether decoding may take long, or hold the interpreter's lock, for another reason than its size.
        orientation: of Exif, 1 to 8; 1 is upright, also where the metadata cannot be read.
        damage: what is known to be wrong with the pixels, as the end of a sentence; empty where nothing is.
        edits: spans of bytes (start, end), in order, and what the decoder sees instead: nothing in place of metadata,
            which can be broken, and a header that fits the rest.
    """

    format: str = ""
    width: int = 0
    height: int = 0
    passes: int = 1
    buffer_bytes: int = 0
    slow: bool = False
    orientation: int = 1
    damage: str = ""
    edits: list[tuple[int, int, bytes]] = field(default_factory=list)

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height of the picture once it is turned upright."""
        return (self.height, self.width) if self.orientation > 4 else (self.width, self.height)

    def drop(self, start: int, end: int) -> None:
        """Leaves out a span of bytes, which lies after all spans before it."""
        self.edits.append((start, end, b""))

    def without_metadata(self, data: bytes) -> bytes:
        """The bytes that decoding needs; the same object where nothing is to be changed."""
        if not self.edits:
            return data
        pieces: list[bytes] = []
        position = 0
        for start, end, instead in self.edits:
            pieces += [data[position:start], instead]
            position = end
        return b"".join([*pieces, data[position:]])


def require(parts: str, count: int, limit: int) -> None:
    """Checks that there are no more parts of a kind than pictures in use have.

    Raises:
        ImageError: `image_too_complex`.
    """
    if count > limit:
        raise ImageError(
            "image_too_complex",
            f"The image has more than {limit:,} {parts}. Expected at most that many, as pictures in use have: "
            "save it again as an ordinary JPEG or PNG.",
        )
