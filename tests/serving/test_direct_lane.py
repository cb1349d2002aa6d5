"""The direct way of a small picture gives the answer of the ordinary way, and leaves to it whatever it cannot do."""

import asyncio
import itertools
import random
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest
from app_client import Png
from hostile_requests import black_png
from raw_http import GET, RawConnection, post
from server_process import ServerProcess, running_server
from uvicorn.server import ServerState

from lince.inference.classifier import Classifier
from lince.serving import direct_lane, inference_queue, logs
from lince.serving import server as server_module
from lince.serving.api_keys import new_key
from lince.serving.app import create_app
from lince.serving.direct_lane import DirectLane
from lince.serving.errors import RequestError
from lince.serving.http_connection import BoundedConnection
from lince.serving.inference_queue import Inference
from lince.serving.models import ServedModel
from lince.serving.settings import ServeSettings

IMAGE = [(b"host", b"127.0.0.1:8000"), (b"content-type", b"image/png"), (b"content-length", b"2448")]
ORDINARY = b"Sec-Fetch-Site: same-origin\r\n"  # a header that the lane leaves to the middleware


def ask(body: bytes, headers: bytes = b"") -> bytes:
    """A request with an id, so that two answers to it are alike."""
    return post(body, b"X-Request-Id: one.of_many-1\r\n" + headers)


class Wire(asyncio.Transport):
    """Takes what a connection writes."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._client = socket.create_connection(listener.getsockname())
            self._socket, _ = listener.accept()  # it is asked for its addresses; nothing goes through it
        super().__init__({"socket": self._socket})
        self.written, self.is_closed, self.is_broken = b"", False, False

    def write(self, data: bytes) -> None:
        if self.is_broken:
            raise RuntimeError("The wire is broken.")
        self.written += data

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True
        self._socket.close()
        self._client.close()

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        """Nothing is read here, and nobody waits for an end."""

    resume_reading = write_eof = abort = pause_reading


class Worker:
    """A started app, and connections to it without a network."""

    def __init__(self, classifier: Classifier, **settings: Any):
        self.settings = ServeSettings(**settings)
        self._app = create_app(classifier, self.settings)
        self._config = server_module._config(self._app, self.settings)
        self._config.load()
        self._runner, self._open = asyncio.Runner(), AsyncExitStack()
        lifespan = self._app.router.lifespan_context(self._app)
        self.state: dict[str, Any] = self._runner.run(self._open.enter_async_context(lifespan))

    @property
    def lane(self) -> DirectLane:
        return self.state["lane"]

    @property
    def inference(self) -> Inference:
        return self.state["inference"]

    def exchange(
        self,
        *pieces: bytes,
        then: Callable[[BoundedConnection], object] = lambda _: None,
        default_headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> bytes:
        """What a connection writes for pieces of requests, of which each is read at once."""
        return self._runner.run(self._exchange(pieces, then, default_headers))

    async def _exchange(
        self,
        pieces: tuple[bytes, ...],
        then: Callable[[BoundedConnection], object],
        default_headers: Sequence[tuple[bytes, bytes]],
    ) -> bytes:
        wire, connection = self._connect(default_headers)
        for piece in pieces:
            connection.data_received(piece)
        then(connection)
        await self._end(wire, connection)
        return wire.written

    def together(self, *requests: bytes, then: Callable[[list[Wire]], object] = lambda _: None) -> list[bytes]:
        """What connections write, one for each request, all of which are read in one turn of the event loop."""
        return self._runner.run(self._together(requests, then))

    async def _together(self, requests: tuple[bytes, ...], then: Callable[[list[Wire]], object]) -> list[bytes]:
        pairs = [self._connect() for _ in requests]
        for (_, connection), request in zip(pairs, requests, strict=True):
            connection.data_received(request)
        then([wire for wire, _ in pairs])
        # A broken one is closed last: its answer has been tried when the others have theirs.
        for wire, connection in sorted(pairs, key=lambda pair: pair[0].is_broken):
            await self._end(wire, connection)
        return [wire.written for wire, _ in pairs]

    def _connect(self, default_headers: Sequence[tuple[bytes, bytes]] = ()) -> tuple[Wire, BoundedConnection]:
        wire, state = Wire(), ServerState()
        state.default_headers = [*default_headers]
        connection = BoundedConnection(config=self._config, server_state=state, app_state=self.state)
        connection.connection_made(wire)
        return wire, connection

    async def _end(self, wire: Wire, connection: BoundedConnection) -> None:
        tasks = connection.server_state.tasks
        while (
            not connection.cycle.disconnected
            and not wire.is_broken
            and (tasks or not connection.cycle.response_complete)
        ):
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        connection.connection_lost(None)
        wire.close()

    def metrics(self) -> str:
        return self._app.state.service.metrics.render().decode()

    def close(self) -> None:
        self._runner.run(self._open.aclose())
        self._runner.close()


@pytest.fixture(params=["on the event loop", "in a thread"])
def worker(request: pytest.FixtureRequest, classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """The network runs where that of a fast model does, or that of a slow one."""
    monkeypatch.setattr(classifier, "image_s", 0.001 if request.param == "in a thread" else 0.0001)
    worker = Worker(classifier)
    yield worker
    worker.close()


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was answered directly."""
    found, answer = [], BoundedConnection._answer_directly

    def record(self: BoundedConnection, cycle: Any, status: int, content: bytes, request_id: str) -> None:
        found.append(content)
        answer(self, cycle, status, content, request_id)

    monkeypatch.setattr(BoundedConnection, "_answer_directly", record)
    return found


