"""How similar two pictures are, apart from changes that make a copy: encoding, resizing, brightening, a small crop.

Such changes affect the whole picture in a few ways, which are removed first. For each pair they are fitted by least
squares: brightness, contrast, a tone curve, saturation, and a small shift and zoom. The remaining difference is evenly
spread noise in copies. In different pictures (two icons of one style, two digits) it is concentrated in one place. The
measure is therefore the largest difference of one small cell over the picture's contrast, not the mean of all cells.

Source: shift and zoom to the first order, as tangents of the picture: Simard, LeCun, Denker 1993, Efficient Pattern
Recognition Using a New Transformation Distance, NIPS 5.
"""

import math

import numpy as np
from jaxtyping import Bool, Float32, UInt8

# Pictures are compared as 32 × 32 averages. A finer grid does not separate icons better. A crop of 5 % then moves no
# pixel by more than one, which tangents can express. A cell is 4 × 4 of them, 1/64 of the picture: small enough for the
# detail in which two digits differ, and large enough to average out the noise of JPEG.
GRID = 32
# Colour counts less: JPEG halves its resolution and rounds it more coarsely.
_COLOUR_WEIGHT = 0.5
_TO_YCBCR = np.array(  # ITU-R BT.601, as in JPEG
    [
        [0.299, -0.168736 * _COLOUR_WEIGHT, 0.5 * _COLOUR_WEIGHT],
        [0.587, -0.331264 * _COLOUR_WEIGHT, -0.418688 * _COLOUR_WEIGHT],
        [0.114, 0.5 * _COLOUR_WEIGHT, -0.081312 * _COLOUR_WEIGHT],
    ],
    np.float32,
)
# In a copy contrast and colour are at least halved and at most doubled: a grey heart is no copy of a red one. The tone
# curve may be flatter and steeper at black and white, where brightening clips. A level curve would erase a drawing on
# its background.
_MIN_GAIN, _MIN_GAIN_AT_AN_END = 0.5, 0.25
_GREY_LEVELS = 3.0  # levels of colour that JPEG's rounding leaves in a grey picture
_LEAST_CONTRAST_LEVELS = 1.0  # pictures with less contrast differ by rounding only
_LEAST_CORRELATION = 0.5  # of grey, before the fit: every crop that the fit can undo leaves more
_RIDGE = 1e-4  # keeps the fit determined where a picture is uniform or grey, and so has no tangents


def differences(
    first: Float32[np.ndarray, "n 3 32 32"], second: Float32[np.ndarray, "n 3 32 32"]
) -> Float32[np.ndarray, " n"]:
    """The difference of each pair of pictures in the cell where they differ most.

    Args:
        first, second: f32[N,3,32,32], pictures as of `averages`.

    Returns:
        f32[N], from 0. One picture is fitted to the other: the value is the remaining difference in the worst of 64
        cells, over the other's standard deviation; the smaller one of both directions. Infinity: not a copy.
    """
    one, other = first, second
    found = np.full(len(one), np.inf, np.float32)
    likely = np.flatnonzero(_correlation(one[:, 0], other[:, 0]) >= _LEAST_CORRELATION)
    one, other = one[likely], other[likely]
    found[likely] = np.minimum(_remainder(one, other), _remainder(other, one))
    return found


