"""Copies among many images, exact and near, in bounded memory and without comparing all with all.

Exact copies have the same pixels. Near copies (encoded again, slightly cropped or recoloured) are found in two steps: a
64-bit difference hash proposes pairs, and the pixels decide.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64, UInt16, UInt64

from lince.data.digests import digests
from lince.data.progress import Progress, silent
from lince.data.stored import StoredImages
from lince.records import Images

# Chosen on CIFAR-10 as JPEG (58,000 images) with 2,000 of its originals as PNG. All of these twins have hashes within
# 7 bits (98.4 % without the margin), distances up to 18 grey levels, and (but one, 0.51) up to 0.5 of their contrast.
# 64 random pairs of the 58,000 within these bounds were looked at, and all showed one photograph. Without the bound
# by contrast, every small thing in an even blue sky is a copy of every other.
_MARGIN = 2.0
_MAX_BITS = 7
_MAX_DISTANCE = 28.0
_MAX_DISTANCE_BY_CONTRAST = 0.5

# Frames of one film are all copies of one another, n² pairs: beyond this many, more of them tell nothing new.
MAX_PAIRS = 10_000

# Two hashes within 7 bits differ by one bit, or none, in at least one of 4 bands of 16: of a million photographs that
# is an eighth of the pairs that share one of 8 bytes.
_BANDS = 4
# Where images are so alike that everything is compared with everything: two minutes of hashes, and two of pictures.
_MAX_COMPARISONS, _MAX_LOOKS = 2**34, 2**22
_BATCH = 4096  # pairs of pictures to compare at a time; what `_WORKING_BYTES` allows is done at once
_WORKING_BYTES = 2**26  # of temporary arrays, 64 MiB: the arrays of 4,096 CIFAR images, where speed no longer grows

_Pairs = tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]


@dataclass(frozen=True)
class NearPairs:
    """Pairs of images that show the same, closest first.

    Attributes:
        first, second: i64[P], indices, first < second.
        distance: f32[P], root mean square of the pixels' difference, 0..255.
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
        distance, contrast = _compare(images, first, second)
        near = distance <= np.minimum(_MAX_DISTANCE, _MAX_DISTANCE_BY_CONTRAST * contrast)
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
    rows, columns = _averaging(height, 8), _averaging(width, 9)
    hashes = np.empty(len(images), np.uint64)
    step = _per_step(height * width * 3 * 4)  # as float32
    for start in range(0, len(images), step):
        chunk = images[start : start + step]
        cells = rows @ (chunk.astype(np.float32) @ luma) @ columns.T
        rises = cells[:, :, 1:] > cells[:, :, :-1] + _MARGIN
        hashes[start : start + step] = np.packbits(rises.reshape(len(chunk), 64), axis=1).view(">u8")[:, 0]
        progress(start + len(chunk), len(images), "Hashing images")
    return hashes


def _averaging(size: int, cells: int) -> Float32[np.ndarray, "cells size"]:
    """The matrix that averages `size` pixels into `cells` equal stretches; pixels on a border count in part."""
    edges = np.linspace(0, size, cells + 1)
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (overlap.clip(0) * cells / size).astype(np.float32)


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
) -> tuple[Float32[np.ndarray, " p"], Float32[np.ndarray, " p"]]:
    """For each pair the root mean square of its difference, and of both images' deviation from their mean colour."""
    distance, contrast = np.empty(len(first), np.float32), np.empty(len(first), np.float32)
    step = _per_step(images[:1].size * 4 * 4)  # two sides, their difference and a deviation, as float32
    for start in range(0, len(first), step):
        here = slice(start, start + step)
        one, other = images[first[here]].astype(np.float32), images[second[here]].astype(np.float32)
        distance[here] = np.sqrt(np.square(one - other).mean(axis=(1, 2, 3)))
        contrast[here] = np.sqrt((one.var(axis=(1, 2)) + other.var(axis=(1, 2))).mean(axis=1) / 2)
    return distance, contrast


def _per_step(bytes_each: int) -> int:
    return max(1, _WORKING_BYTES // bytes_each)
