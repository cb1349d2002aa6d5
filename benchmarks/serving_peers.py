"""Lince beside other servers: the same int8 file, the same PNG of 2.4 kB, in turns on the same cores.

    make .venv/peers/ready
    python benchmarks/serving_peers.py [--model cifar10-tiny] [--rounds 5] [--seconds 3]

Peers answer label and probabilities, and have no bounds; Lince serves as it is installed. All run one worker. Each
round has each server once with 16 connections. The last line of stdout is one JSON object: medians, and the medians of
ratios within a round. Needs `wrk`, and an idle machine.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import wrk
from hostile_requests import Input, encoded
from process_tree import cpu_s, processes
from server_process import free_port, running_server

from lince.model_file import artifact

_HERE = Path(__file__).parent
_BIN = _HERE.parent / ".venv" / "peers" / "bin"
_CONNECTIONS, _MANY = 16, 256
_SIDE = 28  # a PNG of noise with 2.4 kB
_START_S = 60
_REST_S = 1  # the requests of a crowd that has gone are answered meanwhile
_PEERS = {
    "fastapi_inline": ["uvicorn", "peers.fastapi_peer:app", "--no-access-log", "--log-level", "warning", "--port"],
    "granian": ["granian", "--interface", "asgi", "--workers", "1", "--no-ws", "peers.asgi_peer:app", "--port"],
    "mosec": ["python", "-m", "peers.mosec_peer", "--port"],
}
_PATHS = {"mosec": "/inference"}


@dataclass(frozen=True)
class _Server:
    """A server that is ready; `pid` is of its first process."""

    port: int
    pid: int
    path: str = "/predict"


@contextmanager
def _peer(name: str, model: Path) -> Iterator[_Server]:
    port = free_port()
    program, *arguments = _PEERS[name]
    environment = os.environ | {"PEER_MODEL": str(model), "PYTHONPATH": str(_HERE)}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([_BIN / program, *arguments, str(port)], env=environment, stdout=log, stderr=log)
        try:
            _wait(port)
            yield _Server(port, process.pid, _PATHS.get(name, "/predict"))
        finally:
            process.terminate()
            process.wait(20)


@contextmanager
def _lince(model: Path) -> Iterator[_Server]:
    with running_server(model=model) as server:
        yield _Server(server.port, server.process.pid)


def _wait(port: int) -> None:
    """Waits until the port is listened on."""
    end = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _peak_mb(pid: int) -> float:
    """Resident memory at its highest, of all processes."""
    lines = [line for one in processes(pid) for line in Path(f"/proc/{one}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3


def _agree(servers: dict[str, _Server], request: Input) -> None:
    """Refuses to compare servers that answer differently."""
    labels = {}
    for name, server in servers.items():
        url = f"http://127.0.0.1:{server.port}{server.path}"
        with urllib.request.urlopen(urllib.request.Request(url, request.body, request.headers), timeout=30) as answer:
            content = json.load(answer)
        labels[name] = content["label"] if "label" in content else content["predictions"][0]["label"]
    if len(set(labels.values())) > 1:
        raise SystemExit(f"The servers answer differently: {labels}.")


def compare(model: Path, names: Sequence[str], *, rounds: int, seconds: float) -> dict:
    """Medians and ratios of all servers."""
    request = Input(encoded(np.random.default_rng(0), "PNG", _SIDE))
    loads: dict[str, list[wrk.Load]] = {name: [] for name in ("lince", *names)}
    cpu_us: dict[str, list[float]] = {name: [] for name in loads}
    many: list[float] = []
    with ExitStack() as stack:
        servers = {"lince": stack.enter_context(_lince(model))}
        servers |= {name: stack.enter_context(_peer(name, model)) for name in names}
        _agree(servers, request)
        for server in servers.values():
            wrk.load(server.port, replace(request, path=server.path), _CONNECTIONS, 1)
        for _ in range(rounds):
            for name, server in servers.items():
                before = cpu_s(server.pid)
                found = wrk.load(server.port, replace(request, path=server.path), _CONNECTIONS, seconds)
                cpu_us[name].append((cpu_s(server.pid) - before) / found.ok * 1e6)
                loads[name].append(found)
            crowd = wrk.load(servers["lince"].port, request, _MANY, seconds)
            many.append(crowd.ok_rate / loads["lince"][-1].ok_rate)
            time.sleep(_REST_S)
        memory = {name: round(_peak_mb(server.pid), 1) for name, server in servers.items()}
    table = {
        name: {
            "requests_per_s": round(statistics.median(x.ok_rate for x in found), 1),
            "p99_ms": round(statistics.median(x.p99_ms for x in found), 2),
            "cpu_us": round(statistics.median(cpu_us[name])),
            "peak_mb": memory[name],
            "not_ok": sum(x.busy + x.other + x.broken for x in found),
        }
        for name, found in loads.items()
    }
    ratios = {
        name: {
            "requests": _median_ratio([x.ok_rate for x in loads["lince"]], [x.ok_rate for x in loads[name]]),
            "p99": _median_ratio([x.p99_ms for x in loads["lince"]], [x.p99_ms for x in loads[name]]),
        }
        for name in names
    }
    return {"servers": table, "lince_to": ratios, f"lince_at_{_MANY}_to_{_CONNECTIONS}": _rounded(many)}


def _median_ratio(mine: Sequence[float], theirs: Sequence[float]) -> dict:
    return _rounded([one / other for one, other in zip(mine, theirs, strict=True)])


def _rounded(values: Sequence[float]) -> dict:
    return {"median": round(statistics.median(values), 3), "rounds": [round(value, 3) for value in values]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="cifar10-tiny", help="a model file, or a model that ships")
    parser.add_argument("--peers", nargs="*", choices=_PEERS, default=list(_PEERS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    found = compare(artifact.locate(options.model), options.peers, rounds=options.rounds, seconds=options.seconds)
    about = {"model": options.model, "rounds": options.rounds, "seconds": options.seconds, "cores": os.cpu_count()}
    sys.stdout.write(json.dumps(about | found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
