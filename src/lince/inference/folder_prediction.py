"""Predictions for files, folders and zip files, in constant memory: in this process, or in one for each core."""

import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

import numpy as np

from lince.data.sources.image_files import Found, find_images, read_image
from lince.errors import LinceError
from lince.images import decode
from lince.inference.answers import answer
from lince.inference.classifier import Classifier
from lince.system import quiet
from lince.types import ImageLimits

Row = dict[str, Any]
"""`{"path": …}` with the fields of `answers.answer`, or with `"error"`, a sentence, for a file that is no image."""

_Chunk = list[tuple[str, Found]]

_CHUNK = 16  # images that a process takes at a time
_WAITING = 4  # chunks of each process that are under way, or answered before their turn
_FEW = 100  # images that are answered before processes are started: few images need none


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
    yield from predict_on_cores(classifier, Path(), paths, options, workers=1)


def predict_on_cores(
    classifier: Classifier,
    model: Path,
    paths: Iterable[Path],
    options: RowOptions,
    *,
    workers: int,
    done: Iterable[str] = (),
    again: int | None = None,
    add: Callable[[Found, Row], None] | None = None,
) -> Iterator[Row]:
    """As `predict_paths`, with the same rows in the same order, from so many processes.

    This process answers the first images, and all until the others have started. Ending the iterator ends them. When
    one of them is ended by the system, for example because memory is short, its images are tried again, at last one by
    one. An image that ends its process each time has an error.

    Args:
        classifier: the model; it answers the first images.
        model: its file, which each process reads; not used with one worker.
        paths, options: as for `predict_paths`.
        workers: the number of processes.
        done: the paths of the first images, which have rows already and are left out.
        again: the number, from 0, of one of these, whose row comes first all the same.
        add: called with each image that is not in `done`, and its row, before the row comes.

    Raises:
        LinceError: other images come first than those of `done`, or a process that ended cannot be started again.
    """
    found = find_images(paths)
    for number, path in enumerate(done):
        one = next(found, None)
        if one is None or one[0] != path:
            raise LinceError(
                f"Image number {number + 1:,} is not {path!r}, as in its row. Expected the same PATHS as before, with "
                "the same files in them."
            )
        if number == again:
            yield from _rows(classifier, [one], options)
    processes = _Processes(classifier, model, workers, options) if workers > 1 else None
    with closing(_answered(classifier, _chunks(found), options, processes)) as answered:
        for chunk, rows in answered:
            for (_, image), row in zip(chunk, rows, strict=True):
                if add is not None:
                    add(image, row)
                yield row


def _chunks(found: Iterator[tuple[str, Found]]) -> Iterator[_Chunk]:
    while chunk := list(itertools.islice(found, _CHUNK)):
        yield chunk


