"""`lince feedback export`: corrections become a dataset that `lince train` reads."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lince.serving.feedback_store import Correction, FeedbackStore


def png(seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeedbackStore:
    """A database that the environment names, as for the service."""
    address = f"sqlite:///{tmp_path / 'feedback.db'}"
    monkeypatch.setenv("LINCE_FEEDBACK", address)
    store = FeedbackStore(address, days=30, most=100)
    yield store
    store.close()


def test_corrections_become_a_dataset(lince, database: FeedbackStore, tmp_path: Path):
    """A folder for each class, which `lince data check` reads without a complaint."""
    corrections = [Correction("m", "v", label, png(seed)) for seed, label in enumerate(("gato", "pássaro") * 3)]
    for one in corrections:
        database.add(one)
    done = lince("feedback", "export", tmp_path / "set")
    assert (0, "") == (done.returncode, done.stdout)
    assert "Wrote 6 pictures into" in done.stderr
    assert "gato 3, pássaro 3." in done.stderr
    written = {path.relative_to(tmp_path / "set").as_posix(): path.read_bytes() for path in tmp_path.glob("set/*/*")}
    assert {f"{one.label}/{one.id}.png": one.png for one in corrections} == written
    checked = json.loads(lince("data", "check", tmp_path / "set", "--json").stdout)
    assert [] == checked["rejected"]


def test_what_cannot_be_exported_is_explained(lince, database: FeedbackStore, tmp_path: Path, monkeypatch):
    """An empty database, a folder that is in use, a label that leads out of it, and no database."""
    assert "holds no corrections" in lince("feedback", "export", tmp_path / "set").stderr
    assert "is not empty" in lince("feedback", "export", tmp_path).stderr
    database.add(Correction("m", "v", "../out", png(0)))
    refused = lince("feedback", "export", tmp_path / "set")
    assert (1, True) == (refused.returncode, "'../out' cannot be the name of a folder" in refused.stderr)
    assert not (tmp_path / "out").exists()
    monkeypatch.delenv("LINCE_FEEDBACK")
    assert "Set LINCE_FEEDBACK" in lince("feedback", "export", tmp_path / "set").stderr
