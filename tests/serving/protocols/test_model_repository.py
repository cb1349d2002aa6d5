"""`/v2/repository/…`: what answers, and a swap in one call."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from app_client import RAW, AppClient, Png

from lince.model_file import artifact
from lince.serving.api_keys import new_key
from lince.serving.app import create_app
from lince.serving.model_folder import ModelFolder
from lince.serving.settings import ServeSettings

SHIPPED = artifact.shipped_models()
LOAD = "/v2/repository/models/cats/load"
KEY, LINE = new_key("operator", "admin")


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[AppClient]:
    """A client of a service with two versions of a model, and a damaged third one."""
    (tmp_path / "cats").mkdir()
    shutil.copy(SHIPPED["cifar10"], tmp_path / "cats" / "1.tflite")
    shutil.copy(SHIPPED["cifar10-tiny"], tmp_path / "cats" / "2.tflite")
    (tmp_path / "cats" / "3.tflite").write_bytes(b"damaged")
    with started(ServeSettings(models=tmp_path, api_keys=keys_file(tmp_path))) as client:
        yield client


def keys_file(folder: Path) -> Path:
    path = folder / "keys.txt"
    path.write_text(LINE)
    return path


@contextmanager
def started(settings: ServeSettings) -> Iterator[AppClient]:
    """A client that has an admin's key."""
    model = ModelFolder(settings.models, settings) if settings.models else settings.model_files[0]
    with AppClient(create_app(model, settings), headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client


def version(client: AppClient, png: Png) -> str:
    return client.post("/predict", content=png(), headers=RAW).json()["model"]["version"]


def test_one_call_rolls_back(repository: AppClient, png: Png):
    """The next answer is of the version that the call has named."""
    before = version(repository, png)
    answer = repository.post(LOAD, json={"parameters": {"version": "1"}})
    assert {"name": "cats", "version": version(repository, png)} == answer.json()
    assert before != version(repository, png)


def test_the_index_names_what_answers_and_what_is_damaged(repository: AppClient):
    """With the reason."""
    ready, damaged = repository.post("/v2/repository/index").json()
    assert ("cats", "READY", "") == (ready["name"], ready["state"], ready["reason"])
    assert ("cats", "3", "UNAVAILABLE") == (damaged["name"], damaged["version"], damaged["state"])
    assert "not a LiteRT flatbuffer" in damaged["reason"]


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        (LOAD, b"", 409, "not a LiteRT flatbuffer"),
        (LOAD, b'{"parameters": {"version": 3}}', 400, "Expected `str | null`, got `int`"),
        (LOAD, b"{", 400, "cannot be read"),
        (LOAD, b'{"parameters": {"version": "9"}}', 404, "has no version '9'"),
        ("/v2/repository/models/dogs/load", b"{}", 404, "no model 'dogs'"),
    ],
)
def test_a_call_that_cannot_be_done_is_told(
    repository: AppClient, png: Png, path: str, body: bytes, status: int, message: str
):
    """In the form of the protocol; the model goes on."""
    before = version(repository, png)
    answer = repository.post(path, content=body)
    assert status == answer.status_code
    assert message in answer.json()["error"]
    assert before == version(repository, png)


def test_without_a_folder_nothing_is_swapped(tmp_path: Path):
    """The sentence says how to start the service instead."""
    with started(ServeSettings(api_keys=keys_file(tmp_path))) as client:
        answer = client.post("/v2/repository/models/cifar10/load")
        assert (409, True) == (answer.status_code, "--models FOLDER" in answer.json()["error"])
        assert ["cifar10"] == [one["name"] for one in client.post("/v2/repository/index").json()]