def test_the_answer_is_that_of_the_ordinary_way(worker: Worker, direct: list[bytes], png: Png):
    """Byte for byte."""
    one = worker.exchange(ask(png()))
    assert len(direct) == 1
    assert one.startswith(b"HTTP/1.1 200 OK\r\n")
    assert one == worker.exchange(ask(png(), ORDINARY))
    assert len(direct) == 1
    text = worker.metrics()
    assert 'lince_requests_total{method="POST",model="cifar10",path="/predict",status="200"} 2.0' in text
    assert 'lince_request_seconds_count{path="/predict"} 2.0' in text
    assert "lince_images_per_request_count 2.0" in text
    assert 'lince_stage_seconds_count{stage="infer"} 1.0' in text


def test_a_last_request_is_answered_and_the_connection_closed(worker: Worker, direct: list[bytes], png: Png):
    """As the ordinary way does it."""
    close = b"Connection: close\r\n"
    one = worker.exchange(ask(png(), close))
    assert b"connection: close\r\n" in one
    assert one == worker.exchange(ask(png(), close + ORDINARY))
    assert len(direct) == 1


def test_a_body_that_comes_in_pieces_goes_the_ordinary_way(worker: Worker, direct: list[bytes], png: Png):
    """The lane takes whole requests: it waits for nobody."""
    request = ask(png())
    assert worker.exchange(request) == worker.exchange(request[:-100], request[-100:])
    assert len(direct) == 1


def test_pipelined_requests_are_answered_in_order(worker: Worker, png: Png):
    """Also when another way lies between two of them."""
    requests = [ask(png(0)), ask(png(1), ORDINARY), ask(png(2)), ask(png(3))]
    assert worker.exchange(b"".join(requests)) == b"".join(worker.exchange(one) for one in requests)


@pytest.mark.parametrize("content", [b"no image", b"\x89PNG\r\n\x1a\n", black_png(500, 500)], ids=len)
def test_what_is_no_small_picture_goes_the_ordinary_way(worker: Worker, direct: list[bytes], content: bytes):
    """It can wait, and tells errors."""
    assert worker.exchange(ask(content)) == worker.exchange(ask(content, ORDINARY))
    assert direct == []


