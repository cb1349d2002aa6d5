"""What happens when too much comes at once, or too slowly: bounded lines, 503 with Retry-After, 408."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from app_client import RAW, AppClient, MakeClient, Png
from hostile_requests import black_png

pytestmark = pytest.mark.waits


def test_full_line_answers_503_with_retry_after(make_client: MakeClient, png: Png):
    """One request may wait here; of eight at once the others are told to come back, and then are served."""
    client = make_client(max_waiting=1)
    responses = client.together(8, "POST", "/predict", content=png(size=1_000), headers=RAW)
    assert {response.status_code for response in responses} == {200, 503}
    refused = next(response for response in responses if response.status_code == 503)
    assert (refused.headers["retry-after"], refused.json()["error"]["code"]) == ("1", "overloaded")
    assert client.post("/predict", content=png(), headers=RAW).status_code == 200


def test_bodies_share_a_bounded_buffer(make_client: MakeClient, png: Png):
    """Bodies that together exceed the buffer get 503; what they held is given back."""
    data = png(size=100)
    client = make_client(max_buffered_bytes=len(data) + 1_000)
    statuses = {response.status_code for response in client.together(8, "POST", "/predict", content=data, headers=RAW)}
    assert statuses == {200, 503}
    assert [client.post("/predict", content=data, headers=RAW).status_code for _ in range(3)] == [200] * 3


def test_slow_body_gets_408(make_client: MakeClient, png: Png):
    """A client that sends nothing for too long is let go."""

    async def slow() -> AsyncIterator[bytes]:
        yield png()[:20]
        await asyncio.sleep(5)
        yield png()[20:]

    response = make_client(receive_timeout_s=0.05).post("/predict", content=slow(), headers=RAW)
    assert (response.status_code, response.json()["error"]["code"]) == (408, "receive_timeout")


def test_decoding_does_not_hold_up_the_event_loop(client: AppClient):
    """/livez answers while a picture of 25 megapixels is being decoded."""
    finished = []

    async def request(name: str, *arguments: str, **options: object) -> None:
        response = await client.send(*arguments, **options)
        finished.append((name, response.status_code))

    async def both() -> None:
        large = asyncio.create_task(request("large", "POST", "/predict", content=black_png(5_000, 5_000), headers=RAW))
        await asyncio.sleep(0.05)
        await asyncio.gather(large, request("livez", "GET", "/livez"))

    client.run(both())
    assert finished == [("livez", 200), ("large", 200)]


def test_every_request_of_a_crowd_gets_its_own_answer(client: AppClient, png: Png):
    """64 requests at once, each another picture: none gets another's answer."""
    datas = [png(seed, size=40) for seed in range(64)]
    alone = [client.post("/predict?logits=1", content=data, headers=RAW).json() for data in datas]

    async def crowd() -> list[dict]:
        sent = [client.send("POST", "/predict?logits=1", content=data, headers=RAW) for data in datas]
        return [response.json() for response in await asyncio.gather(*sent)]

    assert client.run(crowd()) == alone
    assert len({str(answer) for answer in alone}) == 64
