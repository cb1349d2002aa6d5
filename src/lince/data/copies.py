"""Copies among many images, exact and near, in bounded memory and without comparing all with all.

Exact copies have the same pixels. Near copies (encoded again, slightly cropped or recoloured) are found in two steps: a
64-bit difference hash proposes pairs, and the pixels decide.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64, UInt8, UInt64

from lince.data.progress import Progress, silent

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

# Two hashes that differ in at most 7 of 64 bits agree in at least one of 8 bytes.
_BANDS = 8
_WORKING_BYTES = 2**26  # of temporary arrays, 64 MiB: the arrays of 4,096 CIFAR images, where speed no longer grows


@dataclass(frozen=True)
class NearPairs:
    """Pairs of images that show the same, closest first.

    Attributes:
        first, second: i64[P], indices, first < second.
        distance: f32[P], root mean square of the pixels' difference, 0..255.
        is_capped: true when there were more than `MAX_PAIRS` and the search stopped.
    """

    first: Int64[np.ndarray, " p"]
    second: Int64[np.ndarray, " p"]
    distance: Float32[np.ndarray, " p"]
    is_capped: bool


def exact_groups(images: UInt8[np.ndarray, "n h w 3"]) -> list[list[int]]:
    """Groups of images with the same pixels, by SHA-256.

    Args:
        images: u8[N,H,W,3].

    Returns:
        The indices of each group of two or more, ascending, in the order of their first.
    """
    groups: dict[bytes, list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(hashlib.sha256(image.tobytes()).digest(), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def near_pairs(images: UInt8[np.ndarray, "n h w 3"], *, progress: Progress = silent) -> NearPairs:
    """Pairs of images that differ, but by little.

    Args:
        images: u8[N,H,W,3], without exact copies.
        progress: told about images hashed, then about the eight rounds of comparing.

    Returns:
        The pairs that the hash proposes and the pixels confirm.
    """
    found, count = [], 0
    for first, second in _candidates(difference_hash(images, progress=progress), progress=progress):
        distance, contrast = _compare(images, first, second)
        near = distance <= np.minimum(_MAX_DISTANCE, _MAX_DISTANCE_BY_CONTRAST * contrast)
        found.append((first[near], second[near], distance[near]))
        count += int(near.sum())
        if count > MAX_PAIRS:
            break
    empty = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    first, second, distance = (np.concatenate(arrays) for arrays in zip(empty, *found, strict=True))
    order = np.lexsort((second, first, distance))[:MAX_PAIRS]
    return NearPairs(first[order], second[order], distance[order], is_capped=count > MAX_PAIRS)


def difference_hash(images: UInt8[np.ndarray, "n h w 3"], *, progress: Progress = silent) -> UInt64[np.ndarray, " n"]:
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


def _candidates(
    hashes: UInt64[np.ndarray, " n"], *, progress: Progress
) -> Iterator[tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]]:
    """Pairs of hashes within `_MAX_BITS`, each once."""
    for band in range(_BANDS):
        for left, right in _pairs_sharing(_byte(hashes, band)):
            difference = hashes[left] ^ hashes[right]
            is_close = np.bitwise_count(difference) <= _MAX_BITS
            left, right, difference = left[is_close], right[is_close], difference[is_close]
            is_new = np.ones(len(left), bool)
            for earlier in range(band):  # a pair that shares an earlier byte too has been seen there
                is_new &= _byte(difference, earlier) != 0
            if is_new.any():
                yield np.minimum(left, right)[is_new], np.maximum(left, right)[is_new]
        progress(band + 1, _BANDS, "Comparing images")


def _byte(hashes: UInt64[np.ndarray, " n"], band: int) -> UInt8[np.ndarray, " n"]:
    return (hashes >> np.uint64(8 * band)).astype(np.uint8)


def _pairs_sharing(
    values: UInt8[np.ndarray, " n"],
) -> Iterator[tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]]:
    """All pairs with the same value: sorted by it, each image against the one `shift` further on in its run."""
    order = np.argsort(values, kind="stable")
    run_end = np.searchsorted(values[order], values[order], side="right")
    left, shift = np.arange(len(values)), 1
    while len(left := left[left + shift < run_end[left]]):
        yield order[left], order[left + shift]
        shift += 1


def _compare(
    images: UInt8[np.ndarray, "n h w 3"], first: Int64[np.ndarray, " p"], second: Int64[np.ndarray, " p"]
) -> tuple[Float32[np.ndarray, " p"], Float32[np.ndarray, " p"]]:
    """For each pair the root mean square of its difference, and of both images' deviation from their mean colour."""
    distance, contrast = np.empty(len(first), np.float32), np.empty(len(first), np.float32)
    step = _per_step(images[0].size * 4 * 4)  # two sides, their difference and a deviation, as float32
    for start in range(0, len(first), step):
        here = slice(start, start + step)
        one, other = images[first[here]].astype(np.float32), images[second[here]].astype(np.float32)
        distance[here] = np.sqrt(np.square(one - other).mean(axis=(1, 2, 3)))
        contrast[here] = np.sqrt((one.var(axis=(1, 2)) + other.var(axis=(1, 2))).mean(axis=1) / 2)
    return distance, contrast


def _per_step(bytes_each: int) -> int:
    return max(1, _WORKING_BYTES // bytes_each)
