"""Copies among many images, exact and near, in bounded memory and without comparing all with all.

Exact copies have the same pixels. Near copies (encoded again, slightly cropped or brightened) are found in two steps: a
64-bit difference hash proposes pairs, and the pixels decide (see `likeness`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt16, UInt64

from lince.data.pixel_file import StoredImages, digests
from lince.data.progress import Progress, silent
from lince.data.similarity import averaging, differences
from lince.types import Images

# A hash within 7 bits is proposed: on CIFAR-10 as JPEG (58,000 images) with 2,000 of its originals, all of these twins
# are (98.4 % without the margin).
_MARGIN = 2.0
_MAX_BITS = 7
# In a copy no cell of 1/64 of the picture differs from the other's by more than 0.3 of the picture's own standard
# deviation. A detail that is there in one picture alone differs by about one deviation where it covers the cell, and by
# half of one where it covers half of it. docs/data.md has what was found on photographs, icons, emoji and digits.
_MAX_DISTANCE = 0.3

# Pixels. Of smaller pictures too little is left after enlarging to tell two of one kind apart, such as 8 × 8 digits.
_LEAST_SIDE = 16

# Frames of one film are all copies of one another, n² pairs: beyond this many, more of them tell nothing new.
MAX_PAIRS = 10_000

# Two hashes within 7 bits differ by one bit, or none, in at least one of 4 bands of 16: of a million photographs that
# is an eighth of the pairs that share one of 8 bytes.
_BANDS = 4
# Where images are so alike that everything is compared with everything: two minutes of hashes, and half a minute of
# pictures at 0.13 ms a pair.
_MAX_COMPARISONS, _MAX_LOOKS = 2**34, 2**18
_COMPARED = 64  # pairs of pictures at a time: their arrays, 100 kB each, then stay in the processor's cache
_BATCH = 4096  # pairs of pictures to compare at a time; what `_WORKING_BYTES` allows is done at once
_WORKING_BYTES = 2**26  # of temporary arrays, 64 MiB: the arrays of 4,096 CIFAR images, where speed no longer grows

_Pairs = tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]


@dataclass(frozen=True)
class NearPairs:
    """Pairs of images that show the same, closest first.

    Attributes:
        first, second: i64[P], indices, first < second.
        distance: f32[P], the difference of the worst cell over the picture's standard deviation, from 0.
        is_capped: true when the search stopped: there were more than `MAX_PAIRS`, or too many to compare.
    """

    first: Int64[np.ndarray, " p"]
    second: Int64[np.ndarray, " p"]
    distance: Float32[np.ndarray, " p"]
    is_capped: bool


def first_copies(images: Images) -> Int64[np.ndarray, " n"]:
    """For each image the first that has the same pixels, mostly itself.

    Args:
        images: u8[N,H,W,3]; where they are stored, none is read.

    Returns:
        i64[N], indices.
    """
    found = images.digests if isinstance(images, StoredImages) else digests(images)
    halves = np.ascontiguousarray(found).view(np.uint64)
    order = np.lexsort(halves.T)  # equal ones stay in order
    ordered, is_first = halves[order], np.ones(len(images), bool)
    is_first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    first = np.empty(len(images), np.int64)
    first[order] = order[is_first][np.cumsum(is_first) - 1]
    return first


def exact_groups(images: Images) -> list[list[int]]:
    """Groups of images with the same pixels.

    Args:
        images: u8[N,H,W,3].

    Returns:
        The indices of each group of two or more, ascending, in the order of their first.
    """
    first, groups = first_copies(images), {}
    for index in np.flatnonzero(np.bincount(first, minlength=len(first))[first] > 1).tolist():
        groups.setdefault(int(first[index]), []).append(index)
    return list(groups.values())


def is_too_small(sizes: UInt16[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
    """Which pictures are so small that looking alike tells nothing of them; see `Split.sizes`."""
    least = sizes.min(axis=1)
    return (least > 0) & (least < _LEAST_SIDE)


def near_pairs(images: Images, *, progress: Progress = silent) -> NearPairs:
    """Pairs of images that differ, but by little.

    A million photographs take about 3.5 billion pairs of hashes and 2.5 million pairs of pictures, 24 MB for their
    hashes and places, and a few minutes; beyond the limits below the search stops, and says so.

    Args:
        images: u8[N,H,W,3], without exact copies.
        progress: told about images hashed, then about the rounds of comparing.

    Returns:
        The pairs that the hash proposes and the pixels confirm.
    """
    found, count, looks, is_capped = [], 0, 0, False
    candidates = _Candidates(difference_hash(images, progress=progress), progress=progress)
    for first, second in _batched(candidates):
        distance = _compare(images, first, second)
        near = distance <= _MAX_DISTANCE
        found.append((first[near], second[near], distance[near]))
        count, looks = count + int(near.sum()), looks + len(first)
        if is_capped := count > MAX_PAIRS or looks > _MAX_LOOKS:
            break
    empty = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    first, second, distance = (np.concatenate(arrays) for arrays in zip(empty, *found, strict=True))
    order = np.lexsort((second, first, distance))[:MAX_PAIRS]
    return NearPairs(first[order], second[order], distance[order], is_capped=is_capped or candidates.is_capped)


def difference_hash(images: Images, *, progress: Progress = silent) -> UInt64[np.ndarray, " n"]:
    """64 bits for each image: whether grey rises from one to the next of 9 × 8 averaged cells.

    Args:
        images: u8[N,H,W,3], RGB.
        progress: told about images.

    Returns:
        u64[N]. Images that look alike differ in few bits.

    Source: Neal Krawetz, "Kind of Like That", The Hacker Factor Blog, 2013; with a margin against noise in even areas.
    """
    _, height, width, _ = images.shape
    luma = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
    rows, columns = averaging(height, 8), averaging(width, 9)
    hashes = np.empty(len(images), np.uint64)
    step = _per_step(height * width * 3 * 4)  # as float32
    for start in range(0, len(images), step):
        chunk = images[start : start + step]
        cells = rows @ (chunk.astype(np.float32) @ luma) @ columns.T
        rises = cells[:, :, 1:] > cells[:, :, :-1] + _MARGIN
        hashes[start : start + step] = np.packbits(rises.reshape(len(chunk), 64), axis=1).view(">u8")[:, 0]
        progress(start + len(chunk), len(images), "Hashing images")
    return hashes


class _Candidates:
    """Pairs of hashes within `_MAX_BITS`, each once: i64[P] and i64[P], the lower index first."""

    def __init__(self, hashes: UInt64[np.ndarray, " n"], *, progress: Progress):
        self._hashes, self._progress, self._compared = hashes, progress, 0
        self.is_capped = False

    def __iter__(self) -> Iterator[_Pairs]:
        for band in range(_BANDS):
            order = np.argsort(_band(self._hashes, band), kind="stable")
            ordered = self._hashes[order]  # so that what is compared lies together
            for left, right in _neighbours(_band(ordered, band)):
                difference = ordered[left] ^ ordered[right]
                is_close = np.bitwise_count(difference) <= _MAX_BITS
                for earlier in range(band):  # a pair that an earlier band brought together has been seen there
                    is_close &= np.bitwise_count(_band(difference, earlier)) > 1
                if is_close.any():
                    one, other = order[left[is_close]], order[right[is_close]]
                    yield np.minimum(one, other), np.maximum(one, other)
                self._compared += len(left)
                if self._compared > _MAX_COMPARISONS:
                    self.is_capped = True
                    return
            self._progress(band + 1, _BANDS, "Comparing images")


def _band(hashes: UInt64[np.ndarray, " n"], band: int) -> UInt16[np.ndarray, " n"]:
    return (hashes >> np.uint64(16 * band)).astype(np.uint16)


def _neighbours(values: UInt16[np.ndarray, " n"]) -> Iterator[_Pairs]:
    """All pairs of places in a sorted array whose values are the same or differ in one bit."""
    run_begins = np.searchsorted(values, np.arange(2**16 + 1))
    values, places = values.astype(np.int64), np.arange(len(values))
    yield from _across(places, places + 1, run_begins[values + 1])
    for bit in range(16):
        left = places[values & (1 << bit) == 0]
        partners = values[left] | (1 << bit)
        yield from _across(left, run_begins[partners], run_begins[partners + 1])


def _across(
    left: Int64[np.ndarray, " p"], begin: Int64[np.ndarray, " p"], end: Int64[np.ndarray, " p"]
) -> Iterator[_Pairs]:
    """Each of `left` with all places from `begin` to before `end`, one step at a time for all of them."""
    while len(places := np.flatnonzero(begin < end)):
        left, begin, end = left[places], begin[places], end[places]
        yield left, begin
        begin = begin + 1


def _batched(pairs: Iterable[_Pairs]) -> Iterator[_Pairs]:
    """The same in fewer, larger pieces: most steps propose a pair or two, and each piece costs a read."""
    waiting: list[_Pairs] = []
    count = 0
    for pair in pairs:
        waiting.append(pair)
        count += len(pair[0])
        if count >= _BATCH:
            yield tuple(map(np.concatenate, zip(*waiting, strict=True)))
            waiting, count = [], 0
    if waiting:
        yield tuple(map(np.concatenate, zip(*waiting, strict=True)))


def _compare(
    images: Images, first: Int64[np.ndarray, " p"], second: Int64[np.ndarray, " p"]
) -> Float32[np.ndarray, " p"]:
    """The distance of each pair, see `similarity.differences`."""
    distance = np.empty(len(first), np.float32)
    step = min(_COMPARED, _per_step(images[:1].size * 4 * 2))  # two sides, as float32
    for start in range(0, len(first), step):
        here = slice(start, start + step)
        distance[here] = differences(images[first[here]], images[second[here]])
    return distance


def _per_step(bytes_each: int) -> int:
    return max(1, _WORKING_BYTES // bytes_each)
