"""`POST /predict`: the answers, raw and in forms."""

import base64
from dataclasses import replace

import httpx
import numpy as np
import pytest
from app_client import RAW, AppClient, MakeClient, Png, form
from pydantic import TypeAdapter

from lince.images import decode
from lince.inference.answers import answer
from lince.inference.classifier import Classifier
from lince.model_file import artifact
from lince.model_file.manifest import Finding, Verdict
from lince.serving.app import create_app
from lince.serving.schemas import ErrorAnswer, ModelAnswer, PredictAnswer
from lince.serving.settings import ServeSettings


def expected(classifier: Classifier, data: bytes, **options: object) -> dict:
    """What the command line would answer for the same bytes."""
    prediction = classifier.predict(decode(data, classifier.image_spec)[None])
    return answer(prediction, 0, classifier.classes, **options)


@pytest.mark.parametrize("size", [32, 200])
def test_raw_answer_is_the_command_lines(client: AppClient, classifier: Classifier, png: Png, size: int):
    """One image in the body gives what `lince predict` gives for the file, to the last bit."""
    data = png(1, size=size)
    response = client.post("/predict?logits=true", content=data, headers=RAW)
    assert response.status_code == 200
    assert response.json() == {
        "model": {"name": classifier.manifest.name, "version": classifier.manifest.version},
        "predictions": [expected(classifier, data, top=5, logits=True)],
    }


def test_form_answers_in_order(client: AppClient, classifier: Classifier, png: Png):
    """Many images in one form give the answers that each gives alone, in their order."""
    contents = [png(seed) for seed in range(20)]
    response = client.post("/predict", **form(*contents))
    assert response.json()["predictions"] == [expected(classifier, data, top=5) for data in contents]


@pytest.mark.parametrize("name", ["file", "file[]", "image"])
def test_parts_have_the_names_that_clients_use(client: AppClient, png: Png, name: str):
    """All of them give the same answers."""
    expected = client.post("/predict", **form(png(1), png(2))).json()
    assert expected == client.post("/predict", **form(png(1), png(2), name=name)).json()


def test_json_is_answered_as_the_bytes_are(client: AppClient, png: Png):
    """One image, or a list, in which one that cannot be read has an error in its place."""
    one, two = ({"image": {"b64": base64.b64encode(data).decode()}} for data in (png(1), b"no picture"))
    alone = client.post("/predict", content=png(1), headers=RAW).json()
    assert alone == client.post("/predict", json=one).json()
    answers = client.post("/predict", json=[one, two, one]).json()["predictions"]
    assert [*alone["predictions"], *alone["predictions"]] == [answers[0], answers[2]]
    assert "unsupported_format" == answers[1]["error"]["code"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ({}, "malformed_json"),
        ({"image": "aGk="}, "malformed_json"),
        ({"image": {"b64": "*"}}, "malformed_json"),
        ({"image": {"b64": "aGk=", "more": 1}}, "malformed_json"),
        ([{"image": {"b64": "aGk="}}, 7], "malformed_json"),
        ([], "no_image"),
        ([{"image": {"b64": ""}}] * 65, "too_many_parts"),
        ({"image": {"b64": ""}}, "empty_image"),
    ],
)
def test_other_json_is_refused(client: AppClient, content: object, code: str):
    """By a sentence that says what is expected."""
    response = client.post("/predict", json=content)
    assert code == response.json()["error"]["code"]
    assert 400 <= response.status_code < 500


def test_octet_stream_is_an_image(client: AppClient, png: Png):
    """The type of the bytes need not be known to the client."""
    response = client.post("/predict", content=png(), headers={"Content-Type": "application/octet-stream"})
    assert response.status_code == 200


def test_top_is_capped_at_the_classes(client: AppClient, classifier: Classifier, png: Png):
    """`?top=` lists so many classes, best first, and never more than there are."""
    lengths = [len(_first(client, png(), top=top)["top"]) for top in (1, 3, 10**6)]
    assert lengths == [1, 3, len(classifier.classes)]


def test_logits_come_only_when_asked_for(client: AppClient, png: Png):
    """The usual answer stays small."""
    assert "logits" not in _first(client, png(), top=1)


def test_one_bad_image_fails_alone(client: AppClient, classifier: Classifier, png: Png):
    """The others of its form are answered; its place says why it is not."""
    good = png(3)
    predictions = client.post("/predict", **form(good, b"no image", good[:60])).json()["predictions"]
    assert predictions[0] == expected(classifier, good, top=5)
    assert [prediction["error"]["code"] for prediction in predictions[1:]] == ["unsupported_format", "corrupt_image"]


def test_only_bad_images_fail_the_request(client: AppClient):
    """When no image can be read there is no answer, but an error with the first one's code."""
    response = client.post("/predict", **form(b"no image", b""))
    assert (response.status_code, response.json()["error"]["code"]) == (415, "unsupported_format")
    assert response.json()["error"]["message"].startswith(
        "None of the 2 images can be read. The first: Received 8 bytes"
    )


