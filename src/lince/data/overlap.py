"""Images that are in two sources at once, told by class and file name."""

import posixpath
from pathlib import Path

import numpy as np

from lince.data.class_names import composed
from lince.data.sources.base import printable
from lince.data.sources.class_folders import arrange
from lince.data.sources.encoded_images import open_source
from lince.errors import DataError
from lince.text import listed
from lince.types import Split


def twins(train: Split, other: Path, *, source: str) -> tuple[int, ...]:
    """The training images that another source has too, so that it can be tested on: for each there is an image in the
    folder of the same class with the same name, its suffix apart.

    Args:
        train: images read from a class-per-folder source.
        other: a class-per-folder folder or .zip; names alone are read.
        source: what messages call the training images' source.

    Returns:
        Indices into `train`, ascending.

    Raises:
        DataError: when `other` cannot be used, has no image in common with `train`, or all of a class.
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
    """CLASS/NAME: whatever lies between them, and whether it is a JPEG or its original."""
    return composed(f"{label}/{posixpath.splitext(posixpath.basename(path))[0]}")