@pytest.mark.parametrize("fault", ["outputs", "prediction"])
def test_a_fault_is_left_to_the_app(
    fault: str,
    worker: Worker,
    direct: list[bytes],
    png: Png,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    """It answers 500 and logs the fault; the next request is answered."""
    with monkeypatch.context() as broken:
        broken.setattr(Classifier, fault, lambda *_: 1 / 0)
        assert worker.exchange(ask(png())).startswith(b"HTTP/1.1 500")
    assert "ZeroDivisionError" in caplog.text
    assert worker.exchange(ask(png())).startswith(b"HTTP/1.1 200")
    assert len(direct) == 1


def test_work_of_a_client_that_has_gone_is_dropped(worker: Worker, direct: list[bytes], png: Png):
    """Nothing is computed, and the request is counted as one that was given up."""
    assert worker.exchange(ask(png()), then=lambda connection: connection.connection_lost(None)) == b""
    assert direct == []
    assert 'lince_requests_total{method="POST",model="",path="/predict",status="499"} 1.0' in worker.metrics()
    assert 'lince_rejections_total{code="client_closed_request"} 1.0' in worker.metrics()
    assert "lince_images_per_request_count 0.0" in worker.metrics()
    assert not worker.inference.full


@pytest.mark.parametrize("settings", [{"max_waiting": 1}, {"max_buffered_bytes": 1024}])
def test_the_bounds_hold_here_too(classifier: Classifier, direct: list[bytes], png: Png, settings: dict[str, int]):
    """Requests that wait, and their bytes: what exceeds them is refused in the ordinary way."""
    worker = Worker(classifier, **settings)
    try:
        if "max_waiting" in settings:
            worker.inference.enter(worker)
        assert worker.exchange(ask(png())).startswith(b"HTTP/1.1 503")
        assert direct == []
        assert worker.lane._buffer.hold(1024)
    finally:
        worker.close()


def test_a_client_that_goes_meanwhile_gets_nothing(
    worker: Worker, direct: list[bytes], png: Png, monkeypatch: pytest.MonkeyPatch
):
    """It closes while the network works for it."""
    connections, outputs = [], Classifier.outputs

    def close_first(self: Classifier, images: Any) -> Any:
        connections[0].cycle.disconnected = True
        return outputs(self, images)

    monkeypatch.setattr(Classifier, "outputs", close_first)
    assert worker.exchange(ask(png()), then=connections.append) == b""
    assert direct == []
    assert "lince_queue_depth 0.0" in worker.metrics()


def test_every_request_is_in_the_access_log(
    classifier: Classifier, direct: list[bytes], png: Png, monkeypatch: pytest.MonkeyPatch
):
    """With its status and the id that the answer has, in the text and as a field."""
    logged: list[str] = []
    fields: list[dict[str, Any]] = []

    def info(text: str, values: dict[str, Any], extra: dict[str, Any]) -> None:
        logged.append(text % values)
        fields.append(extra[logs._FIELDS])

    monkeypatch.setattr(logs._access, "info", info)
    worker = Worker(classifier, access_log=True)
    try:
        answer = worker.exchange(ask(png()))
    finally:
        worker.close()
    assert len(direct) == 1
    [identity] = re.findall(rb"x-request-id: (\S+)", answer)
    assert re.fullmatch(rf'\S+ "POST /predict" 200 [\d.]+ ms {identity.decode()}', logged[0])
    assert fields[0]["request_id"] == identity.decode()
    assert len(logged) == 1


def test_the_log_behind_a_proxy_has_the_clients_address(classifier: Classifier, direct: list[bytes], png: Png):
    """The middleware reads it from the proxy's header, so these requests go the ordinary way."""
    worker = Worker(classifier, access_log=True, trusted_proxies=("127.0.0.1",))
    try:
        assert worker.exchange(ask(png())).startswith(b"HTTP/1.1 200")
        assert direct == []
    finally:
        worker.close()


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ({}, True),
        ({b"content-type": b"application/octet-stream"}, True),
        ({b"accept": b"*/*"}, True),
        ({b"connection": b"keep-alive"}, True),
        ({b"content-type": b"multipart/form-data; boundary=b"}, False),
        ({b"content-type": b"application/json"}, False),
        ({b"content-type": b"image/png; a=b"}, False),
        ({b"host": b"localhost:evil"}, False),
        ({b"content-length": b"32769"}, False),
        ({b"content-length": b"0"}, False),
        ({b"content-length": b"+5"}, False),
        ({b"host": b"evil.example"}, False),
        ({b"origin": b"http://127.0.0.1:8000"}, False),
        ({b"sec-fetch-site": b"cross-site"}, False),
        ({b"expect": b"100-continue"}, False),
        ({b"transfer-encoding": b"chunked"}, False),
        ({b"content-encoding": b"gzip"}, False),
        ({b"upgrade": b"h2c"}, False),
    ],
)
def test_headers_that_ask_for_more_are_left_to_the_app(worker: Worker, change: dict[bytes, bytes], taken: bool):
    """Only what the middleware would pass unchanged is taken."""
    assert worker.lane.takes(scope(headers=list((dict(IMAGE) | change).items()))) is taken


