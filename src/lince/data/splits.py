"""Splits that keep every class's share, and come out the same for the same seed."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from lince.data.duplicates import first_copies
from lince.errors import DataError
from lince.types import Images


def stratified_split(
    labels: Int64[np.ndarray, " n"], *, fraction: float, seed: int
) -> tuple[Int64[np.ndarray, " kept"], Int64[np.ndarray, " held"]]:
    """Sets a share of every class aside.

    Each class is drawn from a stream of its own, so that images added to one class move no image of another.

    Args:
        labels: i64[N], class indices, from 0.
        fraction: the share to hold out, 0..1, ends excluded. Rounded to whole images class by class, and to at least
            one image on either side; the only image of a class is kept.
        seed: from 0.

    Returns:
        i64[M] and i64[N-M], the indices kept and the indices held out, each ascending.

    Raises:
        DataError: when `fraction` or `seed` is out of range.
    """
    if not 0 < fraction < 1:
        raise DataError(f"Received fraction={fraction!r} to hold out. Expected 0 < fraction < 1, such as 0.2.")
    if seed < 0:
        raise DataError(f"Received seed={seed!r}. Expected a whole number from 0.")
    held = [_draw(labels, label, fraction=fraction, seed=seed) for label in np.unique(labels)]
    is_held = np.zeros(len(labels), bool)
    is_held[np.concatenate([np.empty(0, np.int64), *held])] = True
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def hold_out(
    images: Images,
    labels: Int64[np.ndarray, " n"],
    *,
    fraction: float,
    seed: int,
    leave_out: Sequence[int] = (),
) -> tuple[Int64[np.ndarray, " kept"], Int64[np.ndarray, " held"]]:
    """Sets images aside to judge by, as `stratified_split` does, but none of which the pixels are kept as well.

    Args:
        images: u8[N,H,W,3]; of copies that came to lie on both sides, all are kept. None is read where they are stored.
        labels, fraction, seed: as for `stratified_split`.
        leave_out: indices of images that, with their copies, are to be on neither side.

    Returns:
        i64[M] and i64[H], the indices kept and the indices held out, each ascending.

    Raises:
        DataError: when `fraction` or `seed` is out of range.
    """
    first = first_copies(images)
    used = np.flatnonzero(~np.isin(first, first[np.asarray(leave_out, np.int64)]))
    kept = used[stratified_split(labels[used], fraction=fraction, seed=seed)[0]]
    is_kept = np.zeros(len(labels), bool)  # whether a picture is, by the first of its copies
    is_kept[first[kept]] = True
    is_kept = is_kept[first][used]
    return used[is_kept], used[~is_kept]


def _draw(labels: Int64[np.ndarray, " n"], label: int, *, fraction: float, seed: int) -> Int64[np.ndarray, " m"]:
    members = np.flatnonzero(labels == label)
    count = min(max(1, round(fraction * len(members))), len(members) - 1)
    return np.random.default_rng([seed, int(label)]).permutation(members)[:count]
