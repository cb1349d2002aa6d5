"""Requests to servers that are busy, end connections, or lie: one sentence in bounded time and memory."""

import asyncio
import os
import shutil
import socket
import subprocess
import time
import tracemalloc

import pytest
from tests.client.fake_servers import MODEL, FakeLince, closes, lying_server, repeats, says, says_busy, says_json, serve

from lince.client.answers import NoAnswerError, Reply
from lince.client.connection import Connection, _reason
from lince.client.request import Request
from lince.errors import LinceError, ServiceError

MODEL_OF = Request("/model?x=y", 2**20)
GOOD = says_json(MODEL)


def ask(
    url: str,
    *,
    times: int = 1,
    timeout_s: float = 20.0,
    retries: int = 0,
    api_key: str | None = None,
    asked: Request = MODEL_OF,
) -> Reply:
    """The last of so many answers."""

    async def run() -> Reply:
        connection = Connection(url, api_key=api_key, timeout_s=timeout_s, retries=retries)
        try:
            for _ in range(times):
                reply = await connection.ask(asked)
            return reply
        finally:
            await connection.aclose()

    return asyncio.run(run())


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "a byte now and then": repeats(OK + b"Content-Length: 100000\r\n\r\n", b" ", 0.05),
    "a head now and then": repeats(OK, b"X: y\r\n", 0.05),
    "a line without end": repeats(b"", b"H", 0.05),
    "continue": repeats(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01),
    "chunks now and then": repeats(CHUNKED, b"1\r\n \r\n", 0.05),
    "trailers": repeats(CHUNKED + b"0\r\n", b"X: y\r\n", 0.05),
    "silence": lambda connection: time.sleep(1.5),
}
WRONG = {
    "headers": repeats(OK, b"X: y\r\n"),
    "a header": repeats(OK + b"X: ", b"y" * 65536),
    "a body": repeats(OK + b"\r\n", b" " * 65536),
    "chunks": repeats(CHUNKED, b"10000\r\n" + b" " * 65536 + b"\r\n"),
    "a chunk's size": repeats(CHUNKED, b"f" * 65536),
    "a huge chunk": repeats(CHUNKED + b"fffffffffffffff\r\n", b" " * 65536),
    "too short": lambda connection: connection.sendall(OK + b"Content-Length: 1000\r\n\r\n{}"),
    "a negative length": lambda connection: connection.sendall(OK + b"Content-Length: -5\r\n\r\n{}"),
    "a length of digits": repeats(OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", b" " * 65536),
    "a chunk's size that is none": lambda connection: connection.sendall(CHUNKED + b"xyz\r\n"),
    "no HTTP": lambda connection: connection.sendall(b"SSH-2.0-x\r\n\r\n"),
    "a status that is none": lambda connection: connection.sendall(b"HTTP/1.1 2000 x\r\n\r\n"),
    "a close": closes,
}


@pytest.mark.waits
class TestTransport:
    @pytest.mark.parametrize("talk", ENDLESS.values(), ids=ENDLESS.keys())
    def test_time(self, talk):
        """A server that always sends a little more is left after the time given, not after its silence."""
        with lying_server(talk) as server:
            began = time.monotonic()
            with pytest.raises(NoAnswerError, match=r"No answer from .*timed out: no whole answer in 0\.7 s"):
                ask(server.url, timeout_s=0.7)
            assert time.monotonic() - began < 5  # 0.7 s and a busy machine

    @pytest.mark.parametrize("talk", WRONG.values(), ids=WRONG.keys())
    def test_bytes(self, talk):
        """A server that sends without end is left after the bytes that an answer may have."""
        with lying_server(talk) as server:
            tracemalloc.start()
            try:
                with pytest.raises(
                    ServiceError, match=r"No answer from|/model does not answer .*more than 1,048,576 by"
                ):
                    ask(server.url)
                assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
            finally:
                tracemalloc.stop()

    def test_a_server_that_does_not_read(self):
        """A large request to a server that takes the connection and nothing else ends in time, too."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            asked = Request("/predict", 1000, "image/png", bytes(50 * 2**20))
            with pytest.raises(NoAnswerError, match="timed out"):
                ask(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.5, asked=asked)


@pytest.mark.waits
class TestRetries:
    @pytest.mark.parametrize("failure", [says_busy(503), says_busy(429), closes, WRONG["too short"]])
    def test_what_may_pass_is_tried_again(self, failure):
        """A busy service, and connections that end before there is a whole answer."""
        with lying_server(failure, failure, GOOD) as server:
            assert 200 == ask(server.url, retries=2).status
        assert 3 == len(server.requests)

    def test_retry_after_is_waited_for(self):
        """A service that says a second is not asked earlier."""
        with lying_server(says_busy(503, b"Retry-After: 1\r\n"), GOOD) as server:
            began = time.monotonic()
            assert 200 == ask(server.url, retries=1).status
            assert time.monotonic() - began > 1

    def test_a_pause_longer_than_the_time_is_not_made(self):
        """The busy answer itself is what the caller gets, at once."""
        with lying_server(says_busy(503, b"Retry-After: 3600\r\n"), GOOD) as server:
            assert 503 == ask(server.url, retries=5).status
        assert 1 == len(server.requests)

    def test_the_last_answer_is_given(self):
        """After the retries a busy service is an answer with its error, and a dead one is none."""
        with lying_server(says_busy()) as server:
            assert 503 == ask(server.url, retries=1).status
        assert 2 == len(server.requests)
        with lying_server(closes) as server, pytest.raises(NoAnswerError, match="No answer from"):
            ask(server.url, retries=1)
        assert 2 == len(server.requests)

    @pytest.mark.parametrize("status", [400, 401, 404, 413, 500])
    def test_other_errors_are_final(self, status: int):
        """The same request would get the same answer."""
        with lying_server(says_busy(status), GOOD) as server:
            assert status == ask(server.url, retries=5).status
        assert 1 == len(server.requests)

    def test_all_attempts_share_the_time(self):
        """A service that is always busy does not hold the caller for longer than asked."""
        with lying_server(says_busy()) as server:
            began = time.monotonic()
            assert 503 == ask(server.url, timeout_s=3, retries=1000).status
            assert time.monotonic() - began < 15
        assert len(server.requests) > 1


class TestRequests:
    def test_what_is_sent(self):
        """Path, host and the key; nothing compressed is accepted, since a small answer could be a large one."""
        with lying_server(GOOD) as server:
            ask(server.url + "/pets/", api_key="k3y!")
        head = server.requests[0].decode().lower()
        assert head.startswith("get /pets/model?x=y http/1.1\r\n")
        for line in ("authorization: bearer k3y!", "accept-encoding: identity", "accept: application/json"):
            assert f"\r\n{line}\r\n" in head

    def test_no_key_is_sent_without_one(self):
        """There is no header of authorisation then."""
        with lying_server(GOOD) as server:
            ask(server.url)
        assert b"authorization" not in server.requests[0].lower()

    def test_no_cookie_is_kept(self):
        """What a server wants to be remembered would fill memory."""
        with lying_server(says_json({}, OK + b"Set-Cookie: a=b\r\n")) as server:
            ask(server.url, times=2)
        assert 2 == len(server.requests)
        assert b"cookie" not in server.requests[1].lower()

    def test_no_redirect_is_followed(self):
        """An answer with another status is given as it is: images are not sent to where a server points."""
        with lying_server(GOOD) as other:
            moved = says(b"", b"HTTP/1.1 308 Moved\r\nLocation: %b/model\r\n" % other.url.encode())
            with lying_server(moved) as server:
                assert 308 == ask(server.url).status
        assert [] == other.requests

    def test_the_environment_names_no_proxy(self, monkeypatch):
        """Images go to the address that was given, and nowhere else."""
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        with lying_server(GOOD) as server:
            assert 200 == ask(server.url).status

    @pytest.mark.skipif(not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"), reason="no IPv6 here")
    def test_version_6_of_ip(self):
        """An address in brackets."""
        with lying_server(GOOD, host="::1") as server:
            assert 200 == ask(server.url).status

    def test_nobody_there_is_said(self):
        """A port where nothing listens: the system's reason, and what to do."""
        with lying_server(GOOD) as server:
            pass
        with pytest.raises(NoAnswerError, match=r"No answer from http://127\.0\.0\.1:.*Connect.*start `lince serve`"):
            ask(server.url)

    def test_the_reason_of_several_addresses(self):
        """Where a name has several, and none answers, the first reason stands for all."""
        group = ExceptionGroup("several", [ConnectionRefusedError(111, "refused"), OSError("other")])
        outer = OSError("All connection attempts failed")
        outer.__cause__ = group
        assert ["[Errno 111] refused", "KeyError"] == [_reason(outer), _reason(KeyError())]


@pytest.mark.skipif(not shutil.which("openssl"), reason="no program here that makes a certificate")
def test_certificates_are_checked(tmp_path, monkeypatch):
    """A server whose certificate nobody vouches for gets no image, until SSL_CERT_FILE names it."""
    made, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    options = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", made]
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", *map(str, options)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    (tmp_path / "both.pem").write_bytes(key.read_bytes() + made.read_bytes())
    with serve(FakeLince(), certificate=tmp_path / "both.pem") as url:
        with pytest.raises(NoAnswerError, match="certificate verify failed"):
            ask(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(made))
        assert 200 == ask(url).status


class TestArguments:
    @pytest.mark.parametrize(
        "url",
        [
            *("127.0.0.1:8000", "ftp://host/", "http://", "http://host:port", "http://[::1", "http://host:0", "x"),
            *("http://host:99999", "http://a..b", "http://host\n", "http://host/?a=b", "http://host/#a", "http://\0"),
            f"http://{'a' * 70}",
        ],
    )
    def test_what_is_no_address_is_refused(self, url: str):
        """An address begins with http:// or https://, and has no query."""
        with pytest.raises(
            ServiceError, match=r"Received '.*'\. Expected the address of a server, such as 'http://127"
        ):
            ask(url)

    def test_a_password_in_an_address_is_refused(self):
        """It would be sent, and be seen in errors; the sentence does not repeat it."""
        with pytest.raises(ServiceError, match=r"user name or a password. Expected none: use `api_key`") as caught:
            ask("http://user:secret@127.0.0.1:8000")
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("key", ["", "secret\r\nX: y", "sécret", "two words"])
    def test_a_key_that_is_no_header_is_refused(self, key: str):
        """The sentence does not show it."""
        with pytest.raises(LinceError, match="Received an API key with") as caught:
            ask("http://127.0.0.1:8000", api_key=key)
        assert "cret" not in str(caught.value)

    @pytest.mark.parametrize(
        "wrong", [{"timeout_s": 0}, {"timeout_s": float("nan")}, {"timeout_s": float("inf")}, {"retries": -1}]
    )
    def test_bounds_are_bounds(self, wrong: dict[str, float]):
        """Some time, and no negative number of retries."""
        with pytest.raises(LinceError, match=r"Received timeout_s=.* and retries=.*Expected seconds above 0"):
            ask("http://127.0.0.1:8000", **wrong)
