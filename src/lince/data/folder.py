"""Reads a class-per-folder source: lays its files out into classes and decodes them on a few threads."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager

import numpy as np
from jaxtyping import UInt8

from lince.data.collection import Collection
from lince.data.entry import Entry, Source
from lince.data.layout import Layout, arrange
from lince.data.progress import Progress, silent
from lince.errors import DataError, ImageError, LinceError
from lince.images import EXTENSIONS, decode
from lince.records import ImageLimits, ImageSpec, Rejected

# A thread's turn: long enough (5 ms of 32 × 32 JPEGs) that handing it out costs nothing, short enough for a smooth bar.
_CHUNK = 64
# Threads help with large images, where Pillow decodes outside the GIL. Each may hold one of 50 megapixels, 150 MB.
_MAX_THREADS = 8


def read_collection(
    source: Source, spec: ImageSpec, *, limits: ImageLimits = ImageLimits(), progress: Progress = silent
) -> Collection:
    """Finds the classes of a source and decodes its images.

    Args:
        source: an open folder tree or archive.
        spec: the size to decode to.
        limits: bounds on each file; what exceeds them is rejected.
        progress: told about images.

    Returns:
        The images that can be used, and those that cannot with the reason.

    Raises:
        DataError: when the layout is not one that we read (see `layout.arrange`), a class has no usable image, or the
            images do not fit into memory.
    """
    layout = arrange(source.walk(), name=source.name)
    images = _allocate((len(layout.entries), *spec.shape), name=source.name)
    errors = _decode_into(images, source, layout.entries, spec=spec, limits=limits, progress=progress)
    usable = np.array([error is None for error in errors])
    _check_populated(layout, errors, name=source.name)
    bad = [Rejected(entry.path, str(error)) for entry, error in zip(layout.entries, errors, strict=True) if error]
    index_of = {label: index for index, label in enumerate(layout.classes)}
    labels = np.array([index_of[label] for label in layout.labels], np.int64)
    return Collection(
        images=images if usable.all() else images[usable],
        labels=labels[usable],
        classes=layout.classes,
        names=tuple(entry.path for entry, is_usable in zip(layout.entries, usable, strict=True) if is_usable),
        num_train=None if layout.num_train is None else int(usable[: layout.num_train].sum()),
        rejected=tuple(sorted((*layout.rejected, *bad), key=lambda one: one.path)),
        is_final=layout.is_complete and all(error is None or isinstance(error, ImageError) for error in errors),
    )


def _allocate(shape: tuple[int, ...], *, name: str) -> UInt8[np.ndarray, "n h w 3"]:
    try:
        return np.empty(shape, np.uint8)
    except MemoryError as error:
        size = f"{np.prod(shape, dtype=float) / 2**30:.1f} GiB"
        message = f"The {shape[0]:,} images of {name!r} need {size} at {shape[1]} × {shape[2]}, more than there is."
        raise DataError(f"{message} Choose a smaller image size, or fewer images.") from error


def _decode_into(
    images: UInt8[np.ndarray, "n h w 3"],
    source: Source,
    entries: Sequence[Entry],
    *,
    spec: ImageSpec,
    limits: ImageLimits,
    progress: Progress,
) -> list[LinceError | None]:
    """Fills `images`; returns for each entry the error that left its place unfilled."""
    errors: list[LinceError | None] = [None] * len(entries)

    def decode_chunk(start: int) -> int:
        chunk = entries[start : start + _CHUNK]
        for index, entry in enumerate(chunk, start):
            try:
                images[index] = decode(source.read(entry, limits.max_bytes), spec, limits)
            except LinceError as error:
                errors[index] = error
        return len(chunk)

    what, done = "Reading images", 0
    progress(0, len(entries), what)
    with _threads() as pool:
        for future in as_completed([pool.submit(decode_chunk, at) for at in range(0, len(entries), _CHUNK)]):
            done += future.result()
            progress(done, len(entries), what)
    return errors


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """A pool that, on an error or Ctrl-C, drops the work that has not begun."""
    pool = ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1), thread_name_prefix="lince-decode")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _check_populated(layout: Layout, errors: Sequence[LinceError | None], *, name: str) -> None:
    """Refuses a class without a usable image, in either split: nothing could be learnt or said about it."""
    for split, where in layout.splits.items():
        files = list(zip(layout.labels[where], errors[where], strict=True))
        populated = {label for label, error in files if error is None}
        for label in layout.classes:
            if label not in populated:
                raise DataError(_unpopulated([error for one, error in files if one == label], f"{split}{label}", name))


def _unpopulated(errors: Sequence[LinceError | None], folder: str, name: str) -> str:
    reason = f"it holds no file named {', '.join(sorted(EXTENSIONS))}."
    if errors:
        reason = f"all {len(errors):,} files were rejected, the first because: {errors[0]}"
    return f"No image in {folder!r} of {name!r} can be used: {reason} Add images, or move the folder elsewhere."
