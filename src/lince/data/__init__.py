"""Where labelled images come from: `cifar10`, a folder or a .zip with a folder for each class.

    source ─ tree, archive ─► layout ─► folder (decode) ─┐
    cifar10 ◄─ download ─────────────────────────────────┴─► Collection ─ cache ─► load: splits → Dataset
                                                                             └───► check: CheckReport

Every image is read by `lince.images.decode`; a file that cannot be used is left out, and listed with the reason.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from lince.data import cache as caches
from lince.data import cifar10, folder
from lince.data.checking import CheckReport, inspect
from lince.data.collection import Collection, fingerprint
from lince.data.entry import printable
from lince.data.progress import Progress, silent
from lince.data.sources import open_source
from lince.data.splitting import hold_out, stratified_split
from lince.errors import DataError
from lince.records import Dataset, ImageLimits, ImageSpec

__all__ = ["CheckReport", "Progress", "check", "hold_out", "load", "stratified_split"]

# Part of every cache key: raise it when the same bytes come to other pixels, names or labels than before.
_READER_VERSION = 1


def load(
    source: str | Path,
    spec: ImageSpec,
    *,
    seed: int,
    test_fraction: float = 0.2,
    strict: bool = False,
    cache: Path | None = None,
    progress: Progress | None = None,
    limits: ImageLimits = ImageLimits(),
) -> Dataset:
    """Reads a labelled source into memory; from the second time on, from the cache.

    Args:
        source: the word `cifar10`, or a folder or .zip with `train/CLASS/…` and `test/CLASS/…`, or `CLASS/…` alone.
        spec: the size to decode to, and how.
        seed: draws the test split of a source that has none of its own; not used otherwise.
        test_fraction: the share to draw, 0..1, ends excluded.
        strict: whether a single rejected file is an error.
        cache: the folder for downloads and decoded images; `LINCE_CACHE` or the user's cache folder when None.
        progress: told about bytes and images, from this thread.
        limits: bounds on each file; what exceeds them is rejected.

    Returns:
        Both splits. The fingerprint is that of the content (see `collection.fingerprint`), whichever way it was drawn.

    Raises:
        DataError: when the source cannot be used, or `strict` and a file was rejected.
    """
    collection, identity = _collect(source, spec, cache=cache, progress=progress or silent, limits=limits)
    if strict and collection.rejected:
        raise DataError(_rejections(str(source), collection))
    if collection.num_train is not None:
        train, test = (collection.split(where) for where in collection.splits.values())
        return Dataset(train, test, identity, collection.rejected)
    kept, held = hold_out(collection.images, collection.labels, fraction=test_fraction, seed=seed)
    everything = collection.split(slice(None))
    test_indices = tuple(held.tolist())
    return Dataset(everything.take(kept), everything.take(held), identity, collection.rejected, test_indices)


def check(
    source: str | Path,
    spec: ImageSpec = ImageSpec(),
    *,
    seed: int = 0,
    test_fraction: float = 0.2,
    cache: Path | None = None,
    progress: Progress | None = None,
    limits: ImageLimits = ImageLimits(),
) -> CheckReport:
    """Looks for what makes a labelled source worse than it seems: rejected files, imbalance, copies, leaks into test.

    Args:
        source, cache, progress, limits: as for `load`.
        spec: the size at which images are compared.
        seed, test_fraction: the test split to look at is the one that `load` draws with them.

    Returns:
        The findings; `dataclasses.asdict` makes them JSON.

    Raises:
        DataError: when the source cannot be used at all.
    """
    collection, identity = _collect(source, spec, cache=cache, progress=progress or silent, limits=limits)
    is_drawn = collection.num_train is None
    if is_drawn:
        _, test_indices = hold_out(collection.images, collection.labels, fraction=test_fraction, seed=seed)
    else:
        test_indices = np.arange(collection.num_train, len(collection.labels))
    return inspect(
        collection,
        test_indices=test_indices,
        drawn_seed=seed if is_drawn else None,
        source=printable(str(source)),
        identity=identity,
        progress=progress or silent,
    )


def _collect(
    source: str | Path, spec: ImageSpec, *, cache: Path | None, progress: Progress, limits: ImageLimits
) -> tuple[Collection, str]:
    """The decoded source and its fingerprint, from the cache where that still holds the same."""
    cache = cache or caches.default_folder()
    if source == cifar10.NAME:
        return _cached(
            cache,
            name=cifar10.NAME,
            stamp=cifar10.CHECKSUM,
            how=asdict(spec),
            read=lambda: cifar10.read_collection(spec, cache=cache, checksum=cifar10.CHECKSUM, progress=progress),
        )
    path = Path(source)
    with open_source(path) as opened:
        return _cached(
            cache,
            name=str(path.resolve()),
            stamp=opened.stamp(),
            how=asdict(spec) | asdict(limits),
            read=lambda: folder.read_collection(opened, spec, limits=limits, progress=progress),
        )


def _cached(
    cache: Path, *, name: str, stamp: str, how: dict[str, object], read: Callable[[], Collection]
) -> tuple[Collection, str]:
    """One cache file for each source and way of reading it, so that a source that changes replaces its own."""
    place = hashlib.sha256(json.dumps([name, how], sort_keys=True).encode()).hexdigest()[:16]
    path = cache / "images" / f"{place}.npys"
    key = f"{_READER_VERSION} {stamp}"
    if found := caches.read(path, key):
        return found
    collection = read()
    if not collection.is_final:
        return collection, fingerprint(collection)
    return collection, caches.write(path, key, collection)


def _rejections(source: str, collection: Collection) -> str:
    first = "; ".join(f"{one.path}: {one.reason}" for one in collection.rejected[:3])
    count = len(collection.rejected)
    files = "1 file" if count == 1 else f"{count:,} files"
    message = f"{source!r} holds {files} that cannot be used ({first}{'; …' if count > 3 else ''})."
    return f"{message} Expected none with --strict: mend or remove them, or train without --strict."
