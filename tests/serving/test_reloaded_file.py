"""A value follows its file: read again when it changes, kept when the new content is not valid."""

import logging
import os
from pathlib import Path

import pytest

from lince.errors import ServiceError
from lince.serving import reloaded_file
from lince.serving.reloaded_file import ReloadedFile


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with "1", which is looked at whenever its value is used."""
    monkeypatch.setattr(reloaded_file, "LOOK_S", 0.0)
    path = tmp_path / "number"
    path.write_text("1")
    return path


def read(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError) as error:
        raise ServiceError("It is no number.") from error


def test_a_changed_file_is_read_again(path: Path, caplog: pytest.LogCaptureFixture):
    """Also when another file of the same size takes its place, as an operator should do it."""
    number = ReloadedFile(lambda: read(path), path)
    assert 1 == number.value
    path.with_name("new").write_text("2")
    with caplog.at_level(logging.INFO):
        os.replace(path.with_name("new"), path)
        assert [2, 2] == [number.value, number.value]
    assert [f"{str(path)!r} was read again."] == caplog.messages


@pytest.mark.parametrize("content", ["no number", None])
def test_what_is_not_valid_changes_nothing(path: Path, caplog: pytest.LogCaptureFixture, content: str | None):
    """It is logged once; a repaired file counts."""
    number = ReloadedFile(lambda: read(path), path)
    path.unlink() if content is None else path.write_text(content)
    assert [1, 1] == [number.value, number.value]
    assert ["The old content stays in use. It is no number."] == caplog.messages
    path.write_text("22")
    assert 22 == number.value


def test_files_are_looked_at_once_a_second(path: Path, monkeypatch: pytest.MonkeyPatch):
    """Between two looks the value costs nothing."""
    number = ReloadedFile(lambda: read(path), path)
    monkeypatch.setattr(reloaded_file, "LOOK_S", 1000.0)
    path.write_text("22")
    assert 1 == number.value


def test_a_file_that_is_not_valid_at_first_is_refused(path: Path):
    """There is nothing old to stay in use."""
    path.write_text("none")
    with pytest.raises(ServiceError, match="It is no number"):
        ReloadedFile(lambda: read(path), path)
