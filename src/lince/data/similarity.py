"""How similar two pictures are, apart from changes that make a copy: encoding, resizing, brightening, a small crop.

Such changes affect the whole picture in a few ways, which are removed first. For each pair they are fitted by least
squares: brightness, contrast, a tone curve, saturation, and a small shift and zoom. The remaining difference is evenly
spread noise in copies. In different pictures (two icons of one style, two digits) it is concentrated in one place. The
measure is therefore the largest difference of one small cell over the picture's contrast, not the mean of all cells.

Source: shift and zoom to the first order, as tangents of the picture: Simard, LeCun, Denker 1993, Efficient Pattern
Recognition Using a New Transformation Distance, NIPS 5.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

# Pictures are compared as 32 × 32 averages. A finer grid does not separate icons better. A crop of 5 % then moves no
# pixel by more than one, which tangents can express. A cell is 4 × 4 of them, 1/64 of the picture: small enough for the
# detail in which two digits differ, and large enough to average out the noise of JPEG.
_GRID = 32
_SIZE = (_GRID // 2) ** 2  # of a map on which the changes are fitted
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


@dataclass(frozen=True)
class Pictures:
    """What of pictures is compared. It is computed once for each picture, and each may be in many pairs.

    Attributes:
        luma: f32[N,1024], brightness less its mean, as 32 × 32 smoothed averages.
        norms, lowest, highest: f32[N], of `luma`.
        maps: f32[N,10,256], averages of 16 × 16: brightness, two colours, squared brightness, and the slopes of
            brightness and colours to the right, then down.
        contrast: f32[N], the standard deviation of brightness and colours together.
        is_grey: bool[N], whether there is no colour but that of rounding.
    """

    luma: Float32[np.ndarray, "n 1024"]
    norms: Float32[np.ndarray, " n"]
    lowest: Float32[np.ndarray, " n"]
    highest: Float32[np.ndarray, " n"]
    maps: Float32[np.ndarray, "n 10 256"]
    contrast: Float32[np.ndarray, " n"]
    is_grey: Bool[np.ndarray, " n"]

    def take(self, indices: Int64[np.ndarray, " m"]) -> "Pictures":
        """Those at `indices`."""
        return Pictures(**{name: values[indices] for name, values in vars(self).items()})

    @staticmethod
    def joined(parts: "Sequence[Pictures]") -> "Pictures":
        """All pictures of one or more parts."""
        names = vars(parts[0])
        return Pictures(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def pictures(images: UInt8[np.ndarray, "n h w 3"]) -> Pictures:
    """What `differences` compares of images."""
    found = _averages(images)
    luma = found[:, 0].reshape(len(found), _GRID * _GRID)
    down, right = np.gradient(found, axis=(2, 3))
    squared = np.square(found[:, :1])
    maps = _halved(np.concatenate([found, squared, right, down], axis=1))
    return Pictures(
        luma=luma,
        norms=np.sqrt(np.square(luma).sum(axis=1)),
        lowest=luma.min(axis=1),
        highest=luma.max(axis=1),
        maps=maps.reshape(len(found), 10, _SIZE),
        contrast=np.sqrt(maps[:, :3].var(axis=(2, 3)).sum(axis=1)),
        is_grey=np.square(found[:, 1:]).sum(axis=1).mean(axis=(1, 2)) < _GREY_LEVELS**2,
    )


def differences(first: Pictures, second: Pictures) -> Float32[np.ndarray, " n"]:
    """The difference of each pair of pictures in the cell where they differ most.

    Args:
        first, second: N pictures each.

    Returns:
        f32[N], from 0. One picture is fitted to the other: the value is the remaining difference in the worst of 64
        cells, over the other's standard deviation; the smaller one of both directions. Infinity: not a copy.
    """
    found = np.full(len(first.luma), np.inf, np.float32)
    likely = np.flatnonzero(_correlation(first, second) >= _LEAST_CORRELATION)
    one, other = first.take(likely), second.take(likely)
    changes = _changes(one, other)
    found[likely] = np.minimum(_remainder(one, other, changes), _remainder(other, one, changes))
    return found


def averaging(size: int, cells: int) -> Float32[np.ndarray, "cells size"]:
    """The matrix that averages `size` pixels into `cells` equal parts; pixels on a border count in proportion."""
    edges = np.linspace(0, size, cells + 1)
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(overlap.clip(0) * cells / size, np.float32)


def _averages(images: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n 3 32 32"]:
    """Brightness less its mean, and two channels of colour; smoothed, so that the tangents of edges are defined."""
    n, height, width, _ = images.shape
    planes = np.moveaxis(images, -1, 0).reshape(3, -1)
    if (height, width) != (_GRID, _GRID):
        # One large product each: many small ones keep several threads waiting for each other.
        pixels = images.transpose(1, 0, 2, 3).astype(np.float32, order="C").reshape(height, n * width * 3)
        rows = (averaging(height, _GRID) @ pixels).reshape(_GRID, n, width, 3)
        cells = rows.transpose(3, 1, 0, 2).reshape(3 * n * _GRID, width) @ averaging(width, _GRID).T
        planes = cells.reshape(3, -1)
    channels = _TO_YCBCR.T @ planes.astype(np.float32, order="C")
    found: np.ndarray = np.moveaxis(channels.reshape(3, n, _GRID, _GRID), 0, 1)
    found = np.pad(found, ((0, 0), (0, 0), (1, 1), (1, 1)), "edge")
    found = (found[:, :, :-2] + 2 * found[:, :, 1:-1] + found[:, :, 2:]) / 4
    found = (found[..., :-2] + 2 * found[..., 1:-1] + found[..., 2:]) / 4
    found[:, 0] -= found[:, 0].mean(axis=(1, 2), keepdims=True)
    return found


def _correlation(one: Pictures, other: Pictures) -> Float32[np.ndarray, " n"]:
    least = (_GRID * _LEAST_CONTRAST_LEVELS) ** 2 / 100
    return np.asarray(np.einsum("ni,ni->n", one.luma, other.luma) / np.maximum(one.norms * other.norms, least))


def _changes(one: Pictures, other: Pictures) -> Float32[np.ndarray, "n 7 768"]:
    """The basis of the fit: contrast, saturation, tone curve (all of the source), brightness, shift right, down, zoom.

    The first three are left empty. Slopes are those between both pictures, which is exact to the second order.
    """
    slopes = (one.maps[:, 4:] + other.maps[:, 4:]) / 2
    right, down = slopes[:, :3], slopes[:, 3:]
    place = np.linspace(-0.5, 0.5, _GRID // 2, dtype=np.float32)
    changes = np.zeros((len(right), 7, 3, _SIZE), np.float32)
    changes[:, 3, 0] = 1
    changes[:, 4], changes[:, 5] = right, down
    changes[:, 6] = np.tile(place, _GRID // 2) * right + np.repeat(place, _GRID // 2) * down
    return changes.reshape(len(right), 7, 3 * _SIZE)


def _remainder(
    source: Pictures, target: Pictures, changes: Float32[np.ndarray, "n 7 768"]
) -> Float32[np.ndarray, " n"]:
    """The part of `target` that no change of `source` explains, in its worst cell, over its contrast."""
    changes[:, 0, :_SIZE] = source.maps[:, 0]
    changes[:, 1, _SIZE:] = source.maps[:, 1:3].reshape(len(changes), 2 * _SIZE)
    changes[:, 2, :_SIZE] = source.maps[:, 3]
    size, wanted = changes.shape[2], target.maps[:, :3].reshape(len(changes), 3 * _SIZE, 1)
    products = changes @ changes.transpose(0, 2, 1) / size
    scale = np.sqrt(np.diagonal(products, axis1=1, axis2=2))[..., None] + _RIDGE
    gram = products / (scale * scale.transpose(0, 2, 1)) + _RIDGE * np.eye(changes.shape[1], dtype=np.float32)
    weights = np.linalg.solve(gram, changes @ wanted / size / scale) / scale
    rest = wanted[..., 0] - (weights.transpose(0, 2, 1) @ changes)[:, 0]
    cells = _halved(rest.reshape(len(rest), 3, _GRID // 2, _GRID // 2))
    worst = np.sqrt(np.square(cells).sum(axis=1)).max(axis=(1, 2))
    worst = worst / np.maximum(target.contrast, _LEAST_CONTRAST_LEVELS)
    contrast_gain, colour_gain, curve = weights[:, :3, 0].T
    is_kept = _is_within(contrast_gain, _MIN_GAIN) & (source.is_grey | _is_within(colour_gain, _MIN_GAIN))
    for end in (source.lowest, source.highest):
        is_kept &= _is_within(contrast_gain + 2 * curve * end, _MIN_GAIN_AT_AN_END)
    return np.where(is_kept, worst, np.float32(np.inf))


def _is_within(gain: Float32[np.ndarray, " n"], least: float) -> Bool[np.ndarray, " n"]:
    return np.asarray((gain >= least) & (gain <= 1 / least))


def _halved(pictures: Float32[np.ndarray, "*n h w"]) -> Float32[np.ndarray, "*n h_half w_half"]:
    """Averages of 2 × 2 pixels."""
    rows = pictures[..., ::2, :] + pictures[..., 1::2, :]
    return np.asarray((rows[..., ::2] + rows[..., 1::2]) / 4)
