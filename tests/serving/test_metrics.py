"""`/metrics` counts every answer, and cannot be made to grow."""

from collections.abc import Callable

import pytest
from app_client import RAW, AppClient, MakeClient, Png, form
from prometheus_client.parser import text_string_to_metric_families

from lince.serving.inference_queue import Inference


def samples(client: AppClient) -> Callable[..., float | None]:
    """`value(name, **labels)` of what /metrics says now."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    found = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }
    return lambda name, **labels: found.get((name, frozenset(labels.items())))


def test_every_status_is_counted(client: AppClient, png: Png, monkeypatch: pytest.MonkeyPatch):
    """200, 4xx and 500: each with its path and method."""
    client.post("/predict", content=png(), headers=RAW)
    client.post("/predict", content=b"", headers=RAW)
    client.get("/predict")
    client.get("/")
    monkeypatch.setattr(Inference, "_decode_small", lambda *_: 1 / 0)
    client.post("/predict", content=png(), headers=RAW)
    value = samples(client)
    counted = [
        value("lince_requests_total", path="/predict", method="POST", status=status) for status in ("200", "400", "500")
    ]
    assert counted == [1, 1, 1]
    assert value("lince_requests_total", path="/predict", method="GET", status="405") == 1
    assert value("lince_requests_total", path="/", method="GET", status="200") == 1
    assert value("lince_request_seconds_count", path="/predict") == 4


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
