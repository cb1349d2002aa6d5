"""Two lanes: small pictures are answered beside large ones, and no picture holds up the service."""

import asyncio
import socket
import struct
import time
import urllib.request

import pytest
from app_client import RAW, AppClient, MakeClient, Png, form
from hostile_requests import black_png
from raw_http import RawConnection, post
from server_process import running_server

from lince.serving import inference_queue
from lince.serving.decoder_process import DecoderProcess

pytestmark = pytest.mark.waits


def test_small_pictures_are_answered_while_a_large_one_is_decoded(client: AppClient, png: Png):
    """A large picture that never ends holds up neither a small one nor the event loop."""
    client.post("/predict", content=black_png(3_000, 3_000), headers=RAW)  # starts the process

    async def beside() -> list[int]:
        large = [
            asyncio.create_task(client.send("POST", "/predict", content=black_png(3_000, 3_000), headers=RAW))
            for _ in range(4)
        ]
        await asyncio.sleep(0.02)
        small = [(await client.send("POST", "/predict", content=png(), headers=RAW)).status_code for _ in range(5)]
        assert not all(task.done() for task in large)
        return small + [(await task).status_code for task in large]

    assert [200] * 9 == client.run(beside())


def test_a_form_of_many_medium_pictures_is_large(client: AppClient, png: Png, monkeypatch: pytest.MonkeyPatch):
    """Together they are more than a thread may decode; the answers are the same."""
    data = png(size=200)
    alone = client.post("/predict", content=data, headers=RAW).json()["predictions"][0]
    decoded = []
    decode = DecoderProcess.decode
    monkeypatch.setattr(DecoderProcess, "decode", lambda *a, **b: decoded.append(1) or decode(*a, **b))
    assert [alone] * 30 == client.post("/predict", **form(*[data] * 30)).json()["predictions"]
    assert 30 == len(decoded)
    assert [alone] * 4 == client.post("/predict", **form(*[data] * 4)).json()["predictions"]
    assert 30 == len(decoded)


def test_a_picture_that_takes_too_long_is_413(make_client: MakeClient):
    """And the next one is answered."""
    client = make_client(decode_cpu_s=0.01)
    response = client.post("/predict", content=black_png(3_000, 3_000), headers=RAW)
    assert (413, "decode_timeout") == (response.status_code, response.json()["error"]["code"])
    assert 200 == client.post("/predict", content=black_png(600, 600), headers=RAW).status_code


def test_images_of_a_form_share_their_time(make_client: MakeClient, png: Png):
    """Those that were not decoded by then have an error in their place; those that were, have an answer."""
    client = make_client(decode_cpu_s=0.2)
    response = client.post("/predict", **form(png(), *[black_png(3_000, 3_000)] * 10))
    codes = [answer.get("error", {}).get("code") for answer in response.json()["predictions"]]
    assert None is codes[0]
    assert "decode_timeout" == codes[-1]
    start = time.process_time()
    client.post("/predict", **form(png(), *[black_png(3_000, 3_000)] * 10))
    assert time.process_time() - start < 1  # of this process, which decodes none of them


def test_large_requests_wait_in_a_bounded_line(client: AppClient, monkeypatch: pytest.MonkeyPatch):
    """Of many at once some are answered, and the others told to come back."""
    monkeypatch.setattr(inference_queue, "_MAX_LARGE", 2)
    responses = client.together(6, "POST", "/predict", content=black_png(2_000, 2_000), headers=RAW)
    assert {200, 503} == {response.status_code for response in responses}
    assert 200 == client.post("/predict", content=black_png(2_000, 2_000), headers=RAW).status_code


def test_probes_tell_a_full_line(make_client: MakeClient, png: Png):
    """No more requests should come to a server that must refuse them; it is alive all the same."""
    client = make_client(max_waiting=1)

    async def probe() -> list[tuple[int, str]]:
        waiting = asyncio.create_task(client.send("POST", "/predict", content=black_png(3_000, 3_000), headers=RAW))
        await asyncio.sleep(0.1)
        probes = [await client.send("GET", path) for path in ("/readyz", "/livez")]
        await waiting
        probes += [await client.send("GET", path) for path in ("/readyz", "/livez")]
        return [(probe.status_code, probe.json().get("error", {}).get("code", "")) for probe in probes]

    assert [(503, "overloaded"), (200, ""), (200, ""), (200, "")] == client.run(probe())


@pytest.mark.parametrize(
    ("waited_s", "expected"),
    [
        (5, {"/readyz": 200, "/livez": 200}),
        (15, {"/readyz": 503, "/livez": 200}),
        (65, {"/readyz": 503, "/livez": 503}),
    ],
)
def test_probes_tell_that_nothing_is_answered(client: AppClient, waited_s: float, expected: dict[str, int]):
    """A request has waited, and none was answered in that time."""
    line = client.app.state.service.ready.inference
    line._last_answer_s = time.monotonic() - waited_s
    assert [200, 200] == [client.get(path).status_code for path in expected]  # nothing waits: idle is well
    line._waiting[object()] = time.monotonic() - waited_s
    assert expected == {path: client.get(path).status_code for path in expected}
    line._last_answer_s = time.monotonic()
    assert [200, 200] == [client.get(path).status_code for path in expected]
    line._waiting.clear()


def test_closing_waits_for_no_picture(make_client: MakeClient):
    """The app stops at once, whatever is being decoded; who waits is told."""
    client = make_client()
    client.post("/predict", content=black_png(1_500, 1_500), headers=RAW)

    async def stop_in_the_middle() -> tuple[float, int]:
        waiting = [
            asyncio.create_task(client.send("POST", "/predict", content=black_png(4_900, 4_900), headers=RAW))
            for _ in range(6)
        ]
        await asyncio.sleep(0.1)
        start = time.monotonic()
        client.app.state.service.ready.inference.close()
        took_s = time.monotonic() - start
        return took_s, [(await task).status_code for task in waiting].count(503)

    took_s, refused = client.run(stop_in_the_middle())
    assert took_s < 2
    assert refused > 0


@pytest.mark.parametrize("content", ["small", "large", "pixels"])
def test_a_request_that_has_waited_too_long_is_given_up(make_client: MakeClient, png: Png, content: str):
    """Nothing is computed for it, on any way; its client may come again."""
    client = make_client(deadline_s=1e-9)
    if content == "pixels":
        body = {"instances": [{"pixels": [[[0] * 3] * 32] * 32}]}
        response = client.post("/v1/models/cifar10:predict", json=body)
        assert "the deadline. Try again" in response.json()["error"]
    else:
        picture = png() if content == "small" else black_png(2_000, 2_000)
        response = client.post("/predict", content=picture, headers=RAW)
        assert "deadline_exceeded" == response.json()["error"]["code"]
    assert (503, "1") == (response.status_code, response.headers["retry-after"])


def test_nothing_is_computed_for_a_client_that_has_gone():
    """Its picture waits behind another one when it closes; the request is counted as given up."""
    with running_server() as server:
        with RawConnection(server.port) as first, RawConnection(server.port) as second:
            first.send(post(black_png(4_000, 4_000)))
            time.sleep(0.1)
            second.send(post(black_png(4_000, 4_000)))
            time.sleep(0.1)
            second.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            second.socket.close()
            assert first.answer().status == 200
        end = time.monotonic() + 20
        counted = 'lince_requests_total{method="POST",model="cifar10",path="/predict",status="499"} 1.0'
        while counted not in urllib.request.urlopen(f"{server.url}/metrics").read().decode():
            assert time.monotonic() < end
            time.sleep(0.05)
