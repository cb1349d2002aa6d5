"""Splits that keep every class's share and every group on one side, and come out the same for the same seed."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import reduce
from itertools import chain
from typing import Any, cast

import numpy as np
from jaxtyping import Int64, UInt8

from lince.data.pixel_file import StoredImages, StoredNames
from lince.errors import DataError
from lince.text import listed
from lince.types import Images, Split

_MAX_DEVIATION = 0.5  # of the number of images to hold out; beyond it the user is told


def stratified_split(
    labels: Int64[np.ndarray, " n"], *, fraction: float, seed: int, groups: Int64[np.ndarray, " n"] | None = None
) -> tuple[Int64[np.ndarray, " kept"], Int64[np.ndarray, " held"]]:
    """Holds out a share of every class, and keeps each group on one side.

    Each class has its own random stream, so that images added to one class do not change what is drawn of another.
    Groups are drawn as single images are, each in the class of its first image. One that would hold out too much of a
    class is passed over. Where nothing else is left, it is held out if that brings the shares closer, or if its class
    would have no image held out otherwise. The smallest is then taken first.

    Args:
        labels: i64[N], class indices, from 0.
        fraction: the share to hold out, 0..1, ends excluded. It is rounded to whole images in each class, and to at
            least one image on either side. The only image of a class is kept, and so is its only group.
        seed: from 0.
        groups: i64[N], equal where images are of one group; None where each is its own.

    Returns:
        i64[M] and i64[N-M], the indices kept and the indices held out, each ascending.

    Raises:
        DataError: when `fraction` or `seed` is out of range.
    """
    if not 0 < fraction < 1:
        raise DataError(f"Received fraction={fraction!r} to hold out. Expected 0 < fraction < 1, such as 0.2.")
    if seed < 0:
        raise DataError(f"Received seed={seed!r}. Expected a whole number from 0.")
    draw = _Draw(labels, first_of_group(np.arange(len(labels)) if groups is None else groups), fraction=fraction)
    order = {
        label: np.random.default_rng([seed, label]).permutation(np.flatnonzero(labels == label))
        for label in draw.wanted
    }
    for take in (draw.take_what_fits, draw.take_what_is_left):
        for label, drawn in order.items():
            take(label, drawn)
    is_held = draw.is_held[draw.groups]
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def hold_out(
    labels: Int64[np.ndarray, " n"],
    groups: Int64[np.ndarray, " n"],
    *,
    fraction: float,
    seed: int,
    leave_out: Sequence[int] = (),
) -> tuple[Int64[np.ndarray, " kept"], Int64[np.ndarray, " held"]]:
    """Holds out images as `stratified_split` does, of those that are not left out.

    Args:
        labels, groups, fraction, seed: as for `stratified_split`.
        leave_out: indices of images that are on neither side, nor is their group.

    Returns:
        i64[M] and i64[H], the indices kept and the indices held out, each ascending.

    Raises:
        DataError: when `fraction` or `seed` is out of range.
    """
    used = np.flatnonzero(~np.isin(groups, groups[np.asarray(leave_out, np.int64)]))
    kept, held = stratified_split(labels[used], fraction=fraction, seed=seed, groups=groups[used])
    return used[kept], used[held]


def first_of_group(groups: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """The same groups, each numbered by the lowest index of its images."""
    _, first, numbers = np.unique(groups, return_index=True, return_inverse=True)
    return np.asarray(first[numbers], np.int64)


def digest(indices: Int64[np.ndarray, " m"]) -> str:
    """SHA-256 (hex) of a split's indices, to tell whether a split that is drawn again is the same."""
    return hashlib.sha256(indices.astype("<i8").tobytes()).hexdigest()


def split_warnings(
    labels: Int64[np.ndarray, " n"],
    held: Int64[np.ndarray, " m"],
    *,
    classes: Sequence[str],
    fraction: float,
    purpose: str,
) -> tuple[str, ...]:
    """What the groups did to a split, a sentence each: a class of which nothing is held out, and another share.

    Args:
        labels: i64[N], of the images that were divided.
        held: i64[M], indices of the images held out.
        classes: names, in index order.
        fraction: the share that was to be held out of each class.
        purpose: what the images are held out for, a verb.
    """
    counts, found = (np.bincount(one, minlength=len(classes)) for one in (labels, labels[held]))
    wanted = sum(_wanted(count, fraction) for count in counts.tolist())
    sentences = []
    if missing := [classes[label] for label in np.flatnonzero((counts > 1) & (found == 0)).tolist()]:
        sentences.append(
            f"No image of {listed(missing)} is held out to {purpose}: all images of the class are in one group, and "
            "are trained on. Add images of another group."
        )
    if abs(len(held) - wanted) > _MAX_DEVIATION * wanted:
        share, wanted_share = len(held) / len(labels), wanted / len(labels)
        sentences.append(
            f"{share:.0%} of the images are held out to {purpose}, and {wanted_share:.0%} were wanted: the groups are "
            "too large. Add images of more groups, or name smaller groups."
        )
    return tuple(sentences)


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