def _answered(
    classifier: Classifier, chunks: Iterator[_Chunk], options: RowOptions, processes: "_Processes | None"
) -> Generator[tuple[_Chunk, list[Row]]]:
    """Chunks with their rows, in order."""
    few = chunks if processes is None else itertools.islice(chunks, _FEW // _CHUNK)
    for chunk in few:
        yield chunk, _rows(classifier, chunk, options)
    if processes is None:
        return
    pending: deque[tuple[_Chunk, Future[list[Row]]]] = deque()
    try:
        for chunk in chunks:
            if not processes.have_started():
                yield chunk, _rows(classifier, chunk, options)
                continue
            pending.append((chunk, processes.submit(chunk)))
            if len(pending) >= _WAITING * processes.count:
                oldest, answered = pending.popleft()
                yield oldest, processes.rows(oldest, answered)
        for chunk, answered in pending:
            yield chunk, processes.rows(chunk, answered)
    finally:
        processes.end()


def _rows(classifier: Classifier, chunk: _Chunk, options: RowOptions) -> list[Row]:
    """The rows of some images, of which the network sees those that can be decoded."""
    rows: list[Row] = [{"path": name} for name, _ in chunk]
    decoded = []
    for row, (_, found) in zip(rows, chunk, strict=True):
        try:
            pixels = decode(read_image(found, ImageLimits().max_bytes), classifier.image_spec)
            decoded.append((row, pixels))
        except LinceError as error:
            row["error"] = str(error)
    if decoded:
        prediction = classifier.predict(np.stack([pixels for _, pixels in decoded]))
        for index, (row, _) in enumerate(decoded):
            row |= answer(prediction, index, classifier.classes, top=options.top, logits=options.logits)
    return rows


class _Processes:
    """Processes that answer images, and are started anew when one of them was ended."""

    def __init__(self, classifier: Classifier, model: Path, count: int, options: RowOptions):
        self.count, self._options = count, options
        self._model, self._version = model, classifier.manifest.version
        self._spawn = _Spawn()
        self._pool: ProcessPoolExecutor | None = None
        self._starting: list[Future[None]] = []
        self._single: ProcessPoolExecutor | None = None  # tries images that may have ended their process

    def have_started(self) -> bool:
        """Whether images can be given to them. The first call starts them.

        Raises:
            LinceError: they cannot be started.
        """
        if self._pool is None:
            self._pool = self._begin(self.count)
            with _interrupts_later():  # `submit` starts a process
                self._starting = [self._pool.submit(_ready) for _ in range(self.count)]
        if self._starting and all(one.done() for one in self._starting):
            _require_started(self._starting)
            self._starting = []
        return not self._starting

    def submit(self, chunk: _Chunk) -> "Future[list[Row]]":
        """Begins the work on some images."""
        assert self._pool is not None
        try:
            return self._pool.submit(_answer, chunk)
        except BrokenProcessPool:
            with _interrupts_later():
                self._pool.shutdown()
                self._pool = self._begin(self.count)
                return self._pool.submit(_answer, chunk)

    def rows(self, chunk: _Chunk, answered: "Future[list[Row]]") -> list[Row]:
        """The rows of some images, when they are there."""
        try:
            return answered.result()
        except BrokenProcessPool:
            return self._again(chunk)

    def end(self) -> None:
        """Ends the processes; what they work on is not wanted any more."""
        self._spawn.end()
        for pool in (self._pool, self._single):
            if pool is not None:
                pool.shutdown(wait=True, cancel_futures=True)

    def _again(self, chunk: _Chunk) -> list[Row]:
        """Tries some images once more, then each alone, since one of them may have ended the process."""
        try:
            return self._alone(chunk)
        except BrokenProcessPool:
            if len(chunk) > 1:
                return [row for one in chunk for row in self._again([one])]
            [(name, _)] = chunk
            return [{"path": name, "error": "The system ended the process that read it, most likely for its memory."}]

    def _alone(self, chunk: _Chunk) -> list[Row]:
        """Answers in a process of their own, which has started: when it ends, they have ended it."""
        with _interrupts_later():
            if self._single is None:
                self._single = self._begin(1)
                started = [self._single.submit(_ready)]
            else:
                started = []
        _require_started(started)
        try:
            return self._single.submit(_answer, chunk).result()
        except BrokenProcessPool:
            self._single.shutdown()
            self._single = None
            raise

    def _begin(self, count: int) -> ProcessPoolExecutor:
        arguments = (self._model, self._version, self._options)
        return ProcessPoolExecutor(count, mp_context=self._spawn, initializer=_begin, initargs=arguments)


def _require_started(starting: "list[Future[None]]") -> None:
    try:
        for one in starting:
            one.result()
    except BrokenProcessPool as error:
        raise LinceError(
            "A process that was to answer images ended while it started, most likely because memory is short. Use "
            "--workers 1; with --output, add --resume to keep the rows so far."
        ) from error


class _Spawn(SpawnContext):
    """Starts processes, and keeps them. A forked one would hold the locks of LiteRT's threads for ever."""

    def __init__(self) -> None:
        super().__init__()
        self._processes: list[SpawnProcess] = []

    def Process(self, *arguments: Any, **options: Any) -> SpawnProcess:  # type: ignore[override]  # noqa: N802
        process = SpawnProcess(*arguments, **options)
        self._processes.append(process)
        return process

    def end(self) -> None:
        """Ends all of them that have started."""
        for process in self._processes:
            if process.pid is not None:
                process.terminate()


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Raises KeyboardInterrupt after the block: within it, a process would be left half started.

    A process that is started within it does not see Ctrl-C, not even while it imports its packages.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not hasattr(signal, "pthread_sigmask") or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
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
_failed: LinceError | None = None


def _begin(model: Path, version: str, options: RowOptions) -> None:
    global _answering, _failed
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the process that reads the rows, which ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with quiet.captured_stderr():
            classifier = Classifier.load(model)
    except LinceError as error:
        _failed = error
        return
    if classifier.manifest.version != version:
        _failed = LinceError(f"{str(model)!r} was replaced while its answers were written. Begin again.")
    else:
        _answering = classifier, options


def _end_with_parent() -> None:
    """Ends this process when the one that reads the rows was killed: it would wait for images for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _ready() -> None:
    if _failed is not None:
        raise _failed


def _answer(chunk: _Chunk) -> list[Row]:
    _ready()
    if _answering is None:
        raise RuntimeError("`_begin` was not called.")
    classifier, options = _answering
    return _rows(classifier, chunk, options)
