"""Where labelled images come from: `cifar10`, a folder or a .zip with a folder for each class.

    sources ─► class_folders ─► image_folder (decode) ─┐
    cifar10 ◄─ download ───────────────────────────────┴─► Reading ─► cache ─► Collection ─► load: splits → Dataset
                                                                                       └───► check: CheckReport

Every image is read by `lince.images.decode`; a file that cannot be used is left out, and listed with the reason. A
small source is decoded into memory, and cached; a large one into the cache file, where its images stay (`pixel_file`).
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from lince.data import cache as caches
from lince.data import leakage
from lince.data.audit import CheckReport, inspect
from lince.data.class_requirements import learnable, require_trainable, warnings
from lince.data.dataset import Collection, Reading, fingerprint
from lince.data.overlap import twins
from lince.data.pixel_file import StoredImages
from lince.data.progress import Progress, silent
from lince.data.sources import cifar10, image_folder
from lince.data.sources.base import printable
from lince.data.sources.encoded_images import open_source
from lince.data.splits import hold_out
from lince.errors import DataError
from lince.types import Dataset, ImageLimits, ImageSpec, Split

# Up to which `leaked` looks: for so many of 96 × 96 pixels it reads 2.8 GB, and takes 20 to 70 s.
_MOST_LOOKED_FOR_LEAKAGE = 100_000

# Part of every cache key: raise it when the same bytes come to other pixels, names or labels than before.
_READER_VERSION = 4


def load(
    source: str | Path,
    spec: ImageSpec,
    *,
    seed: int,
    test_fraction: float = 0.2,
    strict: bool = False,
    leave_out: str | Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
    limits: ImageLimits = ImageLimits(),
    trains: bool = True,
) -> Dataset:
    """Reads a labelled source; from the second time on, from the cache.

    Up to `cache.IN_MEMORY_BYTES` (512 MiB) of pixels are held in memory; those of a larger source stay in its cache
    file, and are read when `images` is indexed. What is in memory then is about 100 bytes an image.

    Args:
        source: the word `cifar10`, or a folder or .zip with `train/CLASS/…` and `test/CLASS/…`, or `CLASS/…` alone.
        spec: the size to decode to, and how.
        seed: draws the test split of a source that has none of its own; not used otherwise.
        test_fraction: the share to draw, 0..1, ends excluded.
        strict: whether a single rejected file, or class folder without a usable image, is an error.
        leave_out: a class-per-folder source to test on, whose images `source` may have too, as other files: what is
            CLASS/NAME in both, suffixes apart, is listed in `Dataset.left_out`. Not for `cifar10`, which has no files.
        cache: the folder for downloads and decoded images; `LINCE_CACHE` or the user's cache folder when None.
        progress: told about bytes and images, from this thread.
        limits: bounds on each file; what exceeds them is rejected.
        trains: false for images that are to be answered only: one class is then enough, splits may differ in their
            classes, and either may be empty.

    Returns:
        Both splits. The fingerprint is that of the content (see `dataset.fingerprint`), whichever way it was drawn.

    Raises:
        DataError: when the source cannot be used, the disk cannot hold a large one, `strict` and a file was rejected,
            or `leave_out` has nothing in common with the source.
    """
    _require_names(source, leave_out)
    collection, identity = _collect(source, spec, cache=cache, progress=progress or silent, limits=limits)
    name = printable(str(source))
    if strict and (collection.rejected or collection.empty):
        raise DataError(_rejections(str(source), collection))
    trains_on_folders = trains and source != cifar10.NAME
    if trains_on_folders:
        require_trainable(collection, name=name)
    train, test, test_indices = _splits(collection, fraction=test_fraction, seed=seed)
    if trains and len(test) == 0:
        raise DataError(
            f"{name!r} has no image to spare for a test split: each is the only one of its class, or a copy of one "
            "that stays. Expected two different images of a class, or a tree 'test' beside 'train'."
        )
    if trains_on_folders:
        train, test = learnable(train, test)
    left_out = () if leave_out is None else twins(train, Path(leave_out), source=name)
    former = fingerprint(collection, image_shape=spec.shape, digests=collection.digests, within_wrapper=False)
    return Dataset(
        train=train,
        test=test,
        fingerprint=identity,
        rejected=collection.rejected,
        test_indices=test_indices,
        left_out=left_out,
        reading=collection.reading,
        warnings=warnings(collection),
        former_fingerprint=former,
    )


def probe(source: str | Path, *, leave_out: str | Path | None = None) -> None:
    """Looks whether sources are there and can be opened, and reads no image: a mistake in a name is told at once.

    Args:
        source, leave_out: as for `load`.

    Raises:
        DataError: nothing is there, it is no archive, or `leave_out` does not go with `source`.
    """
    _require_names(source, leave_out)
    for path in (None if source == cifar10.NAME else source, leave_out):
        if path is not None:
            with open_source(Path(path)):
                pass


def join(first: Split, second: Split) -> Split:
    """All images of two splits of one dataset; those of a stored one stay where they are."""
    labels = np.concatenate([first.labels, second.labels])
    if isinstance(first.images, StoredImages):
        images, names = first.images.joined(second.images), first.names.joined(second.names)
    else:
        images, names = np.concatenate([first.images, second.images]), first.names + second.names
    sizes = None if first.sizes is None or second.sizes is None else np.concatenate([first.sizes, second.sizes])
    return Split(images, labels, first.classes, names, sizes)


def leaked(test: Split, *, train: Split, validation: Split) -> leakage.LeakedImages | None:
    """Which test images are among the training and validation images, too: identical to one, or looking like one.

    Args:
        test, train, validation: of one dataset.

    Returns:
        None, and nothing was looked for, when there are more than 100,000 images: it would take minutes.
    """
    if not is_searched(len(test) + len(train) + len(validation)):
        return None
    everything = join(train, join(validation, test))
    return leakage.find(everything, num_test=len(test))


def is_searched(images: int) -> bool:
    """Whether `leaked` looks through so many images."""
    return images <= _MOST_LOOKED_FOR_LEAKAGE


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
    if source != cifar10.NAME:
        require_trainable(collection, name=printable(str(source)))
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


def _require_names(source: str | Path, leave_out: str | Path | None) -> None:
    if leave_out == cifar10.NAME:
        raise DataError(
            "Received 'cifar10' to leave out, whose images are no files with names. "
            "Expected a folder or a .zip of images."
        )
    if leave_out is not None and source == cifar10.NAME:
        raise DataError(
            f"Received {printable(str(leave_out))!r} to leave out of 'cifar10', whose images are no files with names. "
            "Expected a folder or a .zip of images to leave it out of."
        )


def _splits(collection: Collection, *, fraction: float, seed: int) -> tuple[Split, Split, tuple[int, ...]]:
    """The source's own splits, or a test split drawn from all of its images, and then which it is."""
    if collection.num_train is not None:
        return *(collection.split(where) for where in collection.splits.values()), ()
    kept, held = hold_out(collection.images, collection.labels, fraction=fraction, seed=seed)
    everything = collection.split(slice(None))
    return everything.take(kept), everything.take(held), tuple(held.tolist())


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
            begin=lambda: cifar10.Cifar10Reading(spec, cache=cache, checksum=cifar10.CHECKSUM, progress=progress),
        )
    path = Path(source)
    with open_source(path) as opened:
        return _cached(
            cache,
            name=str(path.resolve()),
            stamp=opened.stamp(),
            how=asdict(spec) | asdict(limits),
            begin=lambda: image_folder.FolderReading(opened, spec, limits=limits, progress=progress),
        )


def _cached(
    cache: Path, *, name: str, stamp: str, how: dict[str, object], begin: Callable[[], Reading]
) -> tuple[Collection, str]:
    """One cache file for each source and way of reading it, so that a source that changes replaces its own."""
    place = hashlib.sha256(json.dumps([name, how], sort_keys=True).encode()).hexdigest()[:16]
    path = cache / "images" / f"{place}.pixels"
    key = f"{_READER_VERSION} {stamp}"
    return caches.read(path, key) or caches.fill(path, key, begin())


def _rejections(source: str, collection: Collection) -> str:
    found = (*collection.rejected, *collection.empty)
    first = "; ".join(f"{one.path}: {one.reason}" for one in found[:3])
    count = len(found)
    kind = "file" if not collection.empty else "folder" if not collection.rejected else "file or folder"
    files = f"1 {kind}" if count == 1 else f"{count:,} {kind.replace(' or', 's or')}s"
    message = f"{source!r} holds {files} that cannot be used ({first}{'; …' if count > 3 else ''})."
    return f"{message} Expected none with --strict: repair or remove them, or train without --strict."
