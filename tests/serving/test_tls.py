"""TLS in this process, on asyncio's own event loop: certificates, renewals, and handshakes that take too long."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from tls_client import FIRST, FOLDER, SECOND, anybody, copied, der

from lince.errors import ServiceError
from lince.serving import reloaded_file, tls
from lince.serving.settings import ServeSettings
from lince.serving.tls import TlsListener, certificate


class Echo(asyncio.Protocol):
    """Sends back what it receives."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


def settings(pair: tuple[Path, Path]) -> ServeSettings:
    return ServeSettings(tls_cert=pair[0], tls_key=pair[1])


def serve(test: Callable[[int, TlsListener], Coroutine], pair: tuple[Path, Path] = FIRST, **bounds: float) -> None:
    """Runs a test beside a listener: `test(port, listener)`."""

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as one:
            found = certificate(settings(pair))
            listener = TlsListener(one, Echo, found, **{"timeout_s": 20.0, "most": 100} | bounds)
            await test(one.getsockname()[1], listener)
            await listener.close()

    asyncio.run(run())


async def echoed(port: int) -> bytes:
    """Asks on a new connection; returns the server's certificate."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=anybody())
    writer.write(b"hello")
    assert b"hello" == await reader.readexactly(5)
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return found


async def ends(port: int, data: bytes = b"") -> bool:
    """Whether a client that sends this, and nothing more, is cut off."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        async with asyncio.timeout(10):
            await reader.read()
        return True
    except ConnectionError:
        return True
    finally:
        writer.close()


def client_hello() -> bytes:
    """What a client sends first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        anybody().wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()


def test_without_files_there_is_no_tls():
    """The default."""
    assert certificate(ServeSettings()) is None


@pytest.mark.parametrize(
    ("chain", "key", "words"),
    [
        (FIRST[0], SECOND[1], "does not belong to the certificate"),
        (FIRST[0], FOLDER / "encrypted.key", "is encrypted. Remove its password"),
        (FIRST[1], FIRST[1], "Expected a certificate, with those of its issuers behind it, and its private key"),
        (FIRST[0], FIRST[0], "cannot be used for TLS"),
        (FOLDER / "none.crt", FIRST[1], r"none.crt' of TLS cannot be read \(No such file"),
        (FIRST[0], FOLDER, "cannot be read"),
    ],
)
def test_files_that_cannot_be_used_are_told(chain: Path, key: Path, words: str):
    """Which file, and what was expected; nobody is asked for a password."""
    with pytest.raises(ServiceError, match=words):
        certificate(settings((chain, key)))


@pytest.mark.parametrize("given", ["tls_cert", "tls_key"])
def test_one_file_alone_is_refused(given: str):
    """Neither works without the other."""
    with pytest.raises(ServiceError, match="Expected both, or neither"):
        ServeSettings.read(**{given: FIRST[0]})


def test_a_renewed_certificate_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """To new connections; half of a renewal changes nothing."""
    monkeypatch.setattr(reloaded_file, "LOOK_S", 0.0)
    chain, _ = pair = copied(FIRST, tmp_path)

    async def test(port: int, _: TlsListener) -> None:
        assert der(FIRST[0]) == await echoed(port)
        chain.write_bytes(SECOND[0].read_bytes())
        assert der(FIRST[0]) == await echoed(port)
        copied(SECOND, tmp_path)
        assert der(SECOND[0]) == await echoed(port)

    serve(test, pair)


def test_handshakes_end_in_time():
    """Of clients that send nothing, a part, no end, or another protocol; others are served meanwhile."""
    hello = client_hello()

    async def test(port: int, listener: TlsListener) -> None:
        async with asyncio.TaskGroup() as group:
            parts = (b"", hello[:3], hello[:-1], hello, b"GET / HTTP/1.1\r\n\r\n")
            waiting = [group.create_task(ends(port, part)) for part in parts]
            await echoed(port)
        assert [True] * len(parts) == [one.result() for one in waiting]
        assert not listener.is_shaking

    serve(test, timeout_s=0.5)


def test_handshakes_are_bounded_in_number():
    """One more is cut off at once; those that ended count no longer."""

    async def test(port: int, listener: TlsListener) -> None:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        while len(listener._handshakes) < 2:
            await asyncio.sleep(0.01)
        assert await ends(port)
        for _, writer in silent:
            writer.close()
        while listener.is_shaking:
            await asyncio.sleep(0.01)
        await echoed(port)

    serve(test, most=2)


def test_a_closed_listener_ends_its_handshakes():
    """A client that is in the middle of one is cut off."""

    async def test(port: int, listener: TlsListener) -> None:
        waiting = asyncio.create_task(ends(port, client_hello()))
        while not listener.is_shaking:
            await asyncio.sleep(0.01)
        await listener.close()
        assert await waiting
        assert not listener.is_shaking

    serve(test)


def test_no_descriptor_left_is_no_end(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    """It is logged and tried again; a client that left before it was accepted is passed over."""
    monkeypatch.setattr(tls, "_RETRY_S", 0.0)
    failures = [OSError(24, "Too many open files"), ConnectionAbortedError()]

    async def test(port: int, _: TlsListener) -> None:
        loop = asyncio.get_running_loop()
        accept = loop.sock_accept

        async def failing(one: socket.socket) -> tuple:
            if failures:
                raise failures.pop()
            return await accept(one)

        monkeypatch.setattr(loop, "sock_accept", failing)
        await echoed(port)
        await echoed(port)

    serve(test)
    assert "A connection cannot be accepted (Too many open files)" in caplog.text
