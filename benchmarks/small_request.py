"""What does a small request cost this version and another one? The two alternate on the same cores.

    python benchmarks/small_request.py --other PATH_OF_lince [--model MODEL] [--rounds 7] [--seconds 4]

The last line of stdout is one JSON object; the exit code is 1 when this version answers less than 0.97 of the other's
requests. Needs `wrk`.
"""

import argparse
import json
import os
import statistics
import sys

import numpy as np
import wrk
from hostile_requests import Input, encoded
from server_process import COMMAND, running_server

_SHARE = 0.97
_CONNECTIONS = 16
_SIDE = 28  # a PNG of noise with 2.4 kB


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--other", required=True, help="the `lince` of the version to compare with")
    parser.add_argument("--model", help="a model file for both; the one that ships otherwise")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    settings = {"model": options.model} if options.model else {}
    request = Input(encoded(np.random.default_rng(0), "PNG", _SIDE))
    loads: dict[str, list[wrk.Load]] = {"this": [], "other": []}
    with (
        running_server(**settings) as this,
        running_server(command=[options.other, *COMMAND[1:]], **settings) as other,
    ):
        for server in (this, other):
            wrk.load(server.port, request, _CONNECTIONS, 1)
        for _ in range(options.rounds):
            for name, server in (("this", this), ("other", other)):
                loads[name].append(wrk.load(server.port, request, _CONNECTIONS, options.seconds))
    ratios = [mine.ok_rate / theirs.ok_rate for mine, theirs in zip(loads["this"], loads["other"], strict=True)]
    result = {
        "requests_per_s": {
            name: round(statistics.median(x.ok_rate for x in found), 1) for name, found in loads.items()
        },
        "p99_ms": {name: round(statistics.median(x.p99_ms for x in found), 2) for name, found in loads.items()},
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "body_bytes": len(request.body),
        "connections": _CONNECTIONS,
        "rounds": options.rounds,
        "cores": os.cpu_count(),
        "kept": statistics.median(ratios) >= _SHARE,
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 0 if result["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
