"""What native code writes by itself is held back, and shown when it matters."""

import os
import tempfile

import pytest

from lince.system.quiet import captured_stderr


def test_captured_stderr_holds_back_what_succeeds(capfd):
    """Nothing that is written to file descriptor 2 meanwhile reaches the terminal; what comes after does."""
    with captured_stderr():
        os.write(2, b"greeting\n")
    os.write(2, b"after\n")

    assert "after\n" == capfd.readouterr().err


def test_captured_stderr_shows_what_failed(capfd):
    """When the block fails, what was written is shown: it may say why."""
    with pytest.raises(ValueError, match="no"):
        _fail_aloud()

    assert "the reason\n" == capfd.readouterr().err


@pytest.mark.parametrize("has_memory_files", [True, False])
def test_captured_stderr_needs_no_folder(monkeypatch, capfd, has_memory_files):
    """In a container with a read-only root the block runs; without memory files what is written is shown."""

    def no_folder(*_: object, **__: object):
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryFile", no_folder)
    if not has_memory_files:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    elif not hasattr(os, "memfd_create"):
        pytest.skip("no memory files here")
    with captured_stderr():
        os.write(2, b"greeting\n")
    assert ("" if has_memory_files else "greeting\n") == capfd.readouterr().err


def _fail_aloud() -> None:
    with captured_stderr():
        os.write(2, b"the reason\n")
        raise ValueError("no")
