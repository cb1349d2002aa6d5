"""Predictions for files, folders and zip files, in constant memory: in this process, or in one for each core."""

import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lince.data.sources.directory import read_file
from lince.data.sources.image_files import find_images
from lince.errors import LinceError
from lince.images import decode
from lince.inference.answers import answer
from lince.inference.classifier import Classifier
from lince.system import quiet
from lince.types import ImageLimits

Row = dict[str, Any]
"""`{"path": …}` with the fields of `answers.answer`, or with `"error"`, a sentence, for a file that is no image."""

_Found = tuple[str, Path | bytes | LinceError]

# A chunk ends with so many images, or with so many bytes of them from an archive: all chunks under way lie in memory.
_CHUNK, _CHUNK_BYTES = 16, 2**22
_WAITING = 4  # chunks of each process that are under way, or answered before their turn
_FEW = 500  # images that are answered before processes are started: few images need none


@dataclass(frozen=True)
class RowOptions:
    """What a row holds: the number of most probable classes, and whether the network's output is added."""

    top: int
    logits: bool = False


def predict_paths(classifier: Classifier, paths: Iterable[Path], options: RowOptions) -> Iterator[Row]:
    """Answers for every image, in the order of `paths` and sorted within each.

    Args:
        classifier: the model.
        paths: images, folders (read recursively) and `.zip` files.
        options: what a row holds.
    """
    for chunk in _chunks(find_images(paths)):
        yield from _rows(classifier, chunk, options)


def predict_on_cores(
    classifier: Classifier,
    model: Path,
    paths: Iterable[Path],
    options: RowOptions,
    *,
    workers: int,
    done: int = 0,
    last: str = "",
) -> Iterator[Row]:
    """As `predict_paths`, with the same rows in the same order, from so many processes. The first images need none.

    Ending the iterator ends the processes. When one of them is ended by the system, for example because memory is
    short, its images are tried again, at last one by one; an image that ends two processes has an error.

    Args:
        classifier: the model; it answers the first images.
        model: its file, which each process reads.
        paths, options: as for `predict_paths`.
        workers: the number of processes.
        done: so many images have rows already, and are left out.
        last: the path of the last one of them.

    Raises:
        LinceError: other images come first than those that have rows.
    """
    found = find_images(paths)
    if done and next((name for name, _ in itertools.islice(found, done - 1, None)), "") != last:
        raise LinceError(
            f"Image number {done:,} is not {last!r}, which the last row names. Expected the same PATHS as before."
        )
    for chunk in _chunks(itertools.islice(found, _FEW if workers > 1 else None)):
        yield from _rows(classifier, chunk, options)
    processes = _Processes(model, workers, options)  # they start with the first chunk
    try:
        pending: deque[tuple[list[_Found], Future[list[Row]]]] = deque()
        for chunk in _chunks(found):
            pending.append((chunk, processes.submit(chunk)))
            if len(pending) >= _WAITING * workers:
                yield from processes.rows(*pending.popleft())
        while pending:
            yield from processes.rows(*pending.popleft())
    finally:
        processes.close()


def _chunks(found: Iterator[_Found]) -> Iterator[list[_Found]]:
    chunk: list[_Found] = []
    held_bytes = 0
    for one in found:
        chunk.append(one)
        held_bytes += len(one[1]) if isinstance(one[1], bytes) else 0
        if len(chunk) == _CHUNK or held_bytes >= _CHUNK_BYTES:
            yield chunk
            chunk, held_bytes = [], 0
    if chunk:
        yield chunk


def _rows(classifier: Classifier, chunk: list[_Found], options: RowOptions) -> list[Row]:
    """The rows of some images, of which the network sees those that can be decoded."""
    rows: list[Row] = [{"path": name} for name, _ in chunk]
    decoded = []
    for row, (_, found) in zip(rows, chunk, strict=True):
        try:
            if isinstance(found, LinceError):
                raise found
            data = read_file(found, ImageLimits().max_bytes) if isinstance(found, Path) else found
            decoded.append((row, decode(data, classifier.image_spec)))
        except LinceError as error:
            row["error"] = str(error)
    if decoded:
        prediction = classifier.predict(np.stack([pixels for _, pixels in decoded]))
        for index, (row, _) in enumerate(decoded):
            row |= answer(prediction, index, classifier.classes, top=options.top, logits=options.logits)
    return rows


class _Processes:
    """A pool that is started anew when one of its processes was ended."""

    def __init__(self, model: Path, count: int, options: RowOptions):
        self._model, self._count, self._options = model, count, options
        self._pool = self._start()

    def submit(self, chunk: list[_Found]) -> "Future[list[Row]]":
        """Begins the work on some images."""
        with _interrupts_later():  # the pool starts a process here
            try:
                return self._pool.submit(_answer, chunk)
            except BrokenProcessPool:
                self._restart()
                return self._pool.submit(_answer, chunk)

    def rows(self, chunk: list[_Found], answered: "Future[list[Row]]") -> list[Row]:
        """The rows of some images, when they are there."""
        try:
            return answered.result()
        except BrokenProcessPool:
            return self._again(chunk)

    def close(self) -> None:
        """Ends the processes."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _again(self, chunk: list[_Found]) -> list[Row]:
        """Tries some images once more, then each alone, since one of them may have ended the process."""
        try:
            return self.submit(chunk).result()
        except BrokenProcessPool:
            if len(chunk) > 1:
                return [row for one in chunk for row in self._again([one])]
            [(name, _)] = chunk
            return [{"path": name, "error": "The system ended the process that read it, most likely for its memory."}]

    def _start(self) -> ProcessPoolExecutor:
        # spawn: a copy of this process would hold locks of LiteRT's threads for ever.
        spawn = multiprocessing.get_context("spawn")
        arguments = (self._model, self._options)
        return ProcessPoolExecutor(self._count, mp_context=spawn, initializer=_begin, initargs=arguments)

    def _restart(self) -> None:
        self.close()
        self._pool = self._start()


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Raises KeyboardInterrupt after the block: within it, a process would be left half started.

    A process that is started within it does not see Ctrl-C, not even while it imports its packages.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


# In the processes of the pool, of which each answers for one model.
_answering: tuple[Classifier, RowOptions] | None = None


def _begin(model: Path, options: RowOptions) -> None:
    global _answering
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the process that reads the rows, which ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with quiet.captured_stderr():
        _answering = Classifier.load(model), options


def _end_with_parent() -> None:
    """Ends this process when the one that reads the rows was killed: it would wait for images for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _answer(chunk: list[_Found]) -> list[Row]:
    assert _answering is not None
    classifier, options = _answering
    return _rows(classifier, chunk, options)
