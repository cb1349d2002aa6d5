"""Swaps of a model under load: does a request fail, how soon have all workers switched, does memory grow?

    python benchmarks/model_swaps.py [--swaps 100] [--workers 2] [--connections 16]

A folder holds two versions of a model, and each swap is one call. The last line of stdout is one JSON object; the exit
code is 1 when a request fails, a swap takes more than two seconds, or memory grows by more than a tenth.
"""

import argparse
import http.client
import json
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from hostile_requests import encoded
from server_process import ServerProcess, running_server

from lince.model_file import artifact
from lince.serving.api_keys import new_key

_IN_TIME_S, _GROWTH = 2.0, 1.1
_WATCHED_S = 2.5  # after each call
_SETTLED = 10  # swaps after which memory is measured for the first time


@dataclass
class _Clients:
    """What the clients that ask all the time have got, with a key that may swap models."""

    headers: dict[str, str]
    answers: Counter[str] = field(default_factory=Counter)
    last: dict[str, float] = field(default_factory=dict)  # when each version answered last, on any connection
    failures: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def ask(self, port: int) -> None:
        picture = encoded(np.random.default_rng(0), "PNG", 32)
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            self._ask(connection, picture)

    def _ask(self, connection: http.client.HTTPConnection, picture: bytes) -> None:
        while not self.stop.is_set():
            try:
                connection.request("POST", "/predict", picture, {"Content-Type": "image/png"} | self.headers)
                response = connection.getresponse()
                body = response.read()
                if response.status != 200:
                    self.failures.append(f"{response.status} {body[:200]!r}")
                else:
                    version = json.loads(body)["model"]["version"]
                    self.answers[version] += 1
                    self.last[version] = time.monotonic()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()


def _swap(port: int, new: str, old: str, clients: _Clients) -> float:
    """Seconds from the call until the last answer of the old version, on the connections to all workers."""
    start = time.monotonic()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        body = json.dumps({"parameters": {"version": new}})
        connection.request("POST", "/v2/repository/models/m/load", body, clients.headers)
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"{response.status} {response.read()[:500]!r}")
    time.sleep(_WATCHED_S)
    return max(0.0, clients.last.get(old, start) - start)


def _memory_bytes(server: ServerProcess) -> int:
    """Of all processes of the service, resident."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in (server.process.pid, *children)]
    return sum(pages) * 4096


def swaps(count: int, *, workers: int, connections: int) -> dict:
    """Swaps a model so many times while clients ask."""
    shipped = artifact.shipped_models()
    with tempfile.TemporaryDirectory() as folder:
        versions = []
        Path(folder, "m").mkdir()
        for number, name in enumerate(("cifar10-tiny", "cifar10"), 1):
            shutil.copy(shipped[name], Path(folder, "m", f"{number}.tflite"))
            versions.append(artifact.read(shipped[name]).manifest.version)
        key, line = new_key("swaps", "admin")
        Path(folder, "keys.txt").write_text(line)
        with running_server(models=folder, workers=workers, api_keys=Path(folder, "keys.txt")) as server:
            clients = _Clients({"Authorization": f"Bearer {key}"})
            threads = [threading.Thread(target=clients.ask, args=(server.port,)) for _ in range(connections)]
            for thread in threads:
                thread.start()
            seconds, memory = [], []
            for number in range(count):
                new, old = versions[number % 2], versions[1 - number % 2]
                seconds.append(_swap(server.port, new, old, clients))
                memory.append(_memory_bytes(server))
            clients.stop.set()
            for thread in threads:
                thread.join()
    first, last = memory[min(_SETTLED, count) - 1], statistics.median(memory[-5:])
    return {
        "swaps": count,
        "workers": workers,
        "connections": connections,
        "answers": dict(clients.answers),
        "failures": len(clients.failures),
        "first_failures": clients.failures[:3],
        "swap_s": {"median": round(statistics.median(seconds), 3), "longest": round(max(seconds), 3)},
        "memory_mb": {"settled": round(first / 1e6, 1), "end": round(last / 1e6, 1)},
        "kept": not clients.failures and max(seconds) <= _IN_TIME_S and last <= _GROWTH * first,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    result = swaps(options.swaps, workers=options.workers, connections=options.connections)
    sys.stdout.write(json.dumps(result) + "\n")
    return 0 if result["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
