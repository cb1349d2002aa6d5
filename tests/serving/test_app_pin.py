"""A model file that was pinned is verified by each app that loads it, whatever was verified before."""

import hashlib
from pathlib import Path

import pytest
from app_client import AppClient

from lince.errors import ModelFileError
from lince.serving.app import create_app
from lince.serving.settings import ServeSettings, shipped_model


def test_the_pinned_file_is_loaded(tmp_path: Path):
    """Given as a path, as a worker gets it."""
    path = tmp_path / "model.tflite"
    path.write_bytes(shipped_model().read_bytes())
    settings = ServeSettings(model=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    with AppClient(create_app(path, settings)) as client:
        assert 200 == client.get("/readyz").status_code


def test_a_file_exchanged_since_is_refused(tmp_path: Path):
    """One byte of the card is enough: the network is as good as before."""
    path = tmp_path / "model.tflite"
    pinned = shipped_model().read_bytes()
    settings = ServeSettings(model=path, sha256=hashlib.sha256(pinned).hexdigest())
    path.write_bytes(pinned[:-1] + bytes([pinned[-1] ^ 1]))
    with (
        pytest.raises(ModelFileError, match=f"the pinned one, {settings.sha256}"),
        AppClient(create_app(path, settings)),
    ):
        pass