def test_form_in_single_bytes_is_the_same_form(client: AppClient, png: Png):
    """However the network cuts the body, the answer is the same."""
    request = httpx.Request("POST", "http://any", **form(png(1), png(2)))
    body, headers = request.read(), {"Content-Type": request.headers["content-type"]}
    whole = client.post("/predict", content=body, headers=headers)
    pieces = client.post("/predict", content=(body[i : i + 1] for i in range(len(body))), headers=headers)
    assert pieces.json() == whole.json()
    assert len(whole.json()["predictions"]) == 2


def test_abstention_and_sets_are_the_calibrations(client: AppClient, classifier: Classifier, png: Png):
    """`prediction_set` and `abstain` are those of the runtime, not of the service."""
    datas = [png(seed) for seed in range(16)]
    prediction = classifier.predict(np.stack([decode(data, classifier.image_spec) for data in datas]))
    answers = client.post("/predict", **form(*datas)).json()["predictions"]
    assert [answer["abstain"] for answer in answers] == prediction.abstain.tolist()
    assert [len(answer["prediction_set"]) for answer in answers] == prediction.sets.sum(axis=1).tolist()


def test_answers_are_as_documented(client: AppClient, png: Png):
    """`/openapi.json` is written from these dataclasses; the real answers fit them, with nothing missing."""
    mixed = client.post("/predict?logits=true", **form(png(), b"")).json()
    parsed = TypeAdapter(PredictAnswer).validate_python(mixed)
    assert TypeAdapter(PredictAnswer).dump_python(parsed, mode="json") == mixed
    model = client.get("/model").json()
    assert TypeAdapter(ModelAnswer).dump_python(TypeAdapter(ModelAnswer).validate_python(model), mode="json") == model
    error = client.get("/nowhere").json()
    assert TypeAdapter(ErrorAnswer).validate_python(error).error.code == "not_found"


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (None, None),  # as the model that ships, which was written before there was one
        (
            Verdict((Finding("good", "It is.", {"pt": "Sim."}),)),
            {"findings": [{"code": "good", "sentence": "It is.", "translations": {"pt": "Sim."}}]},
        ),
    ],
)
def test_model_says_its_verdict(verdict: Verdict | None, expected: dict | None):
    """The words of the manifest, or null, as `/openapi.json` says."""
    model = artifact.read(ServeSettings().model_files[0])
    model = replace(model, manifest=replace(model.manifest, verdict=verdict))
    with AppClient(create_app(Classifier(model), ServeSettings())) as client:
        answered = client.get("/model").json()
        schema = client.get("/openapi.json").json()["components"]["schemas"]
    assert expected == answered["verdict"]
    TypeAdapter(ModelAnswer).validate_python(answered)
    assert "verdict" in schema["ModelAnswer"]["required"]
    assert {"findings"} == set(schema["Verdict"]["properties"])


def test_every_answer_is_described(client: AppClient):
    """`/openapi.json`, and so `/docs`, says what each status means, errors by their codes."""
    paths = client.get("/openapi.json").json()["paths"]
    answers = [answer for path in paths.values() for verb in path.values() for answer in verb["responses"].items()]
    assert all(answer["description"] not in {"", "Successful Response", "Validation Error"} for _, answer in answers)
    predict = paths["/predict"]["post"]["responses"]
    assert {"200", "400", "401", "403", "404", "408", "413", "415", "422", "429", "431", "503"} == predict.keys()
    too_large = "`image_too_large`, `image_too_complex`, `decode_timeout`, `body_too_large`, `too_many_parts`"
    assert too_large == predict["413"]["description"]
    assert (
        "`overloaded`, `shutting_down`, `not_ready`, `stalled`"
        == paths["/readyz"]["get"]["responses"]["503"]["description"]
    )
    for path in paths.values():  # any request may be refused before it has come to its route
        for verb in path.values():
            assert "`unknown_host`" in verb["responses"]["400"]["description"]
            assert {"408", "431", "503"} < verb["responses"].keys()


def test_limits_are_checked_before_decoding(make_client: MakeClient, png: Png):
    """Bytes, parts and pixels beyond the settings are refused with 413, each by its own name."""
    client = make_client(max_body_bytes=4_000, max_parts=2, max_pixels=1_024)
    responses = [
        client.post("/predict", content=png(size=33), headers=RAW),
        client.post("/predict", content=bytes(4_001), headers=RAW),
        client.post("/predict", content=(bytes(1_000) for _ in range(5)), headers=RAW),
        client.post("/predict", **form(b"", b"", b"")),
    ]
    assert [response.status_code for response in responses] == [413] * 4
    codes = [response.json()["error"]["code"] for response in responses]
    assert codes == ["image_too_large", "body_too_large", "body_too_large", "too_many_parts"]


def test_large_pictures_within_the_limit_are_answered(client: AppClient, classifier: Classifier, png: Png):
    """A picture above the size that any thread may decode takes the other path to the same answer."""
    data = png(5, size=1_500)
    assert _first(client, data, top=5) == expected(classifier, data, top=5)


def _first(client: AppClient, data: bytes, *, top: int) -> dict:
    return client.post(f"/predict?top={top}", content=data, headers=RAW).json()["predictions"][0]
