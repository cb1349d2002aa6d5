"""Splits that keep every class's share, and come out the same for the same seed."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from lince.data.duplicates import first_copies
from lince.data.pixel_file import StoredImages, StoredNames
from lince.errors import DataError
from lince.types import Images, Split


def stratified_split(
    labels: Int64[np.ndarray, " n"], *, fraction: float, seed: int
) -> tuple[Int64[np.ndarray, " kept"], Int64[np.ndarray, " held"]]:
    """Holds out a share of every class.

    Each class has its own random stream, so that images added to one class do not change what is drawn of another.

    Args:
        labels: i64[N], class indices, from 0.
        fraction: the share to hold out, 0..1, ends excluded. It is rounded to whole images in each class, and to at
            least one image on either side. The only image of a class is kept.
        seed: from 0.

    Returns:
        i64[M] and i64[N-M], the indices kept and the indices held out, each ascending.

    Raises:
        DataError: when `fraction` or `seed` is out of range.
    """
    if not 0 < fraction < 1:
        raise DataError(f"Received fraction={fraction!r} to hold out. Expected 0 < fraction < 1, such as 0.2.")
    if seed < 0:
        raise DataError(f"Received seed={seed!r}. Expected a whole number from 0.")
    held = [_draw(labels, label, fraction=fraction, seed=seed) for label in np.unique(labels)]
    is_held = np.zeros(len(labels), bool)
    is_held[np.concatenate([np.empty(0, np.int64), *held])] = True
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def hold_out(
    images: Images,
    labels: Int64[np.ndarray, " n"],
    *,
    fraction: float,
    seed: int,
    leave_out: Sequence[int] = (),
) -> tuple[Int64[np.ndarray, " kept"], Int64[np.ndarray, " held"]]:
    """Holds out images as `stratified_split` does, but none that has a copy with the same pixels among those kept.

    Args:
        images: u8[N,H,W,3]. Where copies are on both sides, all are kept. No pixel of stored images is read.
        labels, fraction, seed: as for `stratified_split`.
        leave_out: indices of images that are on neither side, nor their copies.

    Returns:
        i64[M] and i64[H], the indices kept and the indices held out, each ascending.

    Raises:
        DataError: when `fraction` or `seed` is out of range.
    """
    first = first_copies(images)
    used = np.flatnonzero(~np.isin(first, first[np.asarray(leave_out, np.int64)]))
    kept = used[stratified_split(labels[used], fraction=fraction, seed=seed)[0]]
    is_kept = np.zeros(len(labels), bool)  # by the first of its copies
    is_kept[first[kept]] = True
    is_kept = is_kept[first][used]
    return used[is_kept], used[~is_kept]


def sample(split: Split, count: int, *, seed: int) -> Int64[np.ndarray, " m"]:
    """Indices of about `count` images (1 or more), the same share of every class, rounded; of all if there are no more.

    The order is random: a running mean over images sorted by class would reflect only the last class.
    """
    rng, chosen = np.random.default_rng(seed), np.arange(len(split))
    if count < len(split):
        drawn = stratified_split(split.labels, fraction=count / len(split), seed=seed)[1]
        # Where each class has one image, `stratified_split` holds out none.
        chosen = drawn if len(drawn) else rng.permutation(chosen)[:count]
    return rng.permutation(chosen)


def join(first: Split, second: Split) -> Split:
    """All images of two splits of one dataset, those of `first` first; stored images stay in their file."""
    labels = np.concatenate([first.labels, second.labels])
    images: Images
    if isinstance(first.images, StoredImages) and isinstance(second.images, StoredImages):
        images = first.images.joined(second.images)
    else:
        images = np.concatenate([first.images[:], second.images[:]])
    names: Sequence[str]
    if isinstance(first.names, StoredNames) and isinstance(second.names, StoredNames):
        names = first.names.joined(second.names)
    else:
        names = (*first.names, *second.names)
    sizes = None if first.sizes is None or second.sizes is None else np.concatenate([first.sizes, second.sizes])
    return Split(images, labels, first.classes, names, sizes)


def _draw(labels: Int64[np.ndarray, " n"], label: int, *, fraction: float, seed: int) -> Int64[np.ndarray, " m"]:
    members = np.flatnonzero(labels == label)
    count = min(max(1, round(fraction * len(members))), len(members) - 1)
    return np.random.default_rng([seed, int(label)]).permutation(members)[:count]
