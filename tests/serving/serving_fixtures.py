"""What the tests of the service share, those of the whole server too: a client of an app in this process, pictures."""

import io
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_client import AppClient, MakeClient, Png
from PIL import Image
from prometheus_client import values

from lince.inference.classifier import Classifier
from lince.serving.app import create_app
from lince.serving.metrics import FOLDER_VARIABLE
from lince.serving.settings import ServeSettings


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    """The model that ships."""
    return Classifier.load(ServeSettings().model_files[0])


@pytest.fixture
def make_client(classifier: Classifier) -> Iterator[MakeClient]:
    """Makes clients of a started app, by settings."""
    with ExitStack() as clients:
        yield lambda **settings: clients.enter_context(AppClient(create_app(classifier, ServeSettings(**settings))))


@pytest.fixture
def client(make_client: MakeClient) -> AppClient:
    """A client of the app with default settings."""
    return make_client()


@pytest.fixture(scope="session")
def png() -> Png:
    """Makes a PNG of noise: `png(seed, size=32)`."""

    def make(seed: int = 0, *, size: int = 32) -> bytes:
        file = io.BytesIO()
        pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file, "PNG")
        return file.getvalue()

    return make


@pytest.fixture
def shared_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which several workers count, which are all in this process."""
    opened: list[values.MmapedDict] = []

    class Closed(values.MmapedDict):
        """A file that is closed at the end: before 0.26 the library leaves that to the end of the process."""

        def __init__(self, *arguments: Any, **options: Any):
            super().__init__(*arguments, **options)
            opened.append(self)

    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "metrics"))
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    monkeypatch.setattr(values, "MmapedDict", Closed)
    yield tmp_path / "metrics"
    for file in opened:
        file.close()
