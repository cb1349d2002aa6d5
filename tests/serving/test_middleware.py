"""Every answer of the app names its request."""

import pytest
from app_client import RAW, AppClient, MakeClient, Png

from lince.serving.inference_queue import Inference


@pytest.mark.parametrize("sent", ["a", "A-b_9.z", "x" * 128])
def test_an_id_of_the_client_is_taken(client: AppClient, sent: str):
    """Letters, digits, dots, hyphens and underscores, up to 128 of them."""
    assert client.get("/livez", headers={"x-request-id": sent}).headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", ["", "x" * 129, "two words", 'a"b', "a;b", "é".encode(), b"a\xff"])
def test_another_id_is_replaced(client: AppClient, sent: str | bytes):
    """What could forge a line of the log, or fill it, is not echoed."""
    answers = [client.get("/livez", headers={"x-request-id": sent}) for _ in range(2)]
    first, second = (answer.headers["x-request-id"] for answer in answers)
    assert first != second
    assert first.rpartition("-")[0] == second.rpartition("-")[0]
    assert [answer.headers.get_list("x-request-id") for answer in answers] == [[first], [second]]


def test_processes_have_ids_of_their_own(make_client: MakeClient):
    """A number alone would be the same in each worker."""
    first, second = (make_client().get("/livez").headers["x-request-id"] for _ in range(2))
    assert first.rpartition("-")[0] != second.rpartition("-")[0]


def test_errors_have_the_id(make_client: MakeClient, png: Png, monkeypatch: pytest.MonkeyPatch):
    """Of the route, the router, the middleware and a bug, and a preflight, each once."""
    client = make_client(allowed_origins=["https://cats.example"])
    mine = {"x-request-id": "mine"}
    preflight = {"Origin": "https://cats.example", "Access-Control-Request-Method": "POST"}
    answers = {
        400: client.post("/predict", content=b"", headers=RAW | mine),
        404: client.get("/nowhere", headers=mine),
        405: client.get("/predict", headers=mine),
        403: client.post("/predict", headers=mine | {"Sec-Fetch-Site": "cross-site"}),
        204: client.request("OPTIONS", "/predict", headers=mine | preflight),
    }
    monkeypatch.setattr(Inference, "answer", lambda *_, **__: 1 / 0)
    answers[500] = client.post("/predict", content=png(), headers=RAW | mine)
    assert {code: (code, ["mine"]) for code in answers} == {
        code: (answer.status_code, answer.headers.get_list("x-request-id")) for code, answer in answers.items()
    }
