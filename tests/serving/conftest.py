"""A client of the service in this process, the real server as another process, and pictures."""

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from lince.classifier import Classifier
from lince.serving.app import create_app
from lince.serving.settings import ServeSettings

# The server process and the hostile requests are shared with the benchmarks.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

Png = Callable[..., bytes]
Client = Callable[..., TestClient]


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    """The model that ships."""
    return Classifier.load(ServeSettings().model)


@pytest.fixture
def make_client(classifier: Classifier) -> Iterator[Client]:
    """Clients of a started app, by settings; a bug in the app is a 500, as for a real client."""
    clients = []

    def make(**settings: object) -> TestClient:
        app = create_app(classifier, ServeSettings(**settings))
        client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
        clients.append(client.__enter__())
        return client

    yield make
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(make_client: Client) -> TestClient:
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
