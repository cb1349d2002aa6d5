"""An audit of a labelled source: rejected files, imbalance, copies, and copies across train and test."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from lince.data.aspect_ratios import Proportions, measure
from lince.data.class_requirements import require_trainable, warnings
from lince.data.dataset import Collection, EmptyClass
from lince.data.division import divide
from lince.data.duplicates import exact_groups, is_too_small, near_pairs
from lince.data.label_errors import SuspectedLabel
from lince.data.loading import collect, require_names
from lince.data.sources import cifar10
from lince.progress import Progress, silent
from lince.text import printable
from lince.types import ImageLimits, ImageSpec, Rejected


@dataclass(frozen=True)
class Copy:
    """One of several images that are the same or look alike; `split` is `train` or `test`."""

    name: str
    split: str
    label: str


@dataclass(frozen=True)
class CopyPair:
    """Two images that look alike.

    Attributes:
        distance: as of `similarity.differences`, from 0.
        is_identical: whether all pixels are equal.
    """

    first: Copy
    second: Copy
    distance: float
    is_identical: bool = False


@dataclass(frozen=True)
class CheckReport:
    """What was found; `dataclasses.asdict` makes it JSON.

    Attributes:
        source, fingerprint: name and content of the source.
        height, width: pixels at which images were compared.
        n: images that can be used.
        classes: names, in index order.
        drawn_seed: the seed that drew the test split; None for a source with its own test split.
        counts: images by the source's own splits (`train` and `test`, or `all`) and by class.
        imbalance: the largest class over the smallest, in `train` or `all`; 1 is balanced.
        reading: how the source's folders were read, and which groups were named; empty for one without folders.
        warnings: what may be a mistake, a sentence each.
        exact_copies: groups with the same pixels, at the size at which they are compared.
        near_copies: pairs that look alike but are not identical, closest first. Each exact group takes part once.
        num_too_small: images of fewer than 16 pixels a side, which are not searched for near copies.
        near_copies_capped: true when the search for near copies stopped early, so that there may be more.
        across_splits: an image of `train`, and one of `test` that is an exact or near copy of it. Such copies raise the
            test accuracy. Every such test image is listed once, with its closest.
        conflicting_labels: exact groups, then near pairs, whose images have different classes.
        rejected: files that were left out.
        empty: class folders without a usable image.
        proportions: of the original pictures.
        suspected_labels: images whose label may be wrong, the most suspicious first; None where no run was named to
            look for them.
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
    reading: str
    warnings: tuple[str, ...]
    exact_copies: tuple[tuple[Copy, ...], ...]
    near_copies: tuple[CopyPair, ...]
    near_copies_capped: bool
    num_too_small: int
    across_splits: tuple[CopyPair, ...]
    conflicting_labels: tuple[tuple[Copy, ...], ...]
    rejected: tuple[Rejected, ...]
    empty: tuple[EmptyClass, ...]
    proportions: Proportions = field(default_factory=Proportions)
    suspected_labels: tuple[SuspectedLabel, ...] | None = None


