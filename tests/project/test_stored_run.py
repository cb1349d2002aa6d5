"""The run that is stored beside the tests is what the program writes today."""

import msgspec
import pytest

import make_stored_run
from lince.model_file import artifact
from lince.runs.run_folder import RunFolder

STORED = RunFolder(make_stored_run.STORED_RUN)
COMMAND = "the stored run is of another format: write it anew by python tests/make_stored_run.py"
MAX_BYTES = 100_000


def lines_of(record: object) -> bytes:
    """A record as the program writes it."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2)


def test_format_is_that_of_today():
    """The stored model file has the format that this version writes."""
    assert artifact.FORMAT == artifact.read(STORED.model).manifest.format, COMMAND


def test_model_file_written_again_is_the_same():
    """A field of the manifest or a member that was added, renamed or removed would change the bytes."""
    data = STORED.model.read_bytes()
    assert data == artifact.encode(artifact.decode(data)), COMMAND


def test_records_written_again_are_the_same():
    """So would a field of the run's record and of its report."""
    assert STORED.record.read_bytes() == lines_of(STORED.read_record()), COMMAND
    assert STORED.report.read_bytes() == lines_of(STORED.read_report()), COMMAND


def test_a_field_that_is_missing_is_seen():
    """The comparison above can fail: a report without one of its fields is written with it."""
    table = msgspec.json.decode(STORED.report.read_bytes())
    del table["verdict"]
    found = msgspec.json.decode(lines_of(table), type=type(STORED.read_report()), strict=False)
    assert lines_of(table) != lines_of(found)


@pytest.mark.parametrize("name", make_stored_run.KEPT)
def test_every_file_is_there(name: str):
    """Files that the program keeps are stored, no others, and small."""
    assert (STORED.path / name).is_file()
    assert set(make_stored_run.KEPT) == {path.name for path in STORED.path.iterdir()}
    assert sum(path.stat().st_size for path in STORED.path.iterdir()) < MAX_BYTES
