"""The run folder refuses records that it would misread."""

import json

import msgspec
import numpy as np
import pytest

from lince.errors import DataError, ResumeError, TrainingError
from lince.runs.run_folder import RunFolder, RunRecord

RECORD = RunRecord(
    name="tiny", recipe={}, seed=0, source="images.zip", fingerprint="abc", classes=("cat", "dog"),
    precision="float32", deterministic=False, created="2026-11-26",
    environment={"backend": "jax", "machine": "2 cores", "versions": {}},
)  # fmt: skip


class TestReadRecord:
    def test_round_trip(self, tmp_path):
        """What is written is read back."""
        folder = RunFolder(tmp_path / "run")
        folder.create(RECORD)
        assert RECORD == folder.read_record()

    @pytest.mark.parametrize("received", [None, 1, 3, 5, "4"])
    def test_another_format(self, tmp_path, received):
        """It is named, with what to do, and nothing else of the record is read."""
        folder = RunFolder(tmp_path / "run")
        folder.create(RECORD)
        table = json.loads(msgspec.json.encode(RECORD)) | {"format": received, "seed": "another type"}
        folder.record.write_text(json.dumps(table))
        with pytest.raises(
            ResumeError, match=rf"run\.json' is of format {received!r}\. Expected 4: .*lince train DATA"
        ):
            folder.read_record()

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"environment": {}}, r"environment\.backend is missing\. Expected 'jax' or 'tensorflow'"),
            ({"environment": {"backend": "jax", "machine": 3, "versions": {}}}, r"environment\.machine = 3"),
            ({"environment": {"backend": "torch", "machine": "", "versions": {}}}, r"environment\.backend = 'torch'"),
            ({"seed": -1}, r"seed = -1\. Expected a whole number from 0 to"),
            ({"seed": 2**32}, r"seed = 4294967296\. Expected"),
        ],
    )
    def test_a_value_that_no_run_has(self, tmp_path, changes, words):
        """The value is named here, before a stage that would fail on it."""
        folder = RunFolder(tmp_path / "run")
        folder.create(RECORD)
        folder.record.write_text(json.dumps(json.loads(msgspec.json.encode(RECORD)) | changes))
        with pytest.raises(ResumeError, match=rf"run\.json' is damaged \({words}"):
            folder.read_record()


class TestSplits:
    def test_round_trip(self, tmp_path):
        """The index arrays are read back by their names."""
        folder = RunFolder(tmp_path / "run")
        splits = {"train": np.array([2, 0]), "validation": np.array([1]), "test": np.empty(0, np.int64)}
        splits["groups"] = np.array([0, 1, 0])
        folder.create(RECORD, **splits)
        assert {name: rows.tolist() for name, rows in splits.items()} == {
            name: rows.tolist() for name, rows in folder.read_splits().items()
        }

    def test_lacks_one(self, tmp_path):
        """A file without one of the splits is refused with a sentence, and does not end the program elsewhere."""
        folder = RunFolder(tmp_path / "run")
        folder.create(RECORD, train=np.array([0]), validation=np.array([1]))
        with pytest.raises(DataError, match=r"splits\.npz' cannot be read \(.*\)\. Start the run anew\."):
            folder.read_splits()


def test_folder_that_cannot_be_made(tmp_path):
    """The error says what is in the way, and how to go on."""
    (tmp_path / "runs").write_bytes(b"")
    with pytest.raises(TrainingError, match=r"runs/tiny' cannot be written \(Not a directory\)\. Expected .* --runs"):
        RunFolder(tmp_path / "runs" / "tiny").create(RECORD)
