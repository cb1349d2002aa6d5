"""Images that are in two places where they should be in one: in train and test, or in a source and another one.

Those in both splits are found by their pixels, those in two sources by class and file name.
"""

import posixpath
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64

from lince.data.class_names import composed
from lince.data.duplicates import first_copies, is_too_small, near_pairs
from lince.data.sources.class_folders import arrange
from lince.data.sources.image_files import open_source
from lince.data.splits import join
from lince.errors import DataError
from lince.text import listed, printable
from lince.types import Split

_MAX_SEARCHED = 100_000  # images in `leaked`: so many of 96 × 96 pixels are 2.8 GB to read, and take 20 to 70 s


@dataclass(frozen=True)
class LeakedImages:
    """For each test image, whether a copy of it is among the training and validation images.

    Attributes:
        identical: bool[M], one of them has the same pixels.
        look_alike: bool[M], one of them is a near copy; false where `identical` is true.
        copies: i64[M], that image, counted through the training and then the validation images; -1 where there is none.
    """

    identical: Bool[np.ndarray, " m"]
    look_alike: Bool[np.ndarray, " m"]
    copies: Int64[np.ndarray, " m"]


def leaked(test: Split, *, train: Split, validation: Split) -> LeakedImages | None:
    """Finds the test images that have a copy among the training and validation images, as `lince data check` does.

    58,000 images of CIFAR-10 take 4 s, 10,000 of 96 × 96 pixels 2 s.

    Returns:
        The copies; None, without a search, when there are more than 100,000 images: it would take minutes.
    """
    if len(test) + len(train) + len(validation) > _MAX_SEARCHED:
        return None
    split = join(train, validation, test)
    first = first_copies(split.images)
    theirs, ours = np.split(first, [len(first) - len(test)])
    is_theirs, like = np.zeros(len(first), bool), np.full(len(first), -1)
    is_theirs[theirs] = True
    is_compared = first == np.arange(len(first))
    if split.sizes is not None:
        is_compared &= ~is_too_small(split.sizes)
    pairs = near_pairs(split.images, is_compared)
    for one, other in ((pairs.first, pairs.second), (pairs.second, pairs.first)):
        like[other[is_theirs[one]]] = one[is_theirs[one]]
    identical = is_theirs[ours]
    copies = np.where(identical, ours, like[ours])  # the first copy of an image is one of theirs, if there is one
    return LeakedImages(identical, (copies >= 0) & ~identical, copies)


def shared_by_name(train: Split, other: Path, *, source: str) -> tuple[int, ...]:
    """The training images that are in another source too: an image there has the same class and name, suffixes apart.

    They are left out of training when the other source is to be the test.

    Args:
        train: images read from a class-per-folder source.
        other: a class-per-folder folder or .zip; only names are read.
        source: the name of the training images' source, for messages.

    Returns:
        Indices into `train`, ascending.

    Raises:
        DataError: when `other` cannot be used, shares no image with `train`, or shares all images of a class.
    """
    with open_source(other) as opened:
        layout = arrange(opened.walk(), name=opened.name)
    theirs = {_key(label, entry.path) for label, entry in zip(layout.labels, layout.entries, strict=True)}
    labels = (train.classes[label] for label in train.labels.tolist())
    ours = [_key(label, name) for label, name in zip(labels, train.names, strict=True)]
    found = np.flatnonzero([key in theirs for key in ours])
    name = printable(str(other))
    if len(found) == 0:
        raise DataError(
            f"No training image of {source!r} (such as {ours[0]!r}) is named as one of {name!r} (such as "
            f"{min(theirs)!r}), which is to be left out. Expected the same CLASS/NAME in both, suffixes apart."
        )
    remaining = np.bincount(np.delete(train.labels, found), minlength=len(train.classes))
    if not remaining.all():
        empty = [train.classes[label] for label in np.flatnonzero(remaining == 0)]
        raise DataError(
            f"Leaving out what {name!r} holds leaves no training image of {listed(empty)}. Expected some of each "
            "class: leave out less."
        )
    return tuple(found.tolist())


def _key(label: str, path: str) -> str:
    """CLASS/NAME, without the folders between them and without the suffix."""
    return composed(f"{label}/{posixpath.splitext(posixpath.basename(path))[0]}")
