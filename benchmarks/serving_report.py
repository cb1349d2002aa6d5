"""Writes `docs/benchmarks.md`: the service beside other servers, under load and over time.

    make .venv/peers/ready
    python benchmarks/serving_report.py RESULTS [--machine "2 cores of …"]

RESULTS is a folder for the results of the programs. One that is there already is not measured again, so an interrupted
run goes on. It takes 30 minutes, and needs an idle machine and `wrk`.
"""

import argparse
import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_PAGE = _HERE.parent / "docs" / "benchmarks.md"
_PROGRAMS = {
    "tiny": ["serving_peers.py", "--model", "cifar10-tiny"],
    "shipped": ["serving_peers.py", "--model", "cifar10"],
    "workers": ["serving_scale.py", "workers"],
    "batch": ["serving_scale.py", "batch"],
    "beside": ["serving_load.py", "beside"],
    "footprint": ["service_footprint.py"],
    "swaps": ["model_swaps.py"],
    "faults": ["service_faults.py"],
}


def _result(name: str, folder: Path) -> dict[str, Any]:
    """The JSON that a program prints last, measured now unless it is kept in the folder."""
    kept = folder / f"{name}.json"
    if not kept.exists():
        program, *arguments = _PROGRAMS[name]
        command = [sys.executable, _HERE / program, *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        kept.write_text(done.stdout.splitlines()[-1] + "\n")
    found: dict[str, Any] = json.loads(kept.read_text())
    return found


def _peers(title: str, found: dict[str, Any]) -> str:
    rows = [
        "| server | requests/s | p99 ms | CPU µs a request | peak MB | Lince's requests/s to it | Lince's p99 to it |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in found["servers"].items():
        ratio = found["lince_to"].get(name)
        both = [_of(ratio["requests"]), _of(ratio["p99"])] if ratio else ["", ""]
        figures = [one["requests_per_s"], one["p99_ms"], one["cpu_us"], one["peak_mb"]]
        rows.append(f"| {name} | {' | '.join(map(str, [*figures, *both]))} |")
    many = _of(found["lince_at_256_to_16"])
    table = "\n".join(rows)
    return f"## {title}\n\n{table}\n\nRequests/s of Lince with 256 connections to those with 16: {many}.\n"


def _of(ratio: dict[str, Any]) -> str:
    return f"{ratio['median']:.2f} ({min(ratio['rounds']):.2f} to {max(ratio['rounds']):.2f})"


def _fault(name: str, found: dict[str, Any]) -> str:
    counts = " | ".join(f"{found[kind]:,}" for kind in ("ok", "busy", "other", "broken"))
    besides = "; ".join(
        f"{key.replace('_', ' ')} {', '.join(value) if isinstance(value, list) else value}"
        for key, value in found.items()
        if key not in ("ok", "busy", "other", "broken", "kept")
    )
    return f"| {name.replace('_', ' ')} | {counts} | {besides} | {'yes' if found['kept'] else '**no**'} |"


def page(results: dict[str, dict[str, Any]], machine: str) -> str:
    """The page, in Markdown."""
    beside, workers, batch = results["beside"], results["workers"], results["batch"]
    start, swaps = results["footprint"], results["swaps"]
    shares = "\n".join(f"| {name} | {share} | {beside['p99_ms'][name]} |" for name, share in beside["of_alone"].items())
    cpu, images, seconds, memory = workers["cpu_us"], batch["images_per_s"], swaps["swap_s"], swaps["memory_mb"]
    more = {
        "CPU µs a request with one worker, and with two": f"{cpu['1']}, {cpu['2']}: {workers['cpu_ratio']} ×",
        "both cores busy, two workers": f"{100 * workers['cores_busy']:.1f} %",
        "images/s of binary batches of 64, and of LiteRT's own loop on one thread": (
            f"{images['service']:,}, {images['runtime']:,}: {batch['ratio']} × "
            f"({batch['ratio_on_one_thread']} × with `LINCE_THREADS=1`)"
        ),
        "seconds from start to ready": start["start_to_ready_s"],
        "resident MB of a worker, ready, and after 200 requests": (
            f"{start['rss_ready_mb']}, {start['rss_after_200_requests_mb']}"
        ),
        f"failed requests in {swaps['swaps']} swaps of a model under load, {swaps['workers']} workers": (
            f"{swaps['failures']} of {sum(swaps['answers'].values()):,}"
        ),
        "seconds until the last worker has switched": f"{seconds['median']}, at most {seconds['longest']}",
        "MB before and after the swaps": f"{memory['settled']}, {memory['end']}",
    }
    rows = "\n".join(f"| {name} | {value} |" for name, value in more.items())
    faults = "\n".join(_fault(name, found) for name, found in results["faults"].items() if name != "cores")
    return f"""# The service, measured

{datetime.date.today()}, {machine}. `python benchmarks/serving_report.py RESULTS` writes this page. One worker, 16
connections from `wrk` on the same cores, a PNG of 2.4 kB, medians of rounds in turns. Ratios are within a round:
median, and least to most. Peers answer label and probabilities, and bound nothing. Lince serves as it is installed.

{_peers("`cifar10-tiny`, a network of 0.08 ms", results["tiny"])}
{_peers("`cifar10`, a network of 0.75 ms", results["shipped"])}
## Beside costly requests

Four clients with small pictures, beside four clients of each kind: their share of the requests/s that they have alone.
Their p99 alone is {beside["p99_ms"]["alone"]} ms.

| beside | share | p99 ms |
|---|---|---|
{shares}

## More

| what | measured |
|---|---|
{rows}

## While things fail

`benchmarks/service_faults.py` says what happens in each case, and what must hold. Of the answers, "late or broken" are
those that came after 2 s, and those of connections that broke.

| case | 200 | 503 | others | late or broken | besides | holds |
|---|---|---|---|---|---|---|
{faults}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="a folder, which is made")
    parser.add_argument("--machine", default="a machine that was not named")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    results = {name: _result(name, options.results) for name in _PROGRAMS}
    _PAGE.write_text(page(results, options.machine), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
