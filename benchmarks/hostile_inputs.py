"""What do bad requests and costly images do to the real server?

    python benchmarks/hostile_inputs.py [--kinds 'requests' '*'] [--server PATH_OF_lince] [--timeout 60]

First it sends damaged and wrong requests: each must get a 4xx with a code and a message. Then it sends every costly
image alone, in a form of 32 (`form_NAME`) and six at once (`crowd_NAME`). It measures CPU and memory of the service
with its children, the answer, and how long /livez did not answer. The last line of stdout is one JSON object; the
exit code is 1 when a bound is exceeded.
"""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import hostile_costs
import numpy as np
from hostile_http import exchange, is_clear
from hostile_requests import KINDS, Input, encoded, heavy_pictures
from server_process import COMMAND, running_server

_CLIENTS = 8


def requests(count: int, seed: int, command: Sequence[str]) -> dict:
    """Damaged and wrong requests, and between them valid pictures that need all the memory that the limits allow."""
    kinds = [list(KINDS)[index % len(KINDS)] for index in range(count)]
    with running_server(command=command) as server, ThreadPoolExecutor(_CLIENTS) as clients:
        exchange(server.port, Input(encoded(np.random.default_rng(seed), "PNG")).to_bytes())

        def ask(index: int) -> tuple[int, dict]:
            return exchange(server.port, KINDS[kinds[index]](np.random.default_rng((seed, index))).to_bytes())

        heavy = [clients.submit(exchange, server.port, picture.to_bytes()) for picture in heavy_pictures() * 3]
        answers = list(clients.map(ask, range(count)))
        statuses = Counter(str(answer.result()[0]) for answer in heavy)
        tracebacks = server.log.read_text().count("Traceback")
    unclear = [(kind, *answer) for kind, answer in zip(kinds, answers, strict=True) if not is_clear(*answer)]
    for case in unclear[:20]:
        sys.stderr.write(f"not a clear 4xx: {str(case)[:500]}\n")
    return {
        "inputs": count,
        "by_status": {str(status): number for status, number in sorted(Counter(a[0] for a in answers).items())},
        "not_a_clear_4xx": len(unclear),
        "heavy_valid_pictures": dict(statuses),
        "tracebacks": tracebacks,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", default=["requests", "*"], help="names or patterns such as 'form_png*'")
    parser.add_argument("--server", default=COMMAND[0], help="the `lince` of another version, to compare")
    parser.add_argument("--timeout", type=float, default=60, help="seconds after which a kind's server is killed")
    options = parser.parse_args()
    command = [options.server, *COMMAND[1:]]
    result: dict = {"cores": os.cpu_count()}
    if "requests" in options.kinds:
        result["requests"] = requests(options.inputs, options.seed, command)
    result |= hostile_costs.summary(hostile_costs.costs(hostile_costs.kinds(options.kinds), command, options.timeout))
    sys.stdout.write(json.dumps(result) + "\n")
    asked = result.get("requests", {})
    return 1 if result.get("exceeded") or asked.get("not_a_clear_4xx") or asked.get("tracebacks") else 0


if __name__ == "__main__":
    sys.exit(main())
