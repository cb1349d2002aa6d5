"""All images of one source, decoded, before any split is drawn: what readers return and the cache keeps."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8

from lince.records import Rejected, Split


@dataclass(frozen=True)
class Collection:
    """Labelled images in the order of their names, those of the train tree first.

    Attributes:
        images: u8[N,H,W,3], RGB pixels 0..255.
        labels: i64[N], an index into `classes`.
        classes: names, sorted (for `cifar10`: as published).
        names: paths inside the source, in the order of `images`.
        num_train: how many of them are the source's own train split; `None` for a source without splits of its own.
        rejected: files that were left out.
        is_final: false when a file could not be reached (and not: was bad), so that the next start has to look again.
    """

    images: UInt8[np.ndarray, "n h w 3"]
    labels: Int64[np.ndarray, " n"]
    classes: tuple[str, ...]
    names: tuple[str, ...]
    num_train: int | None
    rejected: tuple[Rejected, ...] = ()
    is_final: bool = True

    @property
    def splits(self) -> dict[str, slice]:
        """Where each split of the source's own lies: `train` and `test`, or `all`."""
        if self.num_train is None:
            return {"all": slice(None)}
        return {"train": slice(self.num_train), "test": slice(self.num_train, None)}

    def split(self, where: slice) -> Split:
        """The images at `where`; a view, nothing is copied."""
        return Split(self.images[where], self.labels[where], self.classes, self.names[where])


def fingerprint(collection: Collection) -> str:
    """Identifies the content itself: pixels (so size and resize rule too), labels, names, classes, splits, and which
    files were rejected (not why: the wording is that of the libraries).

    The same images as a folder and as a .zip have the same fingerprint, if the paths inside are the same.

    Args:
        collection: any.

    Returns:
        SHA-256, 64 hex digits.
    """
    rejected = [one.path for one in collection.rejected]
    head = [collection.images.shape, collection.classes, collection.names, collection.num_train, rejected]
    digest = hashlib.sha256(json.dumps(head).encode())
    digest.update(collection.labels.astype("<i8").data)
    digest.update(collection.images.reshape(-1).data)
    return digest.hexdigest()