@pytest.mark.parametrize(
    "change", [{"method": "GET"}, {"query_string": b"top=2"}, {"path": "/explain"}, {"path": "/predict/"}]
)
def test_other_requests_are_left_to_the_app(worker: Worker, change: dict[str, Any]):
    """Those with a query, too."""
    assert worker.lane.takes(scope())
    assert not worker.lane.takes(scope(**change))


def scope(**change: Any) -> Any:
    """A request as uvicorn describes it."""
    made = {"method": "POST", "path": "/predict", "query_string": b"", "headers": IMAGE, "client": ("127.0.0.1", 1)}
    return made | {"state": {}} | change


@pytest.mark.parametrize("name", [b"host", b"content-type", b"content-length"])
def test_doubled_headers_are_left_to_the_app(worker: Worker, name: bytes):
    """It decides which one counts."""
    doubled = [*IMAGE, (name, dict(IMAGE)[name])]
    assert worker.lane.takes(scope(headers=doubled)) is (name == b"content-type")


def test_pages_of_other_sites_are_left_to_the_app(classifier: Classifier, direct: list[bytes], png: Png):
    """Their browsers need further headers."""
    worker = Worker(classifier, allowed_origins=["https://cats.example"])
    try:
        assert b"vary: Origin\r\n" in worker.exchange(ask(png()))
        assert direct == []
    finally:
        worker.close()


def test_a_large_image_of_the_network_is_left_to_the_app(
    worker: Worker, direct: list[bytes], png: Png, monkeypatch: pytest.MonkeyPatch
):
    """It takes long to resize to, and memory that no limit counts."""
    monkeypatch.setattr(direct_lane, "_MAX_PIXELS", 32 * 32 - 1)
    assert worker.exchange(ask(png())).startswith(b"HTTP/1.1 200")
    assert direct == []


def test_a_request_that_has_waited_too_long_gets_503(classifier: Classifier, png: Png):
    """Nothing is computed for it."""
    worker = Worker(classifier, deadline_s=1e-9)
    try:
        answer = worker.exchange(ask(png()))
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nretry-after: 1\r\n" in answer
        assert b'"code":"deadline_exceeded"' in answer
        assert 'lince_rejections_total{code="deadline_exceeded"} 1.0' in worker.metrics()
    finally:
        worker.close()


def test_who_waits_at_the_end_is_told(classifier: Classifier, png: Png, monkeypatch: pytest.MonkeyPatch):
    """The grace time of a stop is over, and the network still works."""
    monkeypatch.setattr(classifier, "image_s", 1.0)
    outputs, free = Classifier.outputs, threading.Event()
    monkeypatch.setattr(Classifier, "outputs", lambda self, images: free.wait(20) and outputs(self, images))
    worker = Worker(classifier)

    def stop(_: BoundedConnection) -> None:
        asyncio.get_running_loop().call_later(0.1, worker.lane.close)

    answer = worker.exchange(ask(png()), then=stop)
    free.set()
    worker.close()
    assert answer.startswith(b"HTTP/1.1 503")
    assert b'"code":"shutting_down"' in answer


