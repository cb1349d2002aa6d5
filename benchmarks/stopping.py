"""SIGTERM while a service is under attack: how soon does it end, and what does each request get?"""

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from hostile_images import COSTLY
from hostile_requests import FORM, Input, form
from server_process import ServerProcess, running_server

_ATTACK_S = 3
_SHUTDOWN_S = 10
_GRACE_S = 2
_GIVE_UP_S = 60
_IMAGES = ("jpeg_refined_2mp", "bmp_rle8_padded_2mp", "png_rgba_paeth", "png_deflate_blocks")


@dataclass(frozen=True)
class Stop:
    """The result of one stop; `answers` came after the signal, to requests that were sent before it."""

    kind: str
    seconds: float
    killed: bool
    exit_code: int | None
    answers: dict[str, int]
    answers_before: dict[str, int]
    tracebacks: int
    kept: bool


def stops(command: Sequence[str], connections: int, rounds: int) -> list[Stop]:
    """Stops a new service for each kind, `rounds` times."""
    kinds = {name: Input(COSTLY[name]()) for name in _IMAGES}
    kinds["form_32_bmp"] = Input(form(*[("file", COSTLY["bmp_rle8_padded_2mp"]())] * 32), FORM)
    return [_stop(name, request, command, connections) for _ in range(rounds) for name, request in kinds.items()]


def _stop(name: str, request: Input, command: Sequence[str], connections: int) -> Stop:
    with running_server(command=command, shutdown_s=_SHUTDOWN_S) as server:
        seconds, killed, before, after = asyncio.run(_attack(server, request, connections))
        tracebacks = server.log.read_bytes().count(b"Traceback")
    good = not killed and seconds <= _SHUTDOWN_S + _GRACE_S and not tracebacks
    clean = not any(word.startswith(("no JSON", "lost")) for word in after)
    code = server.process.returncode
    return Stop(name, round(seconds, 2), killed, code, dict(after), dict(before), tracebacks, good and clean)


async def _attack(server: ServerProcess, request: Input, connections: int) -> tuple[float, bool, Counter, Counter]:
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    stopped = asyncio.Event()
    data = request.to_bytes().replace(b"Connection: close\r\n", b"")
    clients = [asyncio.create_task(_client(server.port, data, stopped, before, after)) for _ in range(connections)]
    await asyncio.sleep(_ATTACK_S)
    start = time.monotonic()
    stopped.set()
    server.process.send_signal(signal.SIGTERM)
    while server.process.poll() is None and time.monotonic() < start + _GIVE_UP_S:
        await asyncio.sleep(0.01)
    seconds, killed = time.monotonic() - start, server.process.poll() is None
    if killed:
        server.process.kill()
    await asyncio.wait(clients, timeout=5)
    for client in clients:
        client.cancel()
    return seconds, killed, before, after


async def _client(port: int, data: bytes, stopped: asyncio.Event, before: Counter, after: Counter) -> None:
    """Sends one body after the other; what is sent before the signal is what a stop has to answer for."""
    while not stopped.is_set():
        word = await _exchange(port, data, stopped)
        (after if stopped.is_set() else before)[word] += 1
        if not word.startswith("200"):
            await asyncio.sleep(0.05)  # an attacker that never pauses would measure this client


async def _exchange(port: int, data: bytes, stopped: asyncio.Event) -> str:
    """The answer in a word; `lost` is a whole request, sent before the signal, that got no answer."""
    state = "not connected"
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        state = "sent too late" if stopped.is_set() else "lost"
        with closing(writer):
            writer.write(data)
            await writer.drain()
            state = "sent too late" if stopped.is_set() else state
            return _word(*await _answer(reader))
    except (OSError, asyncio.IncompleteReadError) as error:
        return f"{state}: {type(error).__name__}"


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
    )
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)


def _word(status: int, body: bytes) -> str:
    try:
        return f"{status} {json.loads(body).get('error', {}).get('code', '')}".strip()
    except ValueError:
        return f"no JSON: {status} {body[:40]!r}"