def averages(images: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n 3 32 32"]:
    """What `differences` compares: brightness less its mean and two channels of colour, as 32 × 32 smoothed averages.

    Smoothing defines the tangents of edges.
    """
    n, height, width, _ = images.shape
    found: Float32[np.ndarray, "n _ _ _"] = images.astype(np.float32)
    if (height, width) != (GRID, GRID):
        found = (averaging(height, GRID) @ found.reshape(n, height, width * 3)).reshape(n, GRID, width, 3)
        found = averaging(width, GRID) @ found
    found = np.moveaxis(found @ _TO_YCBCR, -1, 1)
    found = np.pad(found, ((0, 0), (0, 0), (1, 1), (1, 1)), "edge")
    found = (found[:, :, :-2] + 2 * found[:, :, 1:-1] + found[:, :, 2:]) / 4
    found = (found[..., :-2] + 2 * found[..., 1:-1] + found[..., 2:]) / 4
    found[:, 0] -= found[:, 0].mean(axis=(1, 2), keepdims=True)
    return found


def averaging(size: int, cells: int) -> Float32[np.ndarray, "cells size"]:
    """The matrix that averages `size` pixels into `cells` equal parts; pixels on a border count in proportion."""
    edges = np.linspace(0, size, cells + 1)
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(overlap.clip(0) * cells / size, np.float32)


def _correlation(
    one: Float32[np.ndarray, "n 32 32"], other: Float32[np.ndarray, "n 32 32"]
) -> Float32[np.ndarray, " n"]:
    norms = np.sqrt(np.square(one).sum(axis=(1, 2)) * np.square(other).sum(axis=(1, 2)))
    return np.asarray((one * other).sum(axis=(1, 2)) / np.maximum(norms, (GRID * _LEAST_CONTRAST_LEVELS) ** 2 / 100))


def _remainder(
    source: Float32[np.ndarray, "n 3 32 32"], target: Float32[np.ndarray, "n 3 32 32"]
) -> Float32[np.ndarray, " n"]:
    """The part of `target` that no change of `source` explains, in its worst cell, over its contrast."""
    changes, target = _changes(source, target), _halved(target)
    n, num_changes, size = *changes.shape[:2], math.prod(target.shape[1:])
    basis, wanted = changes.reshape(n, num_changes, size), target.reshape(n, size, 1)
    scale = np.sqrt(np.einsum("nip,nip->ni", basis, basis) / size)[..., None] + _RIDGE
    basis /= scale
    gram = basis @ basis.transpose(0, 2, 1) / size + _RIDGE * np.eye(num_changes, dtype=np.float32)
    weights = np.linalg.solve(gram, basis @ wanted / size)
    rest = (wanted - basis.transpose(0, 2, 1) @ weights).reshape(target.shape)
    cells = _halved(rest)
    contrast = np.sqrt(target.var(axis=(2, 3)).sum(axis=1))
    worst = np.sqrt(np.square(cells).sum(axis=1)).max(axis=(1, 2)) / np.maximum(contrast, _LEAST_CONTRAST_LEVELS)
    contrast_gain, colour_gain, curve = (weights / scale)[:, :3, 0].T
    is_grey = np.square(source[:, 1:]).sum(axis=1).mean(axis=(1, 2)) < _GREY_LEVELS**2
    is_kept = _is_within(contrast_gain, _MIN_GAIN) & (is_grey | _is_within(colour_gain, _MIN_GAIN))
    for end in (source[:, 0].min(axis=(1, 2)), source[:, 0].max(axis=(1, 2))):
        is_kept &= _is_within(contrast_gain + 2 * curve * end, _MIN_GAIN_AT_AN_END)
    return np.where(is_kept, worst, np.float32(np.inf))


def _is_within(gain: Float32[np.ndarray, " n"], least: float) -> Bool[np.ndarray, " n"]:
    return np.asarray((gain >= least) & (gain <= 1 / least))


def _changes(
    source: Float32[np.ndarray, "n 3 32 32"], target: Float32[np.ndarray, "n 3 32 32"]
) -> Float32[np.ndarray, "n 7 3 16 16"]:
    """The basis of the fit: contrast, saturation, tone curve, brightness, shift right, shift down, zoom."""
    down, right = np.gradient((source + target) / 2, axis=(2, 3))  # between both: exact to the second order
    curve, source, down, right = map(_halved, (np.square(source[:, 0]), source, down, right))
    place = np.linspace(-0.5, 0.5, source.shape[-1], dtype=np.float32)
    changes = np.zeros((len(source), 7, *source.shape[1:]), np.float32)
    changes[:, 0, 0] = source[:, 0]
    changes[:, 1, 1:] = source[:, 1:]
    changes[:, 2, 0] = curve
    changes[:, 3, 0] = 1
    changes[:, 4], changes[:, 5] = right, down
    changes[:, 6] = place * right + place[:, None] * down
    return changes


def _halved(pictures: Float32[np.ndarray, "*n h w"]) -> Float32[np.ndarray, "*n h_half w_half"]:
    """Averages of 2 × 2 pixels."""
    rows = pictures[..., ::2, :] + pictures[..., 1::2, :]
    return np.asarray((rows[..., ::2] + rows[..., 1::2]) / 4)
