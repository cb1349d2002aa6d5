"""Groups of images that stay on one side of every split.

Images are of one group when they have the same pixels, when the user says so (see `group_rule`), or when they look
alike, also through others that look like both.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from lince.data.duplicates import NearPairs, first_copies, is_too_small, linked, near_links
from lince.progress import Progress, silent
from lince.text import quantity
from lince.types import Split

# Larger sources are not searched for look-alikes. 50,000 images of 32 × 32 pixels take about a second, 100,000 of
# 96 × 96 pixels are 2.8 GB to read.
MAX_SEARCHED = 100_000


@dataclass(frozen=True)
class ImageGroups:
    """The groups of images.

    Attributes:
        groups: i64[N], the lowest index in the group of each image.
        warnings: what was not searched or not kept together, a sentence each.
    """

    groups: Int64[np.ndarray, " n"]
    warnings: tuple[str, ...] = ()


def find_groups(
    split: Split, named: Int64[np.ndarray, " n"] | None = None, *, progress: Progress = silent
) -> ImageGroups:
    """Finds the images that belong together.

    Look-alikes are only evidence. Where everything looks alike, as parts on one conveyor belt do, chains of them would
    join whole classes, and nothing could be held out. They therefore join no more than half of a class: the closest
    first. Images with the same pixels, and those that the user has named, always stay together.

    Args:
        split: the images.
        named: i64[N], the groups that the user has named, by their lowest index.
        progress: called with images hashed, then with rounds of comparisons.
    """
    copies = first_copies(split.images)
    groups = copies if named is None else linked(copies, np.arange(len(split)), named)
    if len(split) > MAX_SEARCHED:
        too_many = (
            f"{len(split):,} images are too many to search for look-alikes (at most {MAX_SEARCHED:,}): near copies may "
            "be on both sides of a split. Name what belongs together by --groups."
        )
        return ImageGroups(groups, (too_many,))
    is_compared = copies == np.arange(len(split))
    if split.sizes is not None:
        is_compared &= ~is_too_small(split.sizes)
    pairs = near_links(split.images, groups, is_compared, progress=progress)
    joined = _joined(groups, pairs, split.labels)
    warnings = []
    if pairs.is_capped:
        warnings.append(
            "Very many images look alike, and the search for them was stopped: near copies may be on both sides of a "
            "split. Name what belongs together by --groups."
        )
    if (is_cut := joined[pairs.first] != joined[pairs.second]).any():
        chains = linked(groups, pairs.first, pairs.second)
        count = int(np.isin(chains, chains[pairs.first[is_cut]]).sum())
        warnings.append(
            f"{quantity(count, 'image')} look alike, each like another, and are more than half of a class. They are "
            "divided where they are least alike, so near copies may be on both sides of a split. Name what belongs "
            "together by --groups."
        )
    return ImageGroups(joined, tuple(warnings))


def _joined(
    groups: Int64[np.ndarray, " n"], pairs: NearPairs, labels: Int64[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """The groups that look-alikes join, the closest first, each of at most half of the images of every class.

    Source: Kruskal 1956, On the Shortest Spanning Subtree of a Graph, Proceedings of the AMS 7 (with a bound on size).
    """
    most = (np.bincount(labels) + 1) // 2
    parents = np.arange(len(groups))
    first, second = groups[pairs.first], groups[pairs.second]
    parts: dict[int, Counter[int]] = {group: Counter() for group in np.concatenate([first, second]).tolist()}
    for index in np.flatnonzero(np.isin(groups, list(parts))).tolist():
        parts[int(groups[index])][int(labels[index])] += 1

    def top(group: int) -> int:
        while (above := int(parents[group])) != group:
            parents[group] = group = int(parents[above])
        return group

    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        low, high = sorted((top(one), top(other)))
        if low != high:
            together = parts[low] + parts[high]
            if all(count <= most[label] for label, count in together.items()):
                parents[high], parts[low] = low, together
    while not np.array_equal(higher := parents[parents], parents):
        parents = higher
    return np.asarray(parents[groups])
