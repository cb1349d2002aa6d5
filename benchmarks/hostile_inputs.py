"""Does bad input ever break the service? 1,000 damaged, hostile or wrong requests against the real server.

    python benchmarks/hostile_inputs.py [--inputs 1000] [--seed 0]

Each must get a 4xx with a code and a message; between them come pictures that are valid and as heavy as the limits
allow. The last line of stdout is one JSON object; the exit code is 1 when anything was answered otherwise.
"""

import argparse
import json
import os
import re
import socket
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
from hostile_requests import KINDS, Input, encoded, heavy_pictures
from server_process import running_server

_CLIENTS = 8
_TIMEOUT_S = 60


def exchange(port: int, data: bytes) -> tuple[int, dict]:
    """Sends bytes, and reads status and JSON of the answer; status 0 when the connection ends without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as connection:
        received = b""
        with suppress(ConnectionError):  # the server may have said its word already: read it
            connection.sendall(data)
        with suppress(ConnectionError):
            while not _is_whole(received) and (piece := connection.recv(65_536)):
                received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    return (int(head.split(b" ", 2)[1]), json.loads(body or b"{}")) if _is_whole(received) else (0, {})


def _is_whole(answer: bytes) -> bool:
    head, separator, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"^content-length: (\d+)\r?$", head, re.IGNORECASE | re.MULTILINE)
    return bool(separator and length and len(body) >= int(length[1]))


def is_clear(status: int, answer: dict) -> bool:
    """Whether this is how a refusal should look."""
    error = answer.get("error", {})
    return 400 <= status < 500 and set(error) == {"code", "message"} and len(error["message"]) > 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kinds = [list(KINDS)[index % len(KINDS)] for index in range(options.inputs)]
    start = time.perf_counter()
    with running_server() as server, ThreadPoolExecutor(_CLIENTS) as clients:
        exchange(server.port, Input(encoded(np.random.default_rng(options.seed), "PNG")).to_bytes())
        before = server.memory_bytes()

        def ask(index: int) -> tuple[int, dict]:
            rng = np.random.default_rng((options.seed, index))
            return exchange(server.port, KINDS[kinds[index]](rng).to_bytes())

        heavy = [clients.submit(exchange, server.port, picture.to_bytes()) for picture in heavy_pictures() * 3]
        answers = list(clients.map(ask, range(options.inputs)))
        heavy_statuses = [answer.result()[0] for answer in heavy]
        after, highest = server.memory_bytes(), server.memory_bytes("VmHWM")
        log = server.log.read_text()
    unclear = [(kind, *answer) for kind, answer in zip(kinds, answers, strict=True) if not is_clear(*answer)]
    for case in unclear[:20]:
        sys.stderr.write(f"not a clear 4xx: {str(case)[:500]}\n")
    statuses = Counter(status for status, _ in answers)
    result = {
        "inputs": options.inputs,
        "kinds": len(KINDS),
        "by_status": {str(status): count for status, count in sorted(statuses.items())},
        "five_xx": sum(count for status, count in statuses.items() if status >= 500),
        "not_a_clear_4xx": len(unclear),
        "heavy_valid_pictures": dict(Counter(map(str, heavy_statuses))),
        "tracebacks_in_log": log.count("Traceback"),
        "rss_before_mb": round(before / 2**20, 1),
        "rss_after_mb": round(after / 2**20, 1),
        "max_rss_mb": round(highest / 2**20, 1),
        "seconds": round(time.perf_counter() - start, 1),
        "cores": os.cpu_count(),
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 1 if unclear or result["tracebacks_in_log"] else 0


if __name__ == "__main__":
    sys.exit(main())
