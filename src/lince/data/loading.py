"""Reads a labelled source: the word `cifar10`, or a folder or .zip with a folder for each class.

    directory, zip_file ─► class_folders ─► image_folder (decode) ─┐
    download ─► cifar10 ───────────────────────────────────────────┴─► Reading ─► cache ─► Collection
                                                              Collection ─► division ─► load: two splits, a Dataset
                                                                         Collection ─► audit.check: a CheckReport

Every image is decoded by `lince.images.decode`. A file that cannot be used is left out, and listed with the reason. A
small source is decoded into memory, and cached. A large source is decoded into the cache file, and its images stay
there (see `pixel_file`).
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from lince.data import cache as caches
from lince.data.class_requirements import learnable, require_trainable, warnings
from lince.data.dataset import Collection, EmptyClass, Reading
from lince.data.division import EarlierSplit, divide, divide_again
from lince.data.group_rule import check_rule
from lince.data.overlap import shared_by_name
from lince.data.sources import cifar10, image_folder
from lince.data.sources.image_files import open_source
from lince.errors import DataError
from lince.progress import Progress, silent
from lince.text import printable, quantity
from lince.types import Dataset, ImageLimits, ImageSpec, Rejected, Split

# Part of every cache key. Raise it when the same bytes give other pixels, names or labels than before.
_READER_VERSION = 4


def load(
    source: str | Path,
    spec: ImageSpec,
    *,
    seed: int,
    strict: bool = False,
    leave_out: str | Path | None = None,
    groups: str | None = None,
    earlier: EarlierSplit | None = None,
    cache: Path | None = None,
    progress: Progress = silent,
    limits: ImageLimits = ImageLimits(),
    trains: bool = True,
) -> Dataset:
    """Reads a labelled source; from the second time on, from the cache.

    Up to `cache.IN_MEMORY_BYTES` (256 MiB) of pixels are held in memory. The pixels of a larger source stay in its
    cache file, and are read when `images` is indexed. About 100 bytes an image are in memory then.

    Args:
        source: the word `cifar10`, or a folder or .zip with `train/CLASS/…` and `test/CLASS/…`, or `CLASS/…` alone.
        spec: the size to decode to, and how.
        seed: draws the test split where the source has none; not used otherwise.
        strict: whether a single rejected file, or class folder without a usable image, is an error.
        leave_out: a class-per-folder source to test on. `source` may hold the same images as other files: those whose
            CLASS/NAME is in both, suffixes apart, are listed in `Dataset.left_out`. Not for `cifar10`, which has no
            files.
        groups: names images that stay on one side of every split, beside those that look alike: `folder`, or a pattern
            (see `group_rule`). Not for `cifar10`.
        earlier: the reading by a run that is continued, or for a model that is evaluated: the test split is that one.
        cache: the folder for downloads and decoded images; `LINCE_CACHE` or the user's cache folder when None.
        progress: called with bytes and images, from this thread.
        limits: bounds on each file; files beyond them are rejected.
        trains: false for images that are only predicted. One class is then enough, the splits may differ in their
            classes, and either may be empty.

    Returns:
        Both splits. The fingerprint depends on the content alone (see `dataset.fingerprint`), not on the test split.

    Raises:
        DataError: when the source cannot be used, or the disk cannot hold a large one. With `strict`, when a file was
            rejected. With `leave_out`, when it has nothing in common with the source. With `groups`, when no image is
            in a group. With `earlier`, when its indices are not those of a test split.
    """
    require_names(source, leave_out=leave_out, groups=groups)
    collection, identity = collect(source, spec, cache=cache, progress=progress, limits=limits)
    name = printable(str(source))
    if strict and (collection.rejected or collection.empty):
        raise DataError(_rejections(str(source), collection))
    trains_on_folders = trains and source != cifar10.NAME
    if trains_on_folders:
        require_trainable(collection, name=name)
    if earlier is None:
        division = divide(collection, seed=seed, rule=groups, source=source, progress=progress)
    else:
        division = divide_again(collection, earlier, fingerprint=identity, seed=seed, source=source)
    train, test = _splits(collection, division.test_indices)
    if trains and len(test) == 0:
        raise DataError(
            f"{name!r} has no image to spare for a test split: all images of a class are in one group, for each class. "
            "Expected images of two groups in a class, or a tree 'test' beside 'train'."
        )
    if trains_on_folders:
        train, test = learnable(train, test)
    left_out = () if leave_out is None else shared_by_name(train, Path(leave_out), source=name)
    return Dataset(
        train=train,
        test=test,
        fingerprint=identity,
        rejected=collection.rejected,
        test_indices=tuple(division.test_indices.tolist()),
        left_out=left_out,
        reading=" ".join(filter(None, (collection.reading, division.reading))),
        warnings=(*warnings(collection), *division.warnings),
        groups=division.groups,
    )


def probe(source: str | Path, *, leave_out: str | Path | None = None, groups: str | None = None) -> None:
    """Checks that the sources of `load` exist and can be opened, without reading an image: a wrong name fails at once.

    Raises:
        DataError: nothing is there, it is no archive, `groups` is no rule, or an option cannot be combined with
            `source`.
    """
    require_names(source, leave_out=leave_out, groups=groups)
    for path in (None if source == cifar10.NAME else source, leave_out):
        if path is not None:
            with open_source(Path(path)):
                pass


def collect(
    source: str | Path, spec: ImageSpec, *, cache: Path | None, progress: Progress, limits: ImageLimits
) -> tuple[Collection, str]:
    """The decoded source and its fingerprint, from the cache where the source has not changed; arguments as of `load`.

    Raises:
        DataError: when the source cannot be used.
    """
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


def require_names(source: str | Path, *, leave_out: str | Path | None = None, groups: str | None = None) -> None:
    """Refuses `cifar10` where files with names are needed, and a rule for groups that is none.

    Raises:
        DataError: see above.
    """
    if leave_out is not None and cifar10.NAME in (source, leave_out):
        place = "" if leave_out == cifar10.NAME else f" of {cifar10.NAME!r}"
        raise DataError(
            f"Received {printable(str(leave_out))!r} to leave out{place}. Its images are not files with names. "
            "Expected folders or .zips of images."
        )
    if groups is not None:
        check_rule(groups)
        if source == cifar10.NAME:
            raise DataError(
                f"Received --groups {printable(groups)} for {cifar10.NAME!r}. Its images are not files with names. "
                "Expected a folder or .zip of images, or no --groups."
            )


def _splits(collection: Collection, test_indices: Int64[np.ndarray, " m"]) -> tuple[Split, Split]:
    """The source's own splits, or all of its images without and with the drawn indices."""
    if collection.num_train is not None:
        train, test = (collection.split(where) for where in collection.splits.values())
        return train, test
    everything = collection.split(slice(None))
    return everything.take(np.delete(np.arange(len(everything)), test_indices)), everything.take(test_indices)


def _cached(
    cache: Path, *, name: str, stamp: str, how: dict[str, object], begin: Callable[[], Reading]
) -> tuple[Collection, str]:
    """The collection from its cache file. Each source and way of reading it has one file, which a change replaces."""
    place = hashlib.sha256(json.dumps([name, how], sort_keys=True).encode()).hexdigest()[:16]
    path = cache / "images" / f"{place}.pixels"
    key = f"{_READER_VERSION} {stamp}"
    return caches.read(path, key) or caches.fill(path, key, begin())


def _rejections(source: str, collection: Collection) -> str:
    found: tuple[Rejected | EmptyClass, ...] = (*collection.rejected, *collection.empty)
    lines = [f"{one.path}: {one.reason}" for one in found[:3]] + ["…"] * (len(found) > 3)
    counts = ((len(collection.rejected), "file"), (len(collection.empty), "folder"))
    held = " and ".join(quantity(count, noun) for count, noun in counts if count)
    message = f"{source!r} holds {held} that cannot be used. Expected none with --strict: repair or remove them, or "
    return "\n".join([f"{message}train without --strict.", *lines])
