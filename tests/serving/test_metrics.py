"""`/metrics` counts every answer, and cannot be made to grow."""

from pathlib import Path

import pytest
from app_client import RAW, AppClient, MakeClient, Png, form
from counted import of_worker, samples, values_of

from lince.serving import metrics
from lince.serving.errors import STATUS
from lince.serving.inference_queue import Inference
from lince.serving.metrics import STAGES


def test_every_status_is_counted(client: AppClient, png: Png, monkeypatch: pytest.MonkeyPatch):
    """200, 4xx and 500: each with its path, its method and the model that was asked."""
    client.post("/predict", content=png(), headers=RAW)
    client.post("/predict", content=b"", headers=RAW)
    client.get("/predict")
    client.get("/")
    client.get("/v2/models/cifar10")
    monkeypatch.setattr(Inference, "_decode_small", lambda *_: 1 / 0)
    client.post("/predict", content=png(), headers=RAW)
    value = samples(client)
    counted = [
        value("lince_requests_total", path="/predict", method="POST", status=status, model="cifar10")
        for status in ("200", "400", "500")
    ]
    assert counted == [1, 1, 1]
    assert value("lince_requests_total", path="/predict", method="GET", status="405") == 1
    assert value("lince_requests_total", path="/", method="GET", status="200") == 1
    assert value("lince_requests_total", path="/v2", method="GET", status="200", model="cifar10") == 1
    assert value("lince_request_seconds_count", path="/predict") == 4


def test_rejections_are_counted_by_code(client: AppClient, png: Png, monkeypatch: pytest.MonkeyPatch):
    """An error of the app, of the router, of the middleware and of a bug; every code is there from the start."""
    client.post("/predict", content=b"", headers=RAW)
    client.get("/nowhere")
    client.get("/livez", headers={"Host": "example.org"})
    monkeypatch.setattr(Inference, "_decode_small", lambda *_: 1 / 0)
    client.post("/predict", content=png(), headers=RAW)
    value = samples(client)
    counted = {code: value("lince_rejections_total", code=code) for code in STATUS}
    found = {code for code, count in counted.items() if count}
    assert {"empty_image", "not_found", "unknown_host", "internal_error"} == found
    assert 4 == sum(counted.values())


def test_stages_add_up_to_the_whole(make_client: MakeClient, png: Png, monkeypatch: pytest.MonkeyPatch):
    """Each answered request is in every stage once, and nothing of its time is left out or counted twice."""
    monkeypatch.setattr(metrics, "_STAGES_OF", 1)
    client = make_client()
    client.post("/predict", content=png(), headers=RAW)
    client.post("/predict", content=png(size=900), headers=RAW)  # by the decoder process
    client.post("/predict", content=b"", headers=RAW)  # is not answered
    client.post("/v1/models/cifar10:predict", json={"instances": [{"pixels": [[[0] * 3] * 32] * 32}]})
    value = samples(client)
    assert [3] * 5 == [value("lince_stage_seconds_count", stage=stage) for stage in STAGES]
    whole = sum(value("lince_request_seconds_sum", path=path) for path in ("/predict", "/v1/predict"))
    parts = sum(value("lince_stage_seconds_sum", stage=stage) for stage in STAGES)
    assert 0.5 * whole < parts <= whole
    assert all(value("lince_stage_seconds_sum", stage=stage) > 0 for stage in STAGES)


def test_stages_are_of_every_fourth_request(client: AppClient, png: Png):
    """The first, the fifth and the ninth of nine."""
    for _ in range(9):
        client.post("/predict", content=png(), headers=RAW)
    assert [3] * 5 == [samples(client)("lince_stage_seconds_count", stage=stage) for stage in STAGES]


def test_queue_depth_is_what_waits(client: AppClient, png: Png, monkeypatch: pytest.MonkeyPatch):
    """The request that asks is one; after it, also after one that failed, there is none."""
    seen = []
    decode = Inference._decode_small
    monkeypatch.setattr(
        Inference,
        "_decode_small",
        lambda *a: (
            seen.append(values_of(client.app.state.service.metrics.render().decode())("lince_queue_depth"))
            or decode(*a)
        ),
    )
    client.post("/predict", content=png(), headers=RAW)
    client.post("/predict", content=b"no image", headers=RAW)
    assert [1.0, 1.0] == seen
    assert 0 == samples(client)("lince_queue_depth")


def test_images_and_their_errors_are_counted(client: AppClient, png: Png):
    """A form of three counts as one request of three images; the bad one by its reason."""
    client.post("/predict", **form(png(), b"", png()))
    value = samples(client)
    assert value("lince_images_per_request_sum") == 3
    assert value("lince_image_errors_total", code="empty_image") == 1


def test_unknown_paths_and_methods_share_a_label(client: AppClient):
    """A scanner that asks for a thousand paths adds one line, not a thousand."""
    for index in range(20):
        client.get(f"/scan/{index}")
        client.request(f"M{index}", "/")
    value = samples(client)
    assert value("lince_requests_total", path="other", method="GET", status="404") == 20
    assert value("lince_requests_total", path="/", method="other", status="405") == 20


def test_apps_count_for_themselves(make_client: MakeClient):
    """Two apps in one process share no registry."""
    first, second = make_client(), make_client()
    first.get("/livez")
    assert samples(first)("lince_requests_total", path="/livez", method="GET", status="200") == 1
    assert samples(second)("lince_requests_total", path="/livez", method="GET", status="200") is None


def test_workers_are_summed(shared_metrics: Path):
    """Counts, histograms and what waits, of each worker, whoever is asked."""
    first, second = of_worker(0), of_worker(1)
    for one, depth in ((first, 2), (second, 3)):
        one.count_request(path="/predict", method="POST", status=503, code="overloaded", seconds=0.01)
        one.show_queue(depth)
    assert first.render() == second.render()
    value = values_of(first.render().decode())
    assert 2 == value("lince_requests_total", path="/predict", method="POST", status="503")
    assert 2 == value("lince_rejections_total", code="overloaded")
    assert 2 == value("lince_request_seconds_count", path="/predict")
    assert 5 == value("lince_queue_depth")


def test_a_worker_that_is_replaced_leaves_its_counts_alone(shared_metrics: Path):
    """Its requests were answered; what it held in its queue was not, and its models are those of the next one."""
    first, second = of_worker(0), of_worker(1)
    for one in (first, second):
        one.count_request(path="/livez", method="GET", status=200)
        one.show_queue(4)
    again = of_worker(0)
    value = values_of(again.render().decode())
    assert 2 == value("lince_requests_total", path="/livez", method="GET", status="200")
    assert 4 == value("lince_queue_depth")
