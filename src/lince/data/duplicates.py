"""Exact and near duplicates among many images, in bounded memory and without comparing all pairs.

Exact copies have the same pixels. Near copies (encoded again, slightly cropped or brightened) are found in two steps: a
64-bit difference hash proposes pairs, and their pixels decide (see `similarity`).
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8, UInt16, UInt64

from lince.data.pixel_file import StoredImages, digests
from lince.data.similarity import Pictures, averaging, differences, pictures
from lince.progress import Progress, silent
from lince.types import Images

# Pairs of hashes within 7 bits are proposed. Of CIFAR-10 as JPEG (58,000 images) and 2,000 of its originals, all 2,000
# pairs are found (98.4 % without the margin).
_MARGIN = 2.0
_MAX_BITS = 7
# Between copies, no cell of 1/64 of the picture differs by more than 0.3 standard deviations of the picture. A detail
# that only one of them has differs by about one deviation where it covers the cell. Where it covers half the cell, it
# differs by half of one. docs/data.md has the results on photographs, icons, emoji and digits.
_MAX_DISTANCE = 0.3

# Pixels. Smaller pictures, such as 8 × 8 digits, have too little detail to tell two of one kind apart.
_LEAST_SIDE = 16

# Frames of one video are all copies of one another, n² pairs: beyond this number, more pairs are of no use.
MAX_PAIRS = 10_000

# Two hashes within 7 bits differ by at most one bit in at least one of 4 bands of 16 bits. Among a million photographs
# these are an eighth of the pairs that share one of 8 bytes.
_BANDS = 4
# Limits for sources whose images are all alike, so that all pairs are compared: two minutes of hashes, and half a
# minute of pictures at 0.13 ms a pair.
_MAX_COMPARISONS, _MAX_LOOKS = 2**34, 2**18
_COMPARED = 64  # pairs of pictures at a time: their arrays, 100 kB each, then stay in the processor's cache
# Of so many images is kept what is compared, 15 kB each: of digits, each image is in dozens of proposed pairs.
_KEPT = 8192
_BATCH = 4096  # pairs of pictures that are collected before they are compared
_WORKING_BYTES = 2**26  # of temporary arrays: those of 4,096 CIFAR images; more is not faster

_Indices = Int64[np.ndarray, " p"]
_Pairs = tuple[_Indices, _Indices]
_AnyPairs = tuple[Int64[np.ndarray, " _"], Int64[np.ndarray, " _"]]  # batches of different sizes


@dataclass(frozen=True)
class NearPairs:
    """Pairs of near copies, closest first.

    Attributes:
        first, second: i64[P], indices, first < second.
        distance: f32[P], the difference of the worst cell over the picture's standard deviation, from 0.
        is_capped: true when the search stopped early: more than `MAX_PAIRS`, or too many pairs to compare.
    """

    first: Int64[np.ndarray, " p"]
    second: Int64[np.ndarray, " p"]
    distance: Float32[np.ndarray, " p"]
    is_capped: bool


def first_copies(images: Images) -> Int64[np.ndarray, " n"]:
    """For each image the index of the first that has the same pixels, usually itself; reads no pixel of stored ones."""
    found = images.digests if isinstance(images, StoredImages) else _digests(images)
    halves = np.ascontiguousarray(found).view(np.uint64)
    order = np.lexsort(halves.T)  # equal ones stay in order
    ordered, is_first = halves[order], np.ones(len(images), bool)
    is_first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    first = np.empty(len(images), np.int64)
    first[order] = order[is_first][np.cumsum(is_first) - 1]
    return first


def exact_groups(images: Images) -> list[list[int]]:
    """The indices of each group of two or more images with the same pixels, ascending, in the order of their first."""
    first = first_copies(images)
    groups: dict[int, list[int]] = {}
    for index in np.flatnonzero(np.bincount(first, minlength=len(first))[first] > 1).tolist():
        groups.setdefault(int(first[index]), []).append(index)
    return list(groups.values())


def is_too_small(sizes: UInt16[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
    """Which original pictures, by `Split.sizes`, are too small to search for near copies."""
    least = sizes.min(axis=1)
    return np.asarray((least > 0) & (least < _LEAST_SIDE))


def near_pairs(
    images: Images, is_compared: Bool[np.ndarray, " n"] | None = None, *, progress: Progress = silent
) -> NearPairs:
    """Finds the pairs of near copies.

    A million photographs take a few minutes: about 3.5 billion pairs of hashes, 2.5 million pairs of pictures, and
    24 MB for hashes and indices. The search stops at the limits above; `is_capped` is then true.

    Args:
        images: u8[N,H,W,3].
        is_compared: the images to search, all of them when None; without exact copies.
        progress: called with images hashed, then with rounds of comparisons.

    Returns:
        The pairs that the hash proposes and the pixels confirm.
    """
    search = _Search(images, is_compared, progress=progress)
    for first, second in search.proposed():
        search.confirm(first, second)
        if search.num_found > MAX_PAIRS:
            search.is_capped = True
            break
    return search.found(MAX_PAIRS)


def near_links(
    images: Images,
    groups: Int64[np.ndarray, " n"],
    is_compared: Bool[np.ndarray, " n"],
    *,
    progress: Progress = silent,
) -> NearPairs:
    """Finds enough pairs of near copies to connect all look-alikes.

    Images that are connected already are not compared. A film of n frames thus takes about n comparisons instead of n².

    Args:
        images, is_compared, progress: as for `near_pairs`.
        groups: i64[N], images that are connected from the start, as of `linked`.
    """
    search = _Search(images, is_compared, progress=progress)
    for first, second in search.proposed():
        is_apart = groups[first] != groups[second]
        groups = linked(groups, *search.confirm(first[is_apart], second[is_apart]))
    return search.found()


def linked(groups: Int64[np.ndarray, " n"], first: _Indices, second: _Indices) -> Int64[np.ndarray, " n"]:
    """The groups after each pair of images has joined theirs: connected components.

    Args:
        groups: i64[N], the group of each image, which is the lowest index in it.
        first, second: i64[P], indices.
    """
    while not np.array_equal(groups[first], groups[second]):
        parents = np.arange(len(groups))
        low, high = np.minimum(groups[first], groups[second]), np.maximum(groups[first], groups[second])
        np.minimum.at(parents, high, low)
        while not np.array_equal(higher := parents[parents], parents):
            parents = higher
        groups = parents[groups]
    return groups


def difference_hash(images: Images, *, progress: Progress = silent) -> UInt64[np.ndarray, " n"]:
    """64 bits for each image: whether grey rises from each cell to the next, in 8 rows of 9 averaged cells.

    Images that look alike differ in few bits.

    Source: Neal Krawetz, "Kind of Like That", The Hacker Factor Blog, 2013; with a margin against noise in even areas.
    """
    _, height, width, _ = images.shape
    luma = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
    rows, columns = averaging(height, 8), averaging(width, 9)
    hashes = np.empty(len(images), np.uint64)
    step = _per_step(height * width * 3 * 4)  # as float32
    for start in range(0, len(images), step):
        chunk = images[start : start + step]
        averages = rows @ chunk.astype(np.float32).reshape(len(chunk), height, width * 3)
        cells = averages.reshape(len(chunk), len(rows), width, 3) @ luma @ columns.T
        rises = cells[:, :, 1:] > cells[:, :, :-1] + _MARGIN
        hashes[start : start + step] = np.packbits(rises.reshape(len(chunk), 64), axis=1).view(">u8")[:, 0]
        progress(start + len(chunk), len(images), "Hashing images")
    return hashes


class _Search:
    """Pairs of images that their hashes propose and their pixels confirm."""

    def __init__(self, images: Images, is_compared: Bool[np.ndarray, " n"] | None, *, progress: Progress):
        self._searched = np.arange(len(images)) if is_compared is None else np.flatnonzero(is_compared)
        self._images = images if len(self._searched) == len(images) else images.take(self._searched, axis=0)
        self._comparison, self._progress = _Comparison(self._images), progress
        self._found: list[tuple[_Indices, _Indices, Float32[np.ndarray, " p"]]] = []
        self._looks = 0
        self.num_found, self.is_capped = 0, False

    def proposed(self) -> Iterator[_Pairs]:
        """Pairs to confirm, in batches, until a limit is reached."""
        if len(self._images) < 2:
            return
        candidates = _Candidates(difference_hash(self._images, progress=self._progress), progress=self._progress)
        for first, second in _batched(candidates):
            yield self._searched[first], self._searched[second]
            if self._looks > _MAX_LOOKS:
                self.is_capped = True
                break
        self.is_capped |= candidates.is_capped

    def confirm(self, first: _Indices, second: _Indices) -> _AnyPairs:
        """Those of the pairs whose pixels are near."""
        distance = self._comparison.distances(*np.searchsorted(self._searched, (first, second)))
        is_near = distance <= _MAX_DISTANCE
        near = first[is_near], second[is_near]
        self._found.append((*near, distance[is_near]))
        self._looks, self.num_found = self._looks + len(first), self.num_found + len(near[0])
        return near

    def found(self, most: int | None = None) -> NearPairs:
        """All confirmed pairs, or at most so many."""
        empty = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
        first, second, distance = (np.concatenate(arrays) for arrays in zip(empty, *self._found, strict=True))
        order = np.lexsort((second, first, distance))[:most]
        return NearPairs(first[order], second[order], distance[order], is_capped=self.is_capped)


class _Candidates:
    """Pairs of hashes within `_MAX_BITS`, each once: i64[P] and i64[P], the lower index first."""

    def __init__(self, hashes: UInt64[np.ndarray, " n"], *, progress: Progress):
        self._hashes, self._progress, self._compared = hashes, progress, 0
        self.is_capped = False

    def __iter__(self) -> Iterator[_Pairs]:
        for band in range(_BANDS):
            order = np.argsort(_band(self._hashes, band), kind="stable")
            ordered = self._hashes[order]  # so that compared hashes are neighbours in memory
            for left, right in _neighbours(_band(ordered, band)):
                difference = ordered[left] ^ ordered[right]
                is_close = np.bitwise_count(difference) <= _MAX_BITS
                for earlier in range(band):  # an earlier band has yielded the pair already
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
    """All pairs of positions in a sorted array whose values are equal or differ in one bit."""
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
    """Pairs each of `left` with all positions from `begin` to before `end`, one step at a time for all of them."""
    while len(places := np.flatnonzero(begin < end)):
        left, begin, end = left[places], begin[places], end[places]
        yield left, begin
        begin = begin + 1


def _batched(pairs: Iterable[_Pairs]) -> Iterator[_Pairs]:
    """The same pairs in larger batches: most steps propose one or two pairs, and each batch costs a read."""
    waiting: list[_Pairs] = []
    count = 0
    for pair in pairs:
        waiting.append(pair)
        count += len(pair[0])
        if count >= _BATCH:
            yield _concatenated(waiting)
            waiting, count = [], 0
    if waiting:
        yield _concatenated(waiting)


def _concatenated(pairs: list[_AnyPairs]) -> _Pairs:
    first, second = zip(*pairs, strict=True)
    return np.concatenate(first), np.concatenate(second)


class _Comparison:
    """The distance of pairs of images. What is compared of a few images is computed once and kept."""

    def __init__(self, images: Images):
        self._images = images
        self._step = _per_step(images.shape[1] * images.shape[2] * 3 * 4)  # as float32
        self._kept: Pictures | None = None
        self._place = np.full(len(images), -1)  # of an image in what is kept

    def distances(self, first: Int64[np.ndarray, " p"], second: Int64[np.ndarray, " p"]) -> Float32[np.ndarray, " p"]:
        """The distance of each pair, see `similarity.differences`."""
        if len(self._images) <= _KEPT:
            self._keep(np.unique(np.concatenate([first, second])))
        found = np.empty(len(first), np.float32)
        for start in range(0, len(first), _COMPARED):
            here = slice(start, start + _COMPARED)
            found[here] = differences(self._pictures(first[here]), self._pictures(second[here]))
        return found

    def _keep(self, wanted: Int64[np.ndarray, " m"]) -> None:
        new = wanted[self._place[wanted] < 0]
        if len(new):
            before = [self._kept] if self._kept else []
            self._place[new] = np.arange(len(new)) + (len(self._kept.luma) if self._kept else 0)
            self._kept = Pictures.joined([*before, self._read(new)])

    def _pictures(self, wanted: Int64[np.ndarray, " m"]) -> Pictures:
        return self._kept.take(self._place[wanted]) if self._kept else self._read(wanted)

    def _read(self, wanted: Int64[np.ndarray, " m"]) -> Pictures:
        parts = [wanted[at : at + self._step] for at in range(0, len(wanted), self._step)]
        return Pictures.joined([pictures(self._images[part]) for part in parts])


def _digests(images: Images) -> UInt8[np.ndarray, "n 16"]:
    """As of `pixel_file.digests`; some images at a time, which are copied where they are joined."""
    step = _per_step(math.prod(images.shape[1:]))
    parts = [digests(images[start : start + step]) for start in range(0, max(1, len(images)), step)]
    return np.concatenate(parts)


def _per_step(bytes_each: int) -> int:
    return max(1, _WORKING_BYTES // bytes_each)
