"""Reads a class-per-folder source: finds its classes, and decodes its files on several threads."""

import math
import posixpath
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from lince import encoded_image
from lince.data.class_names import composed
from lince.data.dataset import Catalogue, EmptyClass
from lince.data.sources.base import Source
from lince.data.sources.class_folders import Layout, arrange
from lince.errors import DataError, ImageError, LinceError
from lince.images import EXTENSIONS, decode
from lince.progress import Progress, silent
from lince.system import machine
from lince.types import ImageLimits, ImageSpec, Rejected

# Images that a thread decodes at a time: enough (5 ms of 32 × 32 JPEGs) that scheduling costs nothing, and few enough
# for a smooth progress bar. They have at most 4 MiB, so that all blocks in progress take at most 128 MiB.
_BLOCK, _BLOCK_BYTES = 64, 2**22
# Threads help with large images, which Pillow decodes outside the GIL. Each may hold an image of 50 megapixels, 150 MB.
_MAX_THREADS = 8
# Blocks in progress or waiting to be taken, for each thread: while one waits for a slow file, the others go on.
_AHEAD = 4


class FolderReading:
    """A class-per-folder source that is not decoded yet; see `dataset.Reading`."""

    def __init__(
        self, source: Source, spec: ImageSpec, *, limits: ImageLimits = ImageLimits(), progress: Progress = silent
    ):
        """Finds the classes of an open source; files beyond `limits` will be rejected, `progress` called with images.

        Raises:
            DataError: when its folders cannot be read as classes (see `class_folders.arrange`).
        """
        self._layout = arrange(source.walk(), name=source.name)
        self._source, self._spec, self._limits, self._progress = source, spec, limits, progress
        self._failures: dict[int, _Failure] = {}  # by place in the layout
        self.total, self.image_shape = len(self._layout.entries), spec.shape
        self._sizes = np.zeros((self.total, 2), np.uint16)

    def blocks(self) -> Iterator[UInt8[np.ndarray, "n h w 3"]]:
        """The usable images, in the order of the layout."""
        step = max(1, min(_BLOCK, _BLOCK_BYTES // math.prod(self.image_shape)))
        places = (range(at, min(at + step, self.total)) for at in range(0, self.total, step))
        done, what = 0, "Reading images"
        self._progress(done, self.total, what)
        threads = min(_MAX_THREADS, machine.cores())
        pool = ThreadPoolExecutor(threads, thread_name_prefix="lince-decode")
        try:
            for place, block in _in_order(pool, self._decode, places, ahead=threads * _AHEAD):
                done += len(place)
                self._progress(done, self.total, what)
                yield block
        finally:  # after an error or Ctrl-C, work that has not begun is dropped
            pool.shutdown(cancel_futures=True)

    def catalogue(self) -> Catalogue:
        """Labels and names of the usable images, and what was left out.

        Raises:
            DataError: when there is no usable image.
        """
        layout, failures = self._layout, self._failures
        if len(failures) == self.total:
            reasons = [failures[place].reason for place in sorted(failures)]
            raise DataError(f"No image of {self._source.name!r} can be used. {_no_image(reasons)}")
        usable = np.ones(self.total, bool)
        usable[list(failures)] = False
        bad = [Rejected(layout.entries[index].path, failure.reason) for index, failure in failures.items()]
        places = np.flatnonzero(usable).tolist()
        classes = tuple(sorted({layout.labels[place] for place in places}))
        index_of = {label: index for index, label in enumerate(classes)}
        return Catalogue(
            labels=np.fromiter((index_of[layout.labels[place]] for place in places), np.int64, len(places)),
            classes=classes,
            names=tuple(layout.entries[place].path for place in places),
            sizes=self._sizes[usable],
            num_train=None if layout.num_train is None else int(usable[: layout.num_train].sum()),
            rejected=tuple(sorted((*layout.rejected, *bad), key=lambda one: composed(one.path))),
            empty=tuple(_empty(layout, failures)),
            trees=layout.trees,
            reading=layout.reading,
            warnings=layout.warnings,
            is_final=layout.is_complete and all(failure.is_final for failure in failures.values()),
        )

    def _decode(self, place: range) -> UInt8[np.ndarray, "n h w 3"]:
        """The images of a few entries, without those that fail."""
        block, count = np.empty((len(place), *self.image_shape), np.uint8), 0
        for index in place:
            try:
                data = self._source.read(self._layout.entries[index], self._limits.max_bytes)
                structure = encoded_image.inspect(data)
                block[count] = decode(data, self._spec, self._limits, structure)
                self._sizes[index] = np.minimum(structure.upright_size, np.iinfo(np.uint16).max)
                count += 1
            except LinceError as error:  # the error is not kept: its traceback would keep the block in memory
                self._failures[index] = _Failure(str(error), is_final=isinstance(error, ImageError))
        return block[:count]


@dataclass(frozen=True)
class _Failure:
    """Why a file was left out; not final when it could not be reached: another attempt may succeed."""

    reason: str
    is_final: bool


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[range], np.ndarray], places: Iterable[range], *, ahead: int
) -> Iterator[tuple[range, np.ndarray]]:
    """Each place with the result of the work on it; at most `ahead` results exist at a time."""
    running: deque[tuple[range, Future[np.ndarray]]] = deque()
    for place in places:
        running.append((place, pool.submit(work, place)))
        if len(running) == ahead:
            place, future = running.popleft()
            yield place, future.result()
    for place, future in running:
        yield place, future.result()


def _empty(layout: Layout, failures: Mapping[int, _Failure]) -> Iterator[EmptyClass]:
    """The class folders without a usable image, each by itself; of nested ones the outer folder."""
    usable: set[str] = set()
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for index, entry in enumerate(layout.entries):
        folder = posixpath.dirname(entry.path)
        if index in failures:
            reasons[folder].append(failures[index].reason)
        else:
            usable.add(folder)
    empty = layout.folders.keys() - {above for folder in usable for above in _upwards(folder)}
    below: defaultdict[str, list[str]] = defaultdict(list)
    for folder, found in reasons.items():
        for above in _upwards(folder):
            below[above] += found
    for path in sorted(empty, key=lambda path: (*layout.folders[path], path)):
        if empty.isdisjoint(_upwards(posixpath.dirname(path))):
            split, label = layout.folders[path]
            called = "all" if layout.num_train is None else ("train", "test")[split]
            yield EmptyClass(path, _no_image(below[path]), called, label)


def _upwards(folder: str) -> Iterator[str]:
    """The folder, and those around it."""
    while folder:
        yield folder
        folder = posixpath.dirname(folder)


def _no_image(reasons: Sequence[str]) -> str:
    if not reasons:
        return f"It holds no file named {', '.join(sorted(EXTENSIONS))}."
    if len(reasons) == 1:
        return f"Its only file was rejected: {reasons[0]}"
    return f"All of its {len(reasons):,} files were rejected, the first because: {reasons[0]}"
