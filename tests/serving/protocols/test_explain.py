"""`POST /explain` gives the heat map of `lince explain`, and refuses what cannot be explained."""

import asyncio
import base64
import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from app_client import RAW, AppClient, MakeClient, Png, form
from pydantic import TypeAdapter

import in_process
from lince.images import decode
from lince.inference.classifier import Classifier
from lince.inference.explanation import explain
from lince.serving.app import create_app
from lince.serving.schemas import ExplainAnswer
from lince.serving.settings import ServeSettings


def error_of(response) -> tuple[int, str, str]:
    """Status, code and message of an answer."""
    error = response.json()["error"]
    return response.status_code, error["code"], error["message"]


def test_answer_is_that_of_the_command_line(client: AppClient, png: Png, tmp_path: Path):
    """For the same bytes, class, probabilities, words and heat are those that `lince explain` prints."""
    picture = tmp_path / "picture.png"
    picture.write_bytes(png(size=60))
    printed, as_json = (
        in_process.lince("explain", "cifar10", picture, "--out", tmp_path / "out.png", *options).stdout
        for options in ([], ["--json"])
    )
    row = json.loads(as_json)
    answer = client.post("/explain", content=picture.read_bytes(), headers=RAW).json()
    assert row["explained"] == answer["explained"]
    assert printed.splitlines()[-1] == answer["sentences"]
    cells = np.kron(np.array(answer["heat"]["values"]), np.ones((4, 4)))
    np.testing.assert_array_equal(np.array(row["heat"]), cells)
    assert answer["prediction"].items() <= row.items()


def test_prediction_is_that_of_predict(client: AppClient, png: Png):
    """The model and the image's answer are those of `/predict`."""
    predicted = client.post("/predict", content=png(), headers=RAW).json()
    explained = client.post("/explain", content=png(), headers=RAW).json()
    assert (predicted["model"], predicted["predictions"]) == (explained["model"], [explained["prediction"]])


def test_bodies_of_every_kind(client: AppClient, png: Png):
    """Bytes, a form with one part, and JSON give the same answer."""
    data = png(3)
    raw = client.post("/explain", content=data, headers=RAW).json()
    in_json = {"image": {"b64": base64.b64encode(data).decode()}}
    for options in (form(data), {"json": in_json}, {"json": [in_json]}):
        assert raw == client.post("/explain", **options).json()


def test_large_picture(client: AppClient, classifier: Classifier, png: Png):
    """A picture that is decoded in the process has the same explanation."""
    data = png(size=1_500)
    found = explain(classifier, decode(data, classifier.image_spec))
    answer = client.post("/explain", content=data, headers=RAW).json()
    np.testing.assert_array_equal(found.grid, np.array(answer["heat"]["values"], np.float32))


def test_another_class(client: AppClient, classifier: Classifier, png: Png):
    """By label or index, another class than the answer is explained."""
    by_label, by_index = (
        client.post("/explain", params={"class": name}, content=png(), headers=RAW).json() for name in ("ship", "8")
    )
    assert "ship" == by_label["explained"]["label"] == classifier.classes[8]
    assert by_label == by_index


@pytest.mark.parametrize("received", ["shp", "10", "-1", "", "٣"])
def test_no_such_class(client: AppClient, png: Png, received: str):
    """What is neither a label nor an index is refused, with the first labels."""
    status, code, message = error_of(client.post("/explain", params={"class": received}, content=png(), headers=RAW))
    assert (404, "not_found") == (status, code)
    assert message.startswith(f"Parameter 'class' received {received!r}. Expected a class of the model, or its index: ")
    assert message.endswith("'airplane', 'automobile', 'bird', 'cat', 'deer' and 5 more.")


def test_several_images(client: AppClient, png: Png):
    """One request explains one image."""
    status, code, message = error_of(client.post("/explain", **form(png(), png())))
    assert (413, "too_many_parts") == (status, code)
    assert "Received 2 images. Expected one: explain them in several requests." == message


def test_an_image_that_cannot_be_read(client: AppClient):
    """The error is that of `/predict`, and counted as there."""
    assert (400, "empty_image") == error_of(client.post("/explain", content=b"", headers=RAW))[:2]
    assert 'lince_image_errors_total{code="empty_image"} 1.0' in client.get("/metrics").text


def test_a_model_that_cannot_be_explained(classifier: Classifier, png: Png):
    """With one class there is nothing to compare with: the error says so."""
    of_one_class = copy.copy(classifier)
    of_one_class.manifest = replace(classifier.manifest, classes=("cat",), drift_reference=None)
    with AppClient(create_app(of_one_class, ServeSettings())) as client:
        status, code, message = error_of(client.post("/explain", content=png(), headers=RAW))
    assert (409, "not_explainable") == (status, code)
    assert message.startswith("The model has one class, 'cat'. Expected two or more")


def test_answer_is_as_documented(client: AppClient, png: Png):
    """`/openapi.json` is written from `ExplainAnswer`; a real answer fits it, and every status is described."""
    answer = client.post("/explain", content=png(), headers=RAW).json()
    parsed = TypeAdapter(ExplainAnswer).validate_python(answer)
    dumped = TypeAdapter(ExplainAnswer).dump_python(parsed, mode="json")
    assert answer == dumped | {
        "prediction": answer["prediction"]
    }  # without `logits` and `distance`, which have defaults
    operation = client.get("/openapi.json").json()["paths"]["/explain"]["post"]
    statuses = {"200", "400", "401", "403", "404", "408", "409", "413", "415", "422", "429", "431", "503"}
    assert statuses == operation["responses"].keys()
    assert "`not_explainable`" == operation["responses"]["409"]["description"]
    assert operation["responses"]["503"]["description"].endswith("`explanation_timeout`")
    assert ["class", "model"] == [parameter["name"] for parameter in operation["parameters"]]


def test_memory_of_the_body_is_given_back_while_it_waits(make_client: MakeClient, png: Png):
    """An explanation under way holds pixels of the model's size, and not the bytes of its request."""
    data = png(size=100)
    client = make_client(max_buffered_bytes=len(data) + 1_000)
    statuses = []

    async def both() -> None:
        explaining = asyncio.create_task(client.send("POST", "/explain", content=data, headers=RAW))
        while not len(client.app.state.service.ready.inference.explanations):
            await asyncio.sleep(0.001)
        statuses.append((await client.send("POST", "/predict", content=data, headers=RAW)).status_code)
        statuses.append(explaining.done())
        statuses.append((await explaining).status_code)

    client.run(both())
    assert [200, False, 200] == statuses