def join(*splits: Split) -> Split:
    """All images of splits of one dataset, in order. No pixel is read or copied."""
    images: Images
    if all(isinstance(one.images, StoredImages) for one in splits):
        images = reduce(StoredImages.joined, (cast(StoredImages, one.images) for one in splits))
    else:
        images = JoinedImages.of([one.images for one in splits])
    names: Sequence[str]
    if all(isinstance(one.names, StoredNames) for one in splits):
        stored: StoredNames = reduce(StoredNames.joined, (cast(StoredNames, one.names) for one in splits))
        names = stored
    else:
        names = tuple(chain.from_iterable(one.names for one in splits))
    sizes = [one.sizes for one in splits if one.sizes is not None]
    labels = np.concatenate([one.labels for one in splits])
    return Split(images, labels, splits[0].classes, names, np.concatenate(sizes) if len(sizes) == len(splits) else None)


class JoinedImages:
    """u8[N,H,W,3]: a selection of images of several arrays, in a given order; copied when they are indexed."""

    def __init__(self, parts: Sequence[Images], rows: Int64[np.ndarray, " n"]):
        self._parts, self._rows = parts, rows

    @classmethod
    def of(cls, parts: Sequence[Images]) -> "JoinedImages":
        """All images of arrays of one height and width, in order."""
        return cls(parts, np.arange(sum(map(len, parts))))

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self._parts[0].shape[1:])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> UInt8[np.ndarray, "..."]:
        """The images at an index, as an array; a number gives one image, without the first axis."""
        chosen, begin = self._rows[index], 0
        rows = np.atleast_1d(chosen)
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for part in self._parts:
            inside = (rows >= begin) & (rows < begin + len(part))
            images[inside] = part[rows[inside] - begin]
            begin += len(part)
        return images if chosen.ndim else np.asarray(images[0])

    def take(self, indices: Int64[np.ndarray, " m"], axis: int) -> "JoinedImages":
        """The images at `indices`; `axis` is 0. No pixel is copied."""
        return JoinedImages(self._parts, self._rows[indices])


class _Draw:
    """A split while it is drawn.

    Attributes:
        groups: i64[N], the lowest index in the group of each image.
        wanted: how many images of each class are to be held out.
        is_held: bool[N], by the group's number.
    """

    def __init__(self, labels: Int64[np.ndarray, " n"], groups: Int64[np.ndarray, " n"], *, fraction: float):
        counts = dict(zip(*(found.tolist() for found in np.unique(labels, return_counts=True)), strict=True))
        self.groups, self.is_held = groups, np.zeros(len(labels), bool)
        self.wanted = {label: _wanted(count, fraction) for label, count in counts.items()}
        self._labels, self._missing, self._kept = labels, dict(self.wanted), counts
        self._parts: dict[int, Counter[int]] = {}  # of groups of two images or more: how many of each class
        for index in np.flatnonzero(np.bincount(groups, minlength=len(groups))[groups] > 1).tolist():
            self._parts.setdefault(int(groups[index]), Counter())[int(labels[index])] += 1

    def take_what_fits(self, label: int, drawn: Int64[np.ndarray, " m"]) -> None:
        """Holds out groups of a class in the drawn order, each unless that is too much of a class."""
        for group in drawn[self.groups[drawn] == drawn].tolist():
            if self._missing[label] <= 0:
                return
            part = self._part(group)
            if all(self._missing[one] >= count for one, count in part.items()):
                self._hold(group, part)

    def take_what_is_left(self, label: int, drawn: Int64[np.ndarray, " m"]) -> None:
        """Holds out groups that are too large, as far as the shares come closer by it."""
        if self._missing[label] <= 0:
            return
        left = list(dict.fromkeys(self.groups[drawn[~self.is_held[self.groups[drawn]]]].tolist()))
        for group in sorted(left, key=lambda group: self._part(group).total()):
            part = self._part(group)
            gain = sum(abs(self._missing[one]) - abs(self._missing[one] - count) for one, count in part.items())
            is_needed = gain > 0 or self._missing[label] == self.wanted[label]
            if is_needed and all(self._kept[one] > count for one, count in part.items()):
                self._hold(group, part)
            if self._missing[label] <= 0:
                return

    def _part(self, group: int) -> Counter[int]:
        return self._parts.get(group) or Counter({int(self._labels[group]): 1})

    def _hold(self, group: int, part: Counter[int]) -> None:
        self.is_held[group] = True
        for label, count in part.items():
            self._missing[label] -= count
            self._kept[label] -= count


def _wanted(count: int, fraction: float) -> int:
    """How many of a class's images are to be held out."""
    return min(max(1, round(fraction * count)), count - 1) if count else 0