def check(
    source: str | Path,
    spec: ImageSpec = ImageSpec(),
    *,
    seed: int = 0,
    groups: str | None = None,
    cache: Path | None = None,
    progress: Progress = silent,
) -> CheckReport:
    """Audits a labelled source: rejected files, imbalance, copies, and copies across train and test.

    Args:
        source, groups, cache, progress: as for `load`.
        spec: the size at which images are compared.
        seed: as for `load`, which draws the same test split from images of this size.

    Raises:
        DataError: when the source cannot be used at all, or `groups` finds no group.
    """
    name = printable(str(source))
    require_names(source, groups=groups)
    collection, identity = collect(source, spec, cache=cache, progress=progress, limits=ImageLimits())
    if source != cifar10.NAME:
        require_trainable(collection, name=name)
    is_drawn = collection.num_train is None
    test_indices, division = np.arange(len(collection.labels))[collection.splits.get("test", slice(0))], None
    if is_drawn or groups is not None:
        division = divide(collection, seed=seed, rule=groups, source=source, progress=progress)
        test_indices = division.test_indices if is_drawn else test_indices
    counts = _counts(collection)
    per_class = [count for count in counts["all" if is_drawn else "train"].values() if count]
    copy = _copier(collection, test_indices)
    identical = exact_groups(collection.images)
    exact = tuple(tuple(map(copy, indices)) for indices in identical)
    near, is_capped = _near_copies(collection, copy, identical, progress=progress)
    every_set = (*exact, *((pair.first, pair.second) for pair in near))
    return CheckReport(
        source=name,
        fingerprint=identity,
        height=collection.images.shape[1],
        width=collection.images.shape[2],
        n=len(collection.labels),
        classes=collection.classes,
        drawn_seed=seed if is_drawn else None,
        counts=counts,
        imbalance=max(per_class) / min(per_class),
        reading=" ".join(filter(None, (collection.reading, division.reading if division else ""))),
        warnings=(*warnings(collection), *(division.warnings if division else ())),
        exact_copies=exact,
        near_copies=near,
        near_copies_capped=is_capped,
        num_too_small=int(is_too_small(collection.sizes).sum()),
        across_splits=_across_splits(exact, near),
        conflicting_labels=tuple(same for same in every_set if len({copy.label for copy in same}) > 1),
        rejected=collection.rejected,
        empty=collection.empty,
        proportions=measure(collection.sizes),
    )


def _counts(collection: Collection) -> dict[str, dict[str, int]]:
    counts = {}
    for split, where in collection.splits.items():
        per_class = np.bincount(collection.labels[where], minlength=len(collection.classes))
        counts[split] = dict(zip(collection.classes, per_class.tolist(), strict=True))
    return counts


def _copier(collection: Collection, test_indices: Int64[np.ndarray, " m"]) -> Callable[[int], Copy]:
    """A function from an index to the image's name, split and class."""
    is_test = np.zeros(len(collection.labels), bool)
    is_test[test_indices] = True

    def copy(index: int) -> Copy:
        label = collection.classes[collection.labels[index]]
        return Copy(collection.names[index], "test" if is_test[index] else "train", label)

    return copy


def _near_copies(
    collection: Collection, copy: Callable[[int], Copy], groups: Sequence[Sequence[int]], *, progress: Progress
) -> tuple[tuple[CopyPair, ...], bool]:
    """Near pairs among distinct images, so that a group of k exact copies is not listed k times."""
    is_compared = ~is_too_small(collection.sizes)
    is_compared[[index for _, *others in groups for index in others]] = False
    pairs = near_pairs(collection.images, is_compared, progress=progress)
    found = zip(pairs.first, pairs.second, pairs.distance.tolist(), strict=True)
    return tuple(CopyPair(copy(one), copy(two), round(apart, 3)) for one, two, apart in found), pairs.is_capped


def _across_splits(exact: Sequence[Sequence[Copy]], near: Sequence[CopyPair]) -> tuple[CopyPair, ...]:
    """Each test image that has a copy in train, with the closest. A near pair counts for the exact groups of both."""
    group_of = {group[0]: group for group in exact}  # the first took part in the search for near pairs
    meetings = [(group, group, 0.0, True) for group in exact]
    for pair in near:  # closest first
        first, second = (group_of.get(copy, (copy,)) for copy in (pair.first, pair.second))
        meetings += [(first, second, pair.distance, False), (second, first, pair.distance, False)]
    closest: dict[Copy, CopyPair] = {}
    for here, there, distance, is_identical in meetings:
        source = next((copy for copy in here if copy.split == "train"), None)
        for copy in there:
            if source and copy.split == "test":
                closest.setdefault(copy, CopyPair(source, copy, distance, is_identical))
    return tuple(closest.values())
