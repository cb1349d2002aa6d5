"""What makes a labelled source worse than it seems: rejected files, imbalance, copies, copies across train and test."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int64

from lince.data.collection import Collection
from lince.data.copies import exact_groups, near_pairs
from lince.data.progress import Progress, silent
from lince.data.proportions import Proportions, measure
from lince.records import Rejected


@dataclass(frozen=True)
class Copy:
    """One of several images that are the same; `split` is `train` or `test`."""

    name: str
    split: str
    label: str


@dataclass(frozen=True)
class CopyPair:
    """Two images that show the same; `distance` is the root mean square of their difference, 0 (exact) to 255."""

    first: Copy
    second: Copy
    distance: float


@dataclass(frozen=True)
class CheckReport:
    """What was found; `dataclasses.asdict` makes it JSON.

    Attributes:
        source, fingerprint: what was looked at.
        height, width: pixels at which images were compared.
        n: images that can be used.
        classes: names, in index order.
        drawn_seed: None for a source with a test split of its own; else the seed that drew the one looked at here.
        counts: images by split of the source's own (`train` and `test`, or `all`) and class.
        imbalance: the largest class over the smallest, in `train` or `all`; 1 is balanced.
        exact_copies: groups with the same pixels.
        near_copies: pairs that show the same but differ a little, closest first; each exact group takes part once.
        near_copies_capped: true when the search for such pairs stopped, and there may be more.
        across_splits: an image of `train`, and one of `test` that is an exact or near copy of it: the test accuracy is
            flattered by each. Every such test image once, with its closest.
        conflicting_labels: exact groups, then near pairs, whose images carry different classes.
        rejected: files that were left out.
        proportions: of the pictures as they came.
    """

    source: str
    fingerprint: str
    height: int
    width: int
    n: int
    classes: tuple[str, ...]
    drawn_seed: int | None
    counts: dict[str, dict[str, int]]
    imbalance: float
    exact_copies: tuple[tuple[Copy, ...], ...]
    near_copies: tuple[CopyPair, ...]
    near_copies_capped: bool
    across_splits: tuple[CopyPair, ...]
    conflicting_labels: tuple[tuple[Copy, ...], ...]
    rejected: tuple[Rejected, ...]
    proportions: Proportions = field(default_factory=Proportions)


def inspect(
    collection: Collection,
    *,
    test_indices: Int64[np.ndarray, " m"],
    drawn_seed: int | None,
    source: str,
    identity: str,
    progress: Progress = silent,
) -> CheckReport:
    """Looks through a collection.

    Args:
        collection: any.
        test_indices: i64[M], its test split.
        drawn_seed: what drew them; None where they are the source's own.
        source: what to call it in the report.
        identity: its fingerprint.
        progress: told about images and rounds of comparing.

    Returns:
        The findings.
    """
    counts = _counts(collection)
    per_class = counts.get("train", counts.get("all")).values()
    copy = _copier(collection, test_indices)
    groups = exact_groups(collection.images)
    exact = tuple(tuple(map(copy, group)) for group in groups)
    near, is_capped = _near_copies(collection, copy, groups, progress=progress)
    every_set = (*exact, *((pair.first, pair.second) for pair in near))
    return CheckReport(
        source=source,
        fingerprint=identity,
        height=collection.images.shape[1],
        width=collection.images.shape[2],
        n=len(collection.labels),
        classes=collection.classes,
        drawn_seed=drawn_seed,
        counts=counts,
        imbalance=max(per_class) / min(per_class),
        exact_copies=exact,
        near_copies=near,
        near_copies_capped=is_capped,
        across_splits=_across_splits(exact, near),
        conflicting_labels=tuple(same for same in every_set if len({copy.label for copy in same}) > 1),
        rejected=collection.rejected,
        proportions=measure(collection.sizes),
    )


def _counts(collection: Collection) -> dict[str, dict[str, int]]:
    counts = {}
    for split, where in collection.splits.items():
        per_class = np.bincount(collection.labels[where], minlength=len(collection.classes))
        counts[split] = dict(zip(collection.classes, per_class.tolist(), strict=True))
    return counts


def _copier(collection: Collection, test_indices: Int64[np.ndarray, " m"]) -> Callable[[int], Copy]:
    """What makes an index the image's name, split and class."""
    is_test = np.zeros(len(collection.labels), bool)
    is_test[test_indices] = True

    def copy(index: int) -> Copy:
        label = collection.classes[collection.labels[index]]
        return Copy(collection.names[index], "test" if is_test[index] else "train", label)

    return copy


def _near_copies(
    collection: Collection, copy: Callable[[int], Copy], groups: Sequence[Sequence[int]], *, progress: Progress
) -> tuple[tuple[CopyPair, ...], bool]:
    """Near pairs among distinct images, so that a group of k exact copies does not answer k times."""
    repeated = [index for _, *others in groups for index in others]
    distinct = np.delete(np.arange(len(collection.labels)), repeated)
    images = collection.images if not repeated else collection.images.take(distinct, axis=0)
    pairs = near_pairs(images, progress=progress)
    found = zip(distinct[pairs.first], distinct[pairs.second], pairs.distance.tolist(), strict=True)
    return tuple(CopyPair(copy(one), copy(two), round(apart, 2)) for one, two, apart in found), pairs.is_capped


def _across_splits(exact: Sequence[Sequence[Copy]], near: Sequence[CopyPair]) -> tuple[CopyPair, ...]:
    """Each test image that has a copy in train, with the closest; a near pair speaks for the exact groups of both."""
    group_of = {group[0]: group for group in exact}  # the first took part in the search for near pairs
    meetings = [(group, group, 0.0) for group in exact]
    for pair in near:  # closest first
        first, second = (group_of.get(copy, (copy,)) for copy in (pair.first, pair.second))
        meetings += [(first, second, pair.distance), (second, first, pair.distance)]
    closest: dict[Copy, CopyPair] = {}
    for here, there, distance in meetings:
        source = next((copy for copy in here if copy.split == "train"), None)
        for copy in there:
            if source and copy.split == "test":
                closest.setdefault(copy, CopyPair(source, copy, distance))
    return tuple(closest.values())
