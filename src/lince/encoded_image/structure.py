"""What an encoded image is made of: what its decoder will meet, and which of its bytes are no pixels."""

from dataclasses import dataclass, field

from lince.errors import ImageError


@dataclass
class Structure:
    """What decoding will meet.

    Attributes:
        format: Pillow's name; empty where the first bytes are of no format that we read.
        width, height: as the header declares them; 0 where it is not to be found.
        passes: times that the decoder goes over the pixels: scans of a JPEG, 1 for the others.
        buffer_bytes: what the decoder holds beside the picture.
        slow: whether decoding may take long, or hold the interpreter's lock, for a reason of its own.
        orientation: of Exif, 1 to 8; 1 is upright, and stands for metadata that cannot be read too.
        damage: what is known to be wrong with the pixels, as an end of a sentence; empty where nothing is.
        edits: spans of bytes, in order, and what the decoder sees in their place: nothing instead of metadata, which
            can be broken, and a header that fits what is left.
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
        """Width and height as the picture is seen."""
        return (self.height, self.width) if self.orientation > 4 else (self.width, self.height)

    def drop(self, start: int, end: int) -> None:
        """Leaves out a span of bytes behind all spans before it."""
        self.edits.append((start, end, b""))

    def without_metadata(self, data: bytes) -> bytes:
        """The bytes of the picture that decoding needs; the very same object where nothing is to be changed."""
        if not self.edits:
            return data
        pieces, position = [], 0
        for start, end, instead in self.edits:
            pieces += [data[position:start], instead]
            position = end
        return b"".join([*pieces, data[position:]])


def require(parts: str, count: int, limit: int) -> None:
    """Raises: ImageError: `image_too_complex`, when there are more parts of a kind than any picture in use has."""
    if count > limit:
        raise ImageError(
            "image_too_complex",
            f"The image has more than {limit:,} {parts}. Expected at most that many, as pictures in use have: "
            "save it again as an ordinary JPEG or PNG.",
        )
