"""All decoded images of one source, before a split is drawn: the result of reading it, and the content of the cache."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Int64, UInt8, UInt16

from lince.data.class_names import composed
from lince.data.pixel_file import as_text, digests
from lince.types import Images, Rejected, Split


@dataclass(frozen=True)
class EmptyClass:
    """A class folder without a usable image.

    Attributes:
        path: of the folder, inside the source.
        reason: why it has none, a sentence.
        split: `train` or `test`; `all` where the source has no splits of its own.
        label: the class.
    """

    path: str
    reason: str
    split: str
    label: str


@dataclass(frozen=True)
class Catalogue:
    """The images of a source, without their pixels.

    Attributes:
        labels: i64[N], an index into `classes`.
        classes: names of the classes that have an image, composed (NFC) and sorted (for `cifar10`: as published).
        names: paths inside the source, in the order of the images.
        sizes: u16[N,2], width and height of each original picture, upright; 0 where not known.
        num_train: how many images, from the first, are the source's own train split; `None` for a source without
            splits of its own.
        rejected: files that were left out.
        empty: class folders without a usable image.
        trees: names of the source's own splits, for messages.
        reading: how the source's folders were read, a sentence; empty for one without folders.
        warnings: what may be a mistake, a sentence each.
        is_final: false when a file could not be reached (a bad file was reached), so that the next start tries again.
    """

    labels: Int64[np.ndarray, " n"]
    classes: tuple[str, ...]
    names: Sequence[str]
    sizes: UInt16[np.ndarray, "n 2"]
    num_train: int | None
    rejected: tuple[Rejected, ...] = ()
    empty: tuple[EmptyClass, ...] = ()
    trees: tuple[str, str] = ("train", "test")
    reading: str = ""
    warnings: tuple[str, ...] = ()
    is_final: bool = True

    @property
    def splits(self) -> dict[str, slice]:
        """The images of each of the source's own splits: `train` and `test`, or `all`."""
        if self.num_train is None:
            return {"all": slice(None)}
        return {"train": slice(self.num_train), "test": slice(self.num_train, None)}


class Reading(Protocol):
    """A source that can be decoded once: first all `blocks`, then the `catalogue`.

    Attributes:
        total: the largest possible number of images.
        image_shape: (H, W, 3).
    """

    total: int
    image_shape: tuple[int, int, int]

    def blocks(self) -> Iterator[UInt8[np.ndarray, "n h w 3"]]:
        """The usable images, in order, a few at a time.

        Raises:
            DataError: when the source is unusable.
        """

    def catalogue(self) -> Catalogue:
        """Labels and names of the usable images.

        Raises:
            DataError: when there are too few.
        """


@dataclass(frozen=True, kw_only=True)
class Collection(Catalogue):
    """Labelled images in the order of their names, those of the train tree first.

    Attributes:
        images: u8[N,H,W,3], RGB pixels 0..255; an array, or in a file.
        digests: u8[N,16], of each image's pixels.
    """

    images: Images
    digests: UInt8[np.ndarray, "n 16"]

    def split(self, where: slice) -> Split:
        """The images at `where`; no pixel is copied."""
        images = self.images
        part = images[where] if isinstance(images, np.ndarray) else images.take(np.arange(len(images))[where], axis=0)
        return Split(part, self.labels[where], self.classes, self.names[where], self.sizes[where])


def in_memory(reading: Reading) -> Collection:
    """Decodes a source into an array."""
    images, count = np.empty((reading.total, *reading.image_shape), np.uint8), 0
    for block in reading.blocks():
        images[count : count + len(block)] = block
        count += len(block)
    images = images[:count]
    return Collection(**vars(reading.catalogue()), images=images, digests=digests(images))


def fingerprint(catalogue: Catalogue, *, image_shape: tuple[int, int, int], digests: UInt8[np.ndarray, "n 16"]) -> str:
    """Identifies the content: pixels (and so size and resize rule), labels, names, classes, splits, rejected files.

    The reasons of rejections do not count: libraries may change their wording. The same images as a folder and as a
    .zip have the same fingerprint. Folders around all images do not count, nor does the Unicode form of names.
    Pixels count by their digests, so that a million stored images are identified without being read.

    Returns:
        SHA-256, 64 hex digits.
    """
    names = as_text(catalogue.names)
    if not names.isascii():  # a line feed never combines with a character, so that all names are composed at once
        names = composed(names.decode()).encode()
    wrapper = _wrapper(names)
    names = (b"\n" + names).replace(b"\n" + wrapper, b"\n")[1:]
    rejected = [composed(one.path).removeprefix(wrapper.decode()) for one in catalogue.rejected]
    head = [len(digests), image_shape, catalogue.classes, catalogue.num_train, rejected]
    digest = hashlib.sha256(json.dumps(head).encode())
    digest.update(names)
    digest.update(catalogue.labels.astype("<i8").data)
    digest.update(np.ascontiguousarray(digests).reshape(-1).data)
    return digest.hexdigest()


def _wrapper(names: bytes) -> bytes:
    """The folders with which all of these lines begin, such as `data/`; empty where there are none."""
    lines, *folders = names.count(b"\n"), *names[: names.find(b"\n")].split(b"/")[:-1]
    for depth in range(len(folders), 0, -1):
        found = b"".join(folder + b"/" for folder in folders[:depth])
        if (b"\n" + names).count(b"\n" + found) == lines:
            return found
    return b""
