"""What clients and proxies add to a request never changes its answer: offers, expectations, trailers, half-closing."""

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from app_client import RAW, AppClient, MakeClient, Png, form
from raw_http import GET, HEAD, RawConnection, post
from server_process import ServerProcess, running_server

from lince.serving.inference_queue import Inference

H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
READABLE = ["/", "/docs", "/livez", "/readyz", "/model", "/metrics", "/openapi.json", "/page/page.js"]
OPTIONAL = {
    "h2c": H2C,
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: YQ==\r\n",
    "any protocol": b"Connection: keep-alive, Upgrade\r\nUpgrade: TLS/1.2, carrier-pigeon/7\r\n",
    "upgrade alone": b"Upgrade: h2c\r\n",
    "expect": b"Expect: 100-continue\r\n",
    "unknown expectation": b"Expect: the-best\r\n",
    "te": b"TE: trailers, deflate;q=0.5\r\nConnection: TE\r\n",
    "encodings": b"Accept-Encoding: gzip, br;q=0.1, *;q=0\r\n",
    "trailer": b"Trailer: X-Checksum\r\n",
}
TRAILERS = b"X-Checksum: 1\r\nContent-Type: text/plain\r\nHost: evil.example\r\nExpect: 100-continue\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running_server() as server:
        yield server


@pytest.fixture
def connection(server: ServerProcess) -> Iterator[RawConnection]:
    with RawConnection(server.port) as connection:
        yield connection


@pytest.mark.parametrize("headers", OPTIONAL.values(), ids=OPTIONAL)
@pytest.mark.parametrize("options", [{}, {"in_chunks": True}, {"in_chunks": True, "trailers": TRAILERS}])
def test_optional_headers_change_no_answer(connection: RawConnection, png: Png, headers: bytes, options: dict):
    """The same answer as without them, the connection kept, also for the next request in the same write."""
    expected = connection.send(post(png())).answer().body
    connection.send(post(png(), headers, **options) + GET + GET.replace(b"\r\n\r\n", b"\r\n" + headers + b"\r\n") + GET)
    answers = [connection.answer() for _ in range(4)]
    assert [answer.status for answer in answers] == [200] * 4
    assert answers[0].body == expected
    assert connection.send(post(png())).answer().body == expected


@pytest.mark.parametrize("in_chunks", [False, True])
def test_an_offer_may_be_split_anywhere(server: ServerProcess, connection: RawConnection, png: Png, in_chunks: bool):
    """At every byte, with the next request behind it."""
    whole = post(png(size=2), H2C, in_chunks=in_chunks)
    for cut in range(1, len(whole)):
        connection.send(whole[:cut])
        time.sleep(0.001)
        connection.send(whole[cut:] + GET)
        assert [connection.answer().status, connection.answer().status] == [200, 200], cut
    assert "pgrade" not in server.log.read_text()


