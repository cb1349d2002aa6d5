"""Several models behind one service: by name, with a default, each in its version."""

from dataclasses import replace

import pytest
from app_client import RAW, AppClient, Png

from lince.errors import ModelFileError
from lince.model_file import artifact
from lince.serving import models
from lince.serving.app import create_app
from lince.serving.errors import RequestError
from lince.serving.models import Models, ServedModel
from lince.serving.schemas import ModelName
from lince.serving.settings import ServeSettings

SHIPPED = artifact.shipped_models()
TINY, DEFAULT = SHIPPED["cifar10-tiny"], SHIPPED["cifar10"]


@pytest.fixture(scope="module")
def loaded() -> Models:
    """Both models; the tiny one is the default."""
    return models.load([TINY, DEFAULT], ServeSettings())


def named(served: ServedModel, name: str) -> ServedModel:
    return replace(served, name=ModelName(name, served.name.version))


def test_a_request_names_its_model(loaded: Models, png: Png):
    """`?model=NAME` chooses; without it the first one answers; each answer names who gave it."""
    with AppClient(create_app(loaded, ServeSettings())) as client:
        for query, name in (
            ("", "cifar10-tiny"),
            ("?model=cifar10", "cifar10"),
            ("?model=cifar10-tiny", "cifar10-tiny"),
        ):
            answer = client.post(f"/predict{query}", content=png(), headers=RAW).json()
            described = client.get(f"/model{query}").json()
            assert (name, loaded.find(name).name.version) == (answer["model"]["name"], answer["model"]["version"])
            assert (name, loaded.find(name).name.version) == (described["name"], described["version"])
        answers = [
            client.post(f"/v1/models/{name}:predict", json={"instances": [{"pixels": [[[0] * 3] * 32] * 32}]}).json()
            for name in loaded.names
        ]
        assert answers[0] != answers[1]
        assert {"models": ["cifar10-tiny", "cifar10"]} == client.get("/v2/models").json()
        assert {"models": ["cifar10-tiny", "cifar10"]} == client.get("/v1/models").json()


def test_an_unknown_model_is_told(loaded: Models, png: Png):
    """404, with the names that exist."""
    with AppClient(create_app(loaded, ServeSettings())) as client:
        for answer in (client.post("/predict?model=dogs", content=png(), headers=RAW), client.get("/model?model=dogs")):
            assert 404 == answer.status_code
            message = "There is no model 'dogs'. Expected 'cifar10-tiny' or 'cifar10'."
            assert {"code": "not_found", "message": message} == answer.json()["error"]


def test_another_version_is_told(loaded: Models):
    """A version that does not answer is not replaced by one that does."""
    with pytest.raises(RequestError, match=r"no model 'cifar10' of version '9'. Expected version '[0-9a-f]{12}'"):
        loaded.find("cifar10", "9")


def test_two_of_one_name_are_refused():
    """Nobody could ask for the second one."""
    with pytest.raises(ModelFileError, match=r"Two of the models are named 'cifar10'.*folder for --models"):
        models.load([DEFAULT, DEFAULT], ServeSettings())


def test_the_default_must_exist(loaded: Models):
    """A name that was given is not replaced by another one."""
    with pytest.raises(ModelFileError, match=r"is to be 'dogs'. Expected 'cifar10'"):
        Models([loaded.find("cifar10")], default="dogs")


def test_without_a_name_the_first_in_order_is_the_default(loaded: Models):
    """All workers find the same, whatever they loaded first."""
    tiny = loaded.find("cifar10-tiny")
    found = Models([named(tiny, "b")])
    found.put(named(tiny, "a"))
    assert found.find().name.name == "a"
    assert found.names == ("a", "b")
    found.remove("a")
    assert found.find().name.name == "b"


def test_changes_are_told(loaded: Models):
    """Who watches learns of what is there, and of each change."""
    one, other = loaded.find("cifar10"), named(loaded.find("cifar10-tiny"), "cifar10")
    found, told = Models([one]), []
    found.watch(lambda old, new: told.append((old, new)))
    found.put(other)
    found.remove("cifar10")
    assert told == [(None, one), (one, other), (other, None)]


def test_metrics_show_what_answers(loaded: Models):
    """The version before it is shown as one that was."""
    found = Models([loaded.find("cifar10")])
    with AppClient(create_app(found, ServeSettings())) as client:
        found.put(named(loaded.find("cifar10-tiny"), "cifar10"))
        text = client.get("/metrics").text
    old, new = loaded.find("cifar10").name.version, loaded.find("cifar10-tiny").name.version
    assert f'lince_model_info{{name="cifar10",version="{old}"}} 0.0' in text
    assert f'lince_model_info{{name="cifar10",version="{new}"}} 1.0' in text
