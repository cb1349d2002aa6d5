"""The program inside the tests' process: what `lince ARGUMENTS` prints and returns, without the start of Python."""

import contextlib
import logging
import os
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from lince.cli import main


def lince(*arguments: object, cwd: Path | None = None, errors: str = "strict") -> subprocess.CompletedProcess[str]:
    """As the fixture of the same name that starts a process: exit code, stdout and stderr of `lince ARGUMENTS`.

    File descriptors 1 and 2 lead into files meanwhile, so that what native code writes is seen as well.
    """
    command = ["lince", *map(str, arguments)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, contextlib.ExitStack() as restored:
        patch = restored.enter_context(pytest.MonkeyPatch.context())
        restored.enter_context(warnings.catch_warnings())
        restored.enter_context(_environment())
        restored.enter_context(_logging())
        patch.setattr(sys, "argv", command)
        if cwd:
            patch.chdir(cwd)
        with _standard_stream(1, out), _standard_stream(2, err):
            code = _exit_code()
        texts = [_text(file, errors) for file in (out, err)]
    return subprocess.CompletedProcess(command, code, *texts)


def _exit_code() -> int:
    try:
        main()
    except SystemExit as done:
        if isinstance(done.code, str):
            print(done.code, file=sys.stderr)
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Variables that the program sets end with it."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _logging() -> Iterator[None]:
    """Loggers that the program configures write to its standard error, which ends with it."""
    before = {name: (logger.handlers, logger.propagate, logger.level) for name, logger in _loggers().items()}
    try:
        yield
    finally:
        for name, logger in _loggers().items():
            logger.handlers, logger.propagate, level = before.get(name, ([], True, logging.NOTSET))
            logger.setLevel(level)


def _loggers() -> dict[str, logging.Logger]:
    known = logging.root.manager.loggerDict
    return {name: logger for name, logger in known.items() if isinstance(logger, logging.Logger)}


@contextlib.contextmanager
def _standard_stream(descriptor: int, file: IO[bytes]) -> Iterator[None]:
    """A standard stream of the process leads into a file: the descriptor, and Python's object."""
    name = {1: "stdout", 2: "stderr"}[descriptor]
    stream = getattr(sys, name)
    stream.flush()
    kept = os.dup(descriptor)
    os.dup2(file.fileno(), descriptor)
    setattr(sys, name, os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", closefd=False))
    try:
        yield
    finally:
        getattr(sys, name).flush()
        setattr(sys, name, stream)
        os.dup2(kept, descriptor)
        os.close(kept)


def _text(file: IO[bytes], errors: str) -> str:
    file.seek(0)
    return file.read().decode("utf-8", errors)