def test_an_expectation_is_met(connection: RawConnection, png: Png):
    """The body is asked for, once, and answered."""
    body = png()
    connection.send(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
    assert connection.socket.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert connection.send(body).answer().status == 200


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_may_offer_http2(server: ServerProcess, png: Png, tmp_path: Path):
    """`curl --http2 -F` is answered as `curl -F` is."""
    (tmp_path / "x.png").write_bytes(png())
    command = ["curl", "-sS", "-F", f"file=@{tmp_path}/x.png", f"{server.url}/predict"]
    plain, offered = (
        subprocess.run([*command, *options], capture_output=True, check=True).stdout for options in ([], ["--http2"])
    )
    assert "predictions" in json.loads(plain)
    assert offered == plain


@pytest.mark.parametrize(
    "request_bytes", [b"CONNECT a.example:443 HTTP/1.1\r\n\r\nxx", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
)
def test_other_protocols_are_refused(connection: RawConnection, request_bytes: bytes):
    """Tunnels, and HTTP/2 without an offer."""
    assert connection.send(request_bytes).answer().code == "malformed_request"
    assert connection.ends()


@pytest.mark.parametrize("path", READABLE)
def test_head_is_answered_as_get_is(server: ServerProcess, path: str):
    """The same status and headers, and no body; the connection goes on."""
    get = b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % path.encode()
    with RawConnection(server.port) as connection:
        full = connection.send(get).answer()
        head = connection.send(get.replace(b"GET", b"HEAD")).answer(of_head=True)
        assert connection.send(GET).answer().status == 200
    assert (full.status, head.status) == (200, 200)
    assert full.body
    volatile = {"date", "x-request-id"} | ({"content-length"} if path == "/metrics" else set())
    assert head.headers.keys() == full.headers.keys()
    assert all(head.headers[name] == full.headers[name] for name in full.headers.keys() - volatile)


def test_head_is_named_where_get_is(client: AppClient):
    """`Allow` tells of it; where there is no GET there is no HEAD."""
    assert client.post("/model").headers["allow"] == "GET, HEAD"
    assert client.request("HEAD", "/predict").status_code == 405
    assert client.request("HEAD", "/nowhere").status_code == 404


@pytest.mark.parametrize("in_chunks", [False, True])
def test_a_half_closed_connection_gets_its_answers(connection: RawConnection, png: Png, in_chunks: bool):
    """All that was asked whole is answered; then the connection ends."""
    connection.send(GET + post(png(), in_chunks=in_chunks)).socket.shutdown(socket.SHUT_WR)
    assert [connection.answer().status, connection.answer().status] == [200, 200]
    assert connection.ends()


@pytest.mark.parametrize(
    ("start", "statuses"),
    [
        (HEAD + b"Content-Length: 100\r\n\r\nhalf", [400]),
        (HEAD, [400]),
        (GET, [200]),
        (b"", []),
    ],
)
def test_a_half_closed_half_request_is_refused(connection: RawConnection, start: bytes, statuses: list[int]):
    """400 when nothing else is being answered, and the connection ends."""
    connection.send(start).socket.shutdown(socket.SHUT_WR)
    assert [connection.answer().status for _ in statuses] == statuses
    assert connection.ends()


@pytest.mark.parametrize(
    "preamble", [b"\r\n", b"This is a form.\r\n", b"--other\r\n--b\r\n" + b"-" * 70 + b"\r\n", b"x" * 8_000 + b"\r\n"]
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_form_may_have_a_preamble_and_an_epilogue(make_client: MakeClient, png: Png, preamble: bytes, size: int):
    """RFC 2046, section 5.1.1; however it is cut into pieces."""
    boundary = "-" * 10 + "boundary"
    part = b'--%b \t\r\nContent-Disposition: form-data; name="file"\r\n\r\n%b\r\n' % (boundary.encode(), png(size=4))
    whole = preamble + part + part + b"--%b--\r\nThe end.\r\n--%b\r\n" % (boundary.encode(), boundary.encode())
    headers = {"Content-Type": f'multipart/form-data; boundary="{boundary}"'}
    pieces = iter([whole[start : start + size] for start in range(0, len(whole), size)])
    response = make_client().post("/predict", content=pieces, headers=headers)
    assert (response.status_code, len(response.json()["predictions"])) == (200, 2)


@pytest.mark.parametrize("body", [b"x" * 20_000, b"x" * 20_000 + b"\r\n--b\r\n", b"no boundary", b"x--b\r\n\r\n--bc--"])
def test_a_form_of_preamble_alone_is_malformed(client: AppClient, body: bytes):
    """A preamble is bounded, and is not all."""
    response = client.post("/predict", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "malformed_form")


def test_part_headers_may_be_long(client: AppClient, png: Png):
    """A long name in another script, and parameters that other programs add."""
    name = "写真" * 1_200 + ".png"
    response = client.post("/predict", files=[("file", (name, png(), "image/png"))])
    assert response.status_code == 200


@pytest.mark.parametrize("start", [HEAD + b"Content-Length: 9\r\n\r\nhalf", HEAD])
def test_a_request_that_a_stop_cuts_gets_our_error(start: bytes):
    """503 in our shape, its body whole or not, and no traceback."""
    with running_server(shutdown_s=1) as server, RawConnection(server.port) as connection:
        connection.send(start)
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        answer = connection.answer()
        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "shutting_down", "1")
        assert server.process.wait(10) == 0
        assert "Traceback" not in server.log.read_text()


def test_a_request_that_is_cut_while_it_waits_gets_our_error(
    client: AppClient, png: Png, monkeypatch: pytest.MonkeyPatch
):
    """The same when the body is whole and the network at work."""

    async def answer(*_: object, **__: object) -> None:
        await asyncio.sleep(60)

    async def cut() -> httpx.Response:
        task = asyncio.create_task(client.send("POST", "/predict", content=png(), headers=RAW))
        await asyncio.sleep(0.2)
        task.cancel()
        return await task

    monkeypatch.setattr(Inference, "answer", answer)
    response = client.run(cut())
    assert (response.status_code, response.json()["error"]["code"]) == (503, "shutting_down")


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_refusal_that_closes_can_be_read(connection: RawConnection, version: bytes):
    """A client that keeps no connection, and sends 16 MB before it reads, gets its 413 and not a broken pipe."""
    head = HEAD.replace(b"1.1", version) + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % 2**24
    connection.send(head)
    for _ in range(16):
        connection.send(bytes(2**20))
    assert connection.answer().code == "body_too_large"
    assert connection.ends()


ORIGIN = "https://cats.example"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/predict", "/model", "/nowhere"])
def test_pages_of_other_sites_may_not_ask(client: AppClient, method: str, path: str):
    """403 whatever the method that may change something, and no header that lets the page read it."""
    response = client.request(method, path, headers={"Sec-Fetch-Site": "cross-site", "Origin": ORIGIN})
    assert (response.status_code, response.json()["error"]["code"]) == (403, "cross_site")
    assert f"from a page of another site (Origin: {ORIGIN}). Expected" in response.json()["error"]["message"]
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("site", [None, "same-origin", "same-site", "none"])
def test_other_senders_may_ask(client: AppClient, png: Png, site: str | None):
    """Our own page, programs, and the address bar; reading is open to all."""
    headers = RAW | ({"Sec-Fetch-Site": site} if site else {})
    assert client.post("/predict", content=png(), headers=headers).status_code == 200
    assert client.get("/model", headers={"Sec-Fetch-Site": "cross-site", "Origin": ORIGIN}).status_code == 200


def test_origins_can_be_allowed(make_client: MakeClient, png: Png):
    """Pages of these may ask and read, errors too; others still may not."""
    client = make_client(allowed_origins=["https://Cats.example/"])
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": ORIGIN}
    asked = headers | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    preflight = client.request("OPTIONS", "/predict", headers=asked)
    answers = [client.post("/predict", content=content, headers=RAW | headers) for content in (png(), b"")]
    assert [answer.status_code for answer in (preflight, *answers)] == [204, 200, 400]
    assert {answer.headers["access-control-allow-origin"] for answer in (preflight, *answers)} == {ORIGIN}
    assert {answer.headers["vary"] for answer in (preflight, *answers)} == {"Origin"}
    assert preflight.headers["access-control-allow-headers"] == "authorization, content-type"
    other = client.post("/predict", content=png(), headers=RAW | headers | {"Origin": "https://dogs.example"})
    assert other.status_code == 403
    assert "access-control-allow-origin" not in other.headers
    assert client.post("/predict", **form(png()), headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
