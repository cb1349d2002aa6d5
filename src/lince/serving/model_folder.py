"""A folder of models, which each worker watches: a new file is verified and warmed, and then answers.

    FOLDER/NAME.tflite            a model; to swap it, replace the file
    FOLDER/NAME/VERSION.tflite    a model with several versions: the last one in natural order answers (9 before 10)
    FOLDER/pinned.json            versions that were chosen instead, by `POST /v2/repository/models/NAME/load`

The folder is the only state, so all workers and all machines that mount it agree, and a restart changes nothing.
"""

import asyncio
import itertools
import logging
import re
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lince import schema
from lince.errors import ModelFileError
from lince.model_file import artifact
from lince.serving.errors import RequestError
from lince.serving.models import Models, ServedModel, read, served
from lince.serving.settings import ServeSettings
from lince.system import quiet
from lince.system.files import Stamp, locked, read_bounded, stamp_of, write_atomically
from lince.text import NAME, listed

PINNED = "pinned.json"

_POLL_S = 0.5  # a file is loaded when two looks find it unchanged: it may still be written at the first
_SUFFIX = ".tflite"
_MAX_PINNED_BYTES = 2**16
_HOW = f"Expected NAME{_SUFFIX} or NAME/VERSION{_SUFFIX} in it."

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refused:
    """A file that cannot be served, and why."""

    name: str
    path: Path
    stamp: Stamp
    reason: str