@pytest.mark.parametrize("broken", ["inspect", "find"])
def test_no_fault_stops_the_lane(
    worker: Worker, direct: list[bytes], png: Png, monkeypatch: pytest.MonkeyPatch, broken: str
):
    """The app answers the request, or says that it cannot, and nothing waits for ever."""
    with monkeypatch.context() as patch:
        if broken == "inspect":
            patch.setattr(inference_queue.encoded_image, "inspect", lambda _: 1 / 0)
        else:
            patch.setattr(direct_lane.native, "content", lambda *_: 1 / 0)
        for _ in range(3):
            assert worker.exchange(ask(png()))[:12] in (b"HTTP/1.1 500", b"HTTP/1.1 200")
    assert "lince_queue_depth 0.0" in worker.metrics()
    assert worker.exchange(ask(png())).startswith(b"HTTP/1.1 200")
    assert worker.lane._buffer.hold(worker.settings.max_buffered_bytes)


def test_one_of_a_group_fails_alone(worker: Worker, direct: list[bytes], png: Png, caplog: pytest.LogCaptureFixture):
    """A connection that breaks, a picture that is none and one that takes long: the others are answered directly."""
    pictures = [png(0), png(1), b"no image", png(2), black_png(500, 500), png(3)]
    expected = [worker.exchange(ask(picture, ORDINARY)) for picture in pictures]

    def break_first(wires: list[Wire]) -> None:
        wires[0].is_broken = True

    assert worker.together(*map(ask, pictures), then=break_first) == [b"", *expected[1:]]
    assert len(direct) == 4
    assert "An answer could not be sent." in caplog.text
    assert "lince_queue_depth 0.0" in worker.metrics()


def test_a_model_that_has_gone_meanwhile_is_told_by_the_app(
    worker: Worker, direct: list[bytes], png: Png, monkeypatch: pytest.MonkeyPatch
):
    """It was there when the request came."""
    find, calls = worker.lane._models.find, itertools.count()

    def find_once(name: str | None = None, version: str | None = None) -> ServedModel:
        if next(calls) == 1:
            raise RequestError("not_found", "There is no model.")
        return find(name, version)

    monkeypatch.setattr(worker.lane._models, "find", find_once)
    assert worker.exchange(ask(png())).startswith(b"HTTP/1.1 200")
    assert direct == []
    assert next(calls) == 3


def test_a_refused_request_counts_once(classifier: Classifier, png: Png, tmp_path: Path):
    """Without its key it may be sent as often as the rate allows."""
    (tmp_path / "keys.txt").write_text(new_key("program", "predict")[1])
    worker = Worker(classifier, api_keys=tmp_path / "keys.txt", rate_limit=2)
    try:
        statuses = [worker.exchange(ask(png()))[9:12] for _ in range(5)]
        assert statuses == [b"401"] * 4 + [b"429"]
    finally:
        worker.close()


def test_a_request_whose_body_never_comes_is_counted(worker: Worker, png: Png):
    """It is pipelined, so no task has begun; the client closes its sending half."""
    whole = ask(png())

    def close_half(connection: BoundedConnection) -> None:
        asyncio.get_running_loop().call_later(0.1, connection.eof_received)

    answers = worker.exchange(whole + ask(png(1))[:-5], then=close_half)
    assert answers.count(b"HTTP/1.1 200") == 1
    assert 'lince_rejections_total{code="incomplete_body"} 1.0' in worker.metrics()


def test_during_a_stop_the_connection_ends(worker: Worker, direct: list[bytes], png: Png):
    """The answer says so, once."""
    headers = [(b"date", b"now"), (b"connection", b"close")]
    answer = worker.exchange(ask(png(), b"Connection: close\r\n"), default_headers=headers)
    assert (answer.count(b"HTTP/1.1 200"), answer.count(b"connection: close")) == (1, 1)
    assert worker.exchange(ask(png()), default_headers=headers) == answer
    assert len(direct) == 2


def test_stages_of_the_lane_add_up(worker: Worker, png: Png):
    """What was waited for is no part of the network's time."""
    worker.exchange(ask(png()))
    text = worker.metrics()
    stages = dict(re.findall(r'lince_stage_seconds_sum{stage="(\w+)"} (\S+)', text))
    whole = float(re.search(r'lince_request_seconds_sum{path="/predict"} (\S+)', text)[1])
    assert sum(map(float, stages.values())) == pytest.approx(whole)
    assert min(map(float, stages.values())) >= 0
    assert float(stages["infer"]) > 0


