"""The run that is stored beside the tests is what the program writes today."""

from pathlib import Path

import msgspec
import pytest

import make_stored_run
from lince.model_file import artifact, manifest
from lince.runs.run_folder import RunFolder

STORED = RunFolder(make_stored_run.STORED_RUN)
COMMAND = "the stored run is of another format: write it anew by python tests/make_stored_run.py"
MAX_BYTES = 100_000


def lines_of(record: object) -> bytes:
    """A record as the program writes it."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2)


def test_format_is_that_of_today():
    """The stored model file has the format that this version writes."""
    assert manifest.FORMAT == artifact.read(STORED.model).manifest.format, COMMAND


def test_model_file_written_again_is_the_same():
    """A field of the manifest or a member that was added, renamed or removed would change the bytes."""
    data = STORED.model.read_bytes()
    assert data == artifact.encode(artifact.decode(data)), COMMAND


def test_records_written_again_are_the_same():
    """So would a field of the run's record and of its report."""
    assert STORED.record.read_bytes() == lines_of(STORED.read_record()), COMMAND
    assert STORED.report.read_bytes() == lines_of(STORED.read_report()), COMMAND


def test_a_field_of_another_version_is_seen(tmp_path: Path):
    """The comparison above can fail: a report that says more than this version knows is written without it."""
    folder = RunFolder(tmp_path)
    table = msgspec.json.decode(STORED.report.read_bytes()) | {"former": 1}
    folder.report.write_bytes(lines_of(table))
    assert folder.report.read_bytes() != lines_of(folder.read_report())


@pytest.mark.parametrize("name", make_stored_run.KEPT)
def test_every_file_is_there(name: str):
    """Files that the program keeps are stored, no others, and small."""
    assert (STORED.path / name).is_file()
    assert set(make_stored_run.KEPT) == {path.name for path in STORED.path.iterdir()}
    assert sum(path.stat().st_size for path in STORED.path.iterdir()) < MAX_BYTES