class ModelFolder:
    """The models of a folder. Its methods may be called from any thread.

    Attributes:
        models: those that answer.
    """

    def __init__(self, folder: Path, settings: ServeSettings):
        """Loads the version of each model that should answer; of a damaged one the version before it.

        Raises:
            ModelFileError: the folder cannot be read, or no model in it can be served.
        """
        self._folder, self._settings = folder, settings
        self._lock = threading.Lock()
        self._loaded: dict[str, tuple[Path, Stamp]] = {}
        self._refused: dict[Path, Refused] = {}
        self._seen: dict[Path, Stamp] = {}  # at the last look
        self._unread: set[Path] = set()
        self._missing: set[str] = set()  # models without files at the last look
        self._on_refusal: Callable[[], None] = lambda: None
        self._is_readable = self._is_starting = self._is_pinned_valid = True
        try:
            files = self._files()
            found = [one for name, paths in files.items() if (one := self._first(name, paths)) is not None]
        except OSError as error:
            raise ModelFileError(f"Folder {str(folder)!r} cannot be read ({error.strerror}). {_HOW}") from error
        if not found:
            reasons = " ".join(one.reason for one in self._refused.values())
            raise ModelFileError(f"Folder {str(folder)!r} holds no model that can be served. {reasons or _HOW}")
        self.models = Models(found, default=settings.default_model)
        self._is_starting = False

    @property
    def refused(self) -> tuple[Refused, ...]:
        """The files that cannot be served."""
        return tuple(self._refused.values())

    def watch_refusals(self, on_refusal: Callable[[], None]) -> None:
        """Calls the function for each file that is refused: now for those of the start, and from now on."""
        self._on_refusal = on_refusal
        for _ in self._refused:
            on_refusal()

    async def watch(self) -> None:
        """Looks at the folder twice a second until it is cancelled."""
        while True:
            await asyncio.sleep(_POLL_S)
            try:
                await asyncio.to_thread(self.update)
            except Exception:
                _log.exception("Folder %r could not be looked at.", str(self._folder))

    def update(self) -> None:
        """Swaps the models whose files have changed. A file that cannot be served changes nothing, and is logged."""
        with self._lock:
            try:
                files = self._files()
            except OSError as error:  # such as a network's file system that is away for a while
                if self._is_readable:
                    _log.error("Folder %r cannot be read (%s). The models go on.", str(self._folder), error.strerror)
                self._is_readable = False
                return
            self._is_readable = True
            for name, paths in files.items():
                self._swap(name, paths)
            missing = self._loaded.keys() - files.keys()
            for name in missing & self._missing:
                self._remove(name)
            self._missing = missing
            known = set(itertools.chain(*files.values()))
            self._refused = {path: one for path, one in self._refused.items() if path in known}
            self._seen = {path: stamp for path, stamp in self._seen.items() if path in known}

    def load(self, name: str, version: str | None = None) -> ServedModel:
        """Lets a version answer from now on: in this worker now, in the others within two seconds.

        Args:
            name: of the model.
            version: as the answers name it, or the name of its file without suffix; it stays chosen whatever files
                come. The last version for None, and later files answer again.

        Raises:
            RequestError: there is no such model or version, or it cannot be served. Nothing has changed then.
        """
        with self._lock:
            try:
                files = self._files(pinned={})
                paths = files.get(name)
                if paths is None:
                    raise RequestError("not_found", f"There is no model {name[:100]!r} in the folder. {_HOW}")
                path = paths[0] if version is None else self._of_version(name, paths, version)
                stamp = stamp_of(path)
                new = self._read(name, path)
                self._pin(name, None if version is None else path.name, files.keys())
            except ModelFileError as error:
                self._on_refusal()
                raise RequestError("model_refused", str(error)) from error
            except OSError as error:
                message = f"Folder {str(self._folder)!r} cannot be read or written ({error.strerror}). Nothing changed."
                raise RequestError("model_refused", message) from error
            self._put(new, path, stamp)
            return new

    def _files(self, pinned: dict[str, str] | None = None) -> dict[str, list[Path]]:
        """The files of each model; the one that should answer is first."""
        pinned = self._pinned() if pinned is None else pinned
        found: dict[str, list[Path]] = {}
        for path in sorted(self._folder.iterdir()):
            name = path.name if path.is_dir() else path.stem
            if NAME.fullmatch(name) and (versions := self._versions(name, path)):
                found.setdefault(name, []).extend(versions)
        for name, paths in found.items():
            paths.sort(key=lambda file: file.name != pinned.get(name))
        return found

    def _versions(self, name: str, path: Path) -> list[Path]:
        """The files of a model in one place. A folder that cannot be read changes nothing, and is logged once."""
        if not path.is_dir():
            return [path] if _is_model(path) else []
        try:
            found = sorted(filter(_is_model, path.iterdir()), key=_natural, reverse=True)
        except OSError as error:
            if path not in self._unread:
                _log.error("Folder %r cannot be read (%s). Its model goes on.", str(path), error.strerror)
            self._unread.add(path)
            return [self._loaded[name][0]] if name in self._loaded else []
        self._unread.discard(path)
        return found

    def _first(self, name: str, paths: Sequence[Path]) -> ServedModel | None:
        """The first of the files that can be served."""
        for path in paths:
            stamp = stamp_of(path)
            if (new := self._try(name, path, stamp)) is not None:
                self._loaded[name] = path, stamp
                return new
        return None

    def _swap(self, name: str, paths: Sequence[Path]) -> None:
        """Loads the first file that is better than the one that answers, as soon as it has settled."""
        current, _ = loaded = self._loaded.get(name, (None, None))
        for path in paths:
            try:
                stamp, before = stamp_of(path), self._seen.get(path)
            except OSError:  # it has gone meanwhile
                continue
            self._seen[path] = stamp
            if (path, stamp) == loaded:
                return
            refused = self._refused.get(path)
            if refused is None or refused.stamp != stamp:
                if before != stamp:
                    return  # it may still be written: at the next look
                if (new := self._try(name, path, stamp)) is not None:
                    self._put(new, path, stamp)
                    return
            if path == current:
                return

    def _try(self, name: str, path: Path, stamp: Stamp) -> ServedModel | None:
        try:
            return self._read(name, path)
        except ModelFileError as error:
            reason = str(error)
        except Exception as error:  # one file must not stop the others
            _log.exception("File %r could not be loaded.", str(path))
            reason = f"File {str(path)!r} could not be loaded ({type(error).__name__}). The log says more."
        self._refused[path] = Refused(name, path, stamp, reason)
        self._on_refusal()
        _log.error("A model is refused, and nothing changes. %s", reason)
        return None

    def _read(self, name: str, path: Path) -> ServedModel:
        # Native code writes when it is first used. Later other threads may write to stderr, too.
        with quiet.captured_stderr() if self._is_starting else nullcontext():
            return served(read(path, self._settings), self._settings, name)

    def _put(self, new: ServedModel, path: Path, stamp: Stamp) -> None:
        self._loaded[new.name.name] = path, stamp
        self._refused.pop(path, None)
        self.models.put(new)
        _log.info("Model %r answers in version %s, from %r.", new.name.name, new.name.version, path.name)

    def _remove(self, name: str) -> None:
        """Ends a model whose files are gone; the default and the last one stay."""
        if name == self._settings.default_model or len(self._loaded) == 1:
            return
        del self._loaded[name]
        self.models.remove(name)
        _log.info("Model %r answers no longer: its files are gone.", name)

    def _of_version(self, name: str, paths: Sequence[Path], version: str) -> Path:
        for path in paths:
            if path.stem == version:
                return path
        for path in paths:
            try:
                if artifact.read(path).manifest.version == version:
                    return path
            except ModelFileError:
                continue
        known = listed([path.stem for path in paths[:10]])
        raise RequestError("not_found", f"Model {name!r} has no version {version[:100]!r}. Expected one of {known}.")

    def _pinned(self) -> dict[str, str]:
        """The names of the files that were chosen, by model."""
        try:
            data = read_bounded(self._folder / PINNED, _MAX_PINNED_BYTES)
            found = schema.from_json(data, dict[str, str])
        except FileNotFoundError:
            found = {}
        except (OSError, schema.MisfitError) as error:
            if self._is_pinned_valid:
                _log.error("%r is not valid, and nothing in it is used. %s", PINNED, error)
            self._is_pinned_valid = False
            return {}
        self._is_pinned_valid = True
        return found

    def _pin(self, name: str, file: str | None, names: Collection[str]) -> None:
        """Writes down a choice, and forgets those of models that are gone."""
        with locked(self._folder):  # two workers may write different choices
            before = self._pinned()
            others = {one: chosen for one, chosen in before.items() if one != name and one in names}
            after = others | ({name: file} if file else {})
            if after != before:
                write_atomically(self._folder / PINNED, msgspec.json.format(msgspec.json.encode(after), indent=2))


def _is_model(path: Path) -> bool:
    return path.suffix == _SUFFIX and not path.name.startswith(".") and path.is_file()


def _natural(path: Path) -> list[str | int]:
    """Sorts 9 before 10: texts and numbers take turns, so that equal places have equal types."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.stem)]