def test_keys_are_asked_for_here_too(classifier: Classifier, direct: list[bytes], png: Png, tmp_path: Path):
    """Without one the app answers 401; with one the answer comes directly."""
    key, line = new_key("program", "predict")
    (tmp_path / "keys.txt").write_text(line)
    worker = Worker(classifier, api_keys=tmp_path / "keys.txt")
    try:
        assert worker.exchange(ask(png())).startswith(b"HTTP/1.1 401")
        assert worker.exchange(ask(png(), b"Authorization: Bearer wrong\r\n")).startswith(b"HTTP/1.1 401")
        assert direct == []
        assert worker.exchange(ask(png(), b"Authorization: Bearer %b\r\n" % key.encode())).startswith(b"HTTP/1.1 200")
        assert len(direct) == 1
    finally:
        worker.close()


@pytest.mark.parametrize("content", ["small", "large"])
def test_a_request_counts_once_for_its_rate(classifier: Classifier, png: Png, content: str):
    """Also one that the lane hands to the app."""
    worker = Worker(classifier, rate_limit=1)
    picture = ask(png() if content == "small" else black_png(500, 500))
    try:
        answers = [worker.exchange(picture)[:12] for _ in range(3)]
        assert answers == [b"HTTP/1.1 200"] * 2 + [b"HTTP/1.1 429"]
    finally:
        worker.close()


def test_behind_a_proxy_the_limit_is_the_clients(classifier: Classifier, direct: list[bytes], png: Png):
    """Its address is in a header that the lane does not read."""
    worker = Worker(classifier, rate_limit=1, trusted_proxies=["127.0.0.1"])
    try:
        answers = [worker.exchange(ask(png(), b"X-Forwarded-For: 192.0.2.%d\r\n" % number))[:12] for number in range(5)]
        assert answers == [b"HTTP/1.1 200"] * 5
        assert direct == []
    finally:
        worker.close()


@pytest.mark.parametrize("proxies", [[], ["127.0.0.0/8"], ["10.0.0.0/8", "::1"]])
def test_the_connection_of_a_proxy_is_never_paused(classifier: Classifier, png: Png, proxies: list[str]):
    """After a 503 the next request on it is of another client."""
    worker = Worker(classifier, max_waiting=1, trusted_proxies=proxies)
    try:
        worker.inference.enter(worker)
        answers = worker.exchange(ask(png()), GET)
        worker.inference.leave(worker, answered=False)
    finally:
        worker.close()
    assert answers.startswith(b"HTTP/1.1 503")
    assert (b"HTTP/1.1 200" in answers) is (proxies == ["127.0.0.0/8"])


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running_server() as server:
        yield server


def test_many_clients_get_what_each_has_asked(server: ServerProcess, png: Png):
    """Requests of all connections arrive in the same turns of the event loop; each gets its own answer, or error."""
    pictures = [*map(png, range(20)), b"no image", png(20)[:1000]]
    random.Random(0).shuffle(pictures)
    with ExitStack() as stack:
        connections = [stack.enter_context(RawConnection(server.port)) for _ in pictures]
        pairs = list(zip(connections, pictures, strict=True))
        expected = [one.send(ask(picture, ORDINARY)).answer().body for one, picture in pairs]
        for _ in range(20):
            for one, picture in pairs:
                one.send(ask(picture))
            assert [one.answer().body for one in connections] == expected


def test_a_request_without_an_id_gets_one(worker: Worker, direct: list[bytes], png: Png):
    """A new one each time; one that is not sane is replaced."""
    answers = [worker.exchange(post(png())), worker.exchange(post(png(), b"X-Request-Id: a b\r\n"))]
    ids = {re.search(rb"\r\nx-request-id: ([\w.-]{10,})\r\n", answer)[1] for answer in answers}
    assert (len(ids), len(direct)) == (2, 2)
