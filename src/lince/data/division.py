"""Divides the images of a source: which stay together, and which are the test split.

copies, look-alikes, --groups ─► groups ─► test split, drawn by the seed where the source has none
                                        └► validation split, drawn later by `splits.hold_out`
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from lince.data.dataset import Collection
from lince.data.group_rule import across_splits, named_groups
from lince.data.groups import find_groups
from lince.data.splits import first_of_group, split_warnings, stratified_split
from lince.errors import DataError
from lince.progress import Progress, silent

TEST_FRACTION = 0.2
"""The share of each class that is drawn as the test split, where the source has none."""


@dataclass(frozen=True)
class EarlierSplit:
    """What is known of an earlier reading of a source, so that its test split is found again.

    Attributes:
        fingerprint: of the source. The rest has no effect on another one.
        rule: by which groups were named; see `group_rule`.
        test_indices: i64[M], of the drawn test split. None draws it again.
    """

    fingerprint: str | None
    rule: str | None = None
    test_indices: Int64[np.ndarray, " m"] | None = None


@dataclass(frozen=True)
class Division:
    """The divided images of a source.

    Attributes:
        test_indices: i64[M], ascending, of the drawn test split; empty for a source with its own splits.
        groups: i64[N], the lowest index in the group of each training image; None where they were not searched.
        reading: which groups were named, a sentence; empty where none were.
        warnings: possible mistakes, and what could not be kept together, a sentence each.
    """

    test_indices: Int64[np.ndarray, " m"]
    groups: Int64[np.ndarray, " n"] | None = None
    reading: str = ""
    warnings: tuple[str, ...] = ()


def divide(
    collection: Collection, *, seed: int, rule: str | None = None, source: str | Path, progress: Progress = silent
) -> Division:
    """Finds the groups of a source's training images, and draws the test split where the source has none.

    Args:
        collection: the source.
        seed: draws the test split.
        rule: names groups, beside copies and look-alikes; see `group_rule`.
        source: the folder or .zip, for `rule`.
        progress: called with images hashed, then with rounds of comparisons.

    Raises:
        DataError: when the rule finds no group.
    """
    everything = collection.split(slice(None))
    named = named_groups(everything, rule, source=source) if rule is not None else None
    num_train = collection.num_train
    divided = everything if num_train is None else collection.split(slice(num_train))
    found = find_groups(divided, named.groups[: len(divided)] if named else None, progress=progress)
    warnings = found.warnings
    if num_train is None:
        test_indices = _draw(collection, seed=seed, groups=found.groups)
        warnings += split_warnings(
            divided.labels, test_indices, classes=collection.classes, fraction=TEST_FRACTION, purpose="test"
        )
    else:
        test_indices = _NONE
        warnings += across_splits(named, num_train=num_train) if named else ()
    groups = first_of_group(np.delete(found.groups, test_indices))
    return Division(test_indices, groups, named.reading if named else "", warnings)


def divide_again(
    collection: Collection, earlier: EarlierSplit, *, fingerprint: str, seed: int, source: str | Path
) -> Division:
    """Finds the test split of an earlier reading again. Of another source, a test split is drawn without groups.

    Args:
        collection, seed, source: as for `divide`.
        earlier: the earlier reading.
        fingerprint: of the collection.

    Raises:
        DataError: when the earlier indices are not those of a test split.
    """
    if collection.num_train is not None:
        return Division(_NONE)
    if earlier.fingerprint != fingerprint:
        return Division(_draw(collection, seed=seed))
    if earlier.test_indices is None:
        return divide(collection, seed=seed, rule=earlier.rule, source=source)
    found, total = earlier.test_indices, len(collection.labels)
    if (np.diff(found, prepend=-1, append=total) <= 0).any():
        raise DataError(
            f"The recorded test split does not hold indices of {total:,} images. Expected them as the run has written "
            "them: restore splits.npz, or start a new run."
        )
    return Division(found)


_NONE = np.empty(0, np.int64)


def _draw(
    collection: Collection, *, seed: int, groups: Int64[np.ndarray, " n"] | None = None
) -> Int64[np.ndarray, " m"]:
    return stratified_split(collection.labels, fraction=TEST_FRACTION, seed=seed, groups=groups)[1]
