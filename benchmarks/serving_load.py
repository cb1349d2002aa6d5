"""A service under more load than it can answer.

    python benchmarks/serving_load.py goodput    # 200-answers against connections, and how soon a 503 comes
    python benchmarks/serving_load.py beside     # small images alone, and beside clients with costly requests
    python benchmarks/serving_load.py stop       # SIGTERM while every connection sends costly images

The last line of stdout is one JSON object; the exit code is 1 when a bound is missed. Needs `wrk` for the first two.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import stopping
import wrk
from hostile_http import exchange
from hostile_requests import FORM, Input, black_png, encoded, form
from ordinary_images import photo, saved
from refusals import refusal_times_ms
from server_process import COMMAND, ServerProcess, running_server

_FEW, _MANY = (16, 64, 200), (400, 700)
_SMALL_CLIENTS = _COSTLY_CLIENTS = 4
_GOODPUT_SHARE, _BESIDE_SHARE, _REFUSAL_MS = 0.9, 0.6, 20
_WARM_UP_S = 1


def _small() -> Input:
    return Input(encoded(np.random.default_rng(0), "PNG", 32))


def _costly() -> dict[str, Input]:
    """What the other clients send."""
    medium = saved(photo(1_000, 1_000), "JPEG")
    return {
        "png_25mp": Input(black_png(5_000, 5_000, colour=2)),
        "png_1.9mp": Input(saved(photo(1_600, 1_187), "PNG", compress_level=1)),
        "form_32_medium": Input(form(*[("file", medium)] * 32), FORM),
        "explain": replace(_small(), path="/explain"),
    }


def goodput(server: ServerProcess, rounds: int, seconds: float) -> dict:
    """Medians of rounds in which the cases take turns, so that other work on the machine affects all of them."""
    wrk.load(server.port, _small(), 16, _WARM_UP_S)
    loads: dict[int, list[wrk.Load]] = {connections: [] for connections in (*_FEW, *_MANY)}
    waited: dict[int, list[float]] = {connections: [] for connections in _MANY}
    probes: Counter[str] = Counter()
    for _ in range(rounds):
        for connections, found in loads.items():
            found.append(wrk.load(server.port, _small(), connections, seconds))
        for connections, times in waited.items():
            with wrk.loading(server.port, _small(), connections, seconds + _WARM_UP_S):
                time.sleep(_WARM_UP_S / 2)
                times += refusal_times_ms(server.port, _small(), seconds, probes)
    rates = {connections: statistics.median(load.ok_rate for load in found) for connections, found in loads.items()}
    best = max(rates[connections] for connections in _FEW)
    return {
        "ok_per_s": {str(connections): round(rate, 1) for connections, rate in rates.items()},
        "busy_per_s": {
            str(connections): round(statistics.median(load.busy / load.seconds for load in found), 1)
            for connections, found in loads.items()
        },
        "of_best": {str(connections): round(rates[connections] / best, 3) for connections in _MANY},
        "probes_not_refused": probes,
        "refusal_ms": {str(connections): _quantiles(times) for connections, times in waited.items()},
        "other": sum(load.other for found in loads.values() for load in found),
        "broken": sum(load.broken for found in loads.values() for load in found),
        "kept": all(rates[connections] >= _GOODPUT_SHARE * best for connections in _MANY)
        and all(times and _share_in_time(times) >= 0.5 for times in waited.values()),
    }


def _share_in_time(times: list[float]) -> float:
    return sum(value <= _REFUSAL_MS for value in times) / len(times)


def _quantiles(times: list[float]) -> dict:
    """Quantiles of the times. They include pauses before the service reads, which a client cannot tell from work."""
    if not times:
        return {"count": 0}
    median, p99 = np.percentile(times, [50, 99])
    return {
        "count": len(times),
        "median": round(float(median), 2),
        "p99": round(float(p99), 2),
        "within_20_ms": round(_share_in_time(times), 3),
    }


def beside(server: ServerProcess, rounds: int, seconds: float) -> dict:
    """Four clients with small images, alone and then beside four of each kind. Ratios are taken within a round."""
    small = _small()
    wrk.load(server.port, small, _SMALL_CLIENTS, _WARM_UP_S)
    neighbours = _costly()
    ratios: dict[str, list[float]] = {name: [] for name in neighbours}
    loads: dict[str, list[wrk.Load]] = {name: [] for name in ("alone", *neighbours)}
    others: dict[str, list[wrk.Load]] = {name: [] for name in neighbours}
    for _ in range(rounds):
        alone = wrk.load(server.port, small, _SMALL_CLIENTS, seconds)
        loads["alone"].append(alone)
        for name, request in neighbours.items():
            with wrk.loading(server.port, request, _COSTLY_CLIENTS, seconds + 2 * _WARM_UP_S) as neighbour:
                time.sleep(_WARM_UP_S)
                found = wrk.load(server.port, small, _SMALL_CLIENTS, seconds)
            loads[name].append(found)
            others[name] += neighbour
            ratios[name].append(found.ok_rate / alone.ok_rate)
            _drain(server, small)
    medians = {name: round(statistics.median(values), 3) for name, values in ratios.items()}
    return {
        "ok_per_s": {name: round(statistics.median(x.ok_rate for x in found), 1) for name, found in loads.items()},
        "of_alone": medians,
        "of_alone_rounds": {name: [round(value, 3) for value in values] for name, values in ratios.items()},
        "p99_ms": {name: round(statistics.median(x.p99_ms for x in found), 1) for name, found in loads.items()},
        "busy": {name: sum(x.busy for x in found) for name, found in loads.items()},
        # A neighbour whose pictures are all refused is none: then nothing was shown.
        "neighbours": {name: _sums(found) for name, found in others.items()},
        "kept": medians["png_25mp"] >= _BESIDE_SHARE and _sums(others["png_25mp"])["ok"] > 0,
    }


def _sums(found: list[wrk.Load]) -> dict[str, int]:
    return {field: sum(getattr(load, field) for load in found) for field in ("ok", "busy", "other", "broken")}


def _drain(server: ServerProcess, small: Input) -> None:
    """Waits until the requests of the other clients are finished."""
    for _ in range(3):
        exchange(server.port, small.to_bytes())
        time.sleep(0.3)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("question", choices=["goodput", "beside", "stop"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--connections", type=int, default=64, help="of the attackers, for `stop`")
    parser.add_argument("--server", default=COMMAND[0], help="the `lince` of another version, to compare")
    options = parser.parse_args()
    command = [options.server, *COMMAND[1:]]
    if options.question == "stop":
        stops = [asdict(stop) for stop in stopping.stops(command, options.connections, options.rounds)]
        result = {"stops": stops, "kept": all(stop["kept"] for stop in stops)}
    else:
        with running_server(command=command) as server:
            question = {"goodput": goodput, "beside": beside}[options.question]
            result = question(server, options.rounds, options.seconds)
    result = {"question": options.question, "rounds": options.rounds, "cores": os.cpu_count()} | result
    sys.stdout.write(json.dumps(result) + "\n")
    return 0 if result["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
