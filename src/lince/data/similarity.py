"""Whether two pictures show the same, whatever was done to one: encoded again, resized, brightened, cropped a little.

Such a change touches the whole picture in one of a few ways, which are taken out first: for each pair a least-squares
fit of brightness, contrast, a curve of tones, saturation, and a small shift and zoom. What is left is noise, spread
evenly, in copies; in pictures that differ (two icons of one style, two digits) it is somewhere. So the verdict is the
largest difference of one small cell, over the contrast of the picture, and no mean over the whole.

Source: shift and zoom to the first order, as tangents of the picture: Simard, LeCun, Denker 1993, Efficient Pattern
Recognition Using a New Transformation Distance, NIPS 5.
"""

import math

import numpy as np
from jaxtyping import Float32, UInt8

# Compared as 32 × 32 averages: finer shows no more of what tells two icons apart; a crop of 5 % then moves nothing by
# more than a pixel, as far as tangents reach. A cell is 4 × 4 of them, 1/64 of the picture: small enough for the detail
# that tells two digits apart, and large enough that the noise of JPEG averages out.
_GRID = 32
# JPEG halves the resolution of colour and rounds it more coarsely, which eyes hardly notice.
_COLOUR_WEIGHT = 0.5
_TO_YCBCR = np.array(  # ITU-R BT.601, as in JPEG
    [
        [0.299, -0.168736 * _COLOUR_WEIGHT, 0.5 * _COLOUR_WEIGHT],
        [0.587, -0.331264 * _COLOUR_WEIGHT, -0.418688 * _COLOUR_WEIGHT],
        [0.114, 0.5 * _COLOUR_WEIGHT, -0.081312 * _COLOUR_WEIGHT],
    ],
    np.float32,
)
# A copy keeps at least half of its contrast and colour, and at most doubles them: a grey heart is no copy of a red one.
# The curve of tones may be flatter and steeper at black and white, where brightening clips; level, it would wipe off
# what is drawn on a ground.
_MIN_GAIN, _MIN_GAIN_AT_AN_END = 0.5, 0.25
_GREY_LEVELS = 3.0  # of colour, after rounding by JPEG, in a picture that has none
_LEAST_CONTRAST_LEVELS = 1.0  # what is more even than this differs by rounding alone
_LEAST_CORRELATION = 0.5  # of grey, before anything is fitted: no crop that the fit can undo leaves less
_RIDGE = 1e-4  # keeps the fit determined where a picture is even or grey, and so has no tangents


def differences(first: UInt8[np.ndarray, "n h w 3"], second: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, " n"]:
    """How much the pictures of each pair differ where they differ most.

    Args:
        first, second: u8[N,H,W,3].

    Returns:
        f32[N]: what is left in the worst of 64 cells once one picture is fitted to the other, over the standard
        deviation of the other; the smaller of both ways round. 0 is the same; infinity is no copy at all.
    """
    one, other = (_channels(images) for images in (first, second))
    found = np.full(len(one), np.inf, np.float32)
    likely = np.flatnonzero(_correlation(one[:, 0], other[:, 0]) >= _LEAST_CORRELATION)
    one, other = one[likely], other[likely]
    found[likely] = np.minimum(_left(one, other), _left(other, one))
    return found


def averaging(size: int, cells: int) -> Float32[np.ndarray, "cells size"]:
    """The matrix that averages `size` pixels into `cells` equal stretches; pixels on a border count in part."""
    edges = np.linspace(0, size, cells + 1)
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (overlap.clip(0) * cells / size).astype(np.float32)


def _channels(images: np.ndarray) -> Float32[np.ndarray, "n 3 32 32"]:
    """Brightness, its mean taken off, and two of colour; smoothed, so that the tangents of edges are defined."""
    _, height, width, _ = images.shape
    found = np.moveaxis(images.astype(np.float32) @ _TO_YCBCR, -1, 1)
    if (height, width) != (_GRID, _GRID):
        found = averaging(height, _GRID) @ found @ averaging(width, _GRID).T
    found = np.pad(found, ((0, 0), (0, 0), (1, 1), (1, 1)), "edge")
    found = (found[:, :, :-2] + 2 * found[:, :, 1:-1] + found[:, :, 2:]) / 4
    found = (found[..., :-2] + 2 * found[..., 1:-1] + found[..., 2:]) / 4
    found[:, 0] -= found[:, 0].mean(axis=(1, 2), keepdims=True)
    return found


def _correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    norms = np.sqrt(np.square(one).sum(axis=(1, 2)) * np.square(other).sum(axis=(1, 2)))
    return (one * other).sum(axis=(1, 2)) / np.maximum(norms, (_GRID * _LEAST_CONTRAST_LEVELS) ** 2 / 100)


def _left(source: Float32[np.ndarray, "n 3 32 32"], target: Float32[np.ndarray, "n 3 32 32"]) -> np.ndarray:
    """What of `target` no change of `source` explains, in its worst cell, over its contrast."""
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


def _is_within(gain: np.ndarray, least: float) -> np.ndarray:
    return (gain >= least) & (gain <= 1 / least)


def _changes(source: np.ndarray, target: np.ndarray) -> Float32[np.ndarray, "n 7 3 16 16"]:
    """Contrast, saturation, curve and brightness; shift to the right, shift down and zoom; averaged by 2 × 2."""
    down, right = np.gradient((source + target) / 2, axis=(2, 3))  # halfway: exact to the second order
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


def _halved(pictures: np.ndarray) -> np.ndarray:
    """Averages of 2 × 2."""
    rows = pictures[..., ::2, :] + pictures[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]) / 4
