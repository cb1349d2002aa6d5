"""Loads maliciously altered model files and runs them: how many end the process that loads them?

    python benchmarks/model_mutants.py --mutants 10000 --processes 2 [--model FILE ...]

Mutants are those of `mutate_model.py`, of the model that ships unless others are named. Each batch has a process of its
own, which decodes and loads its mutants. A mutant that loads answers its golden images and random ones, because
overwritten memory may show only later. MALLOC_PERTURB_=165 and MALLOC_CHECK_=3 in the environment make glibc detect
more. The last line of stdout is one JSON object: mutants, how many were refused and how many loaded, crashes of the
processes, seconds. The exit code is 1 when there were crashes. A crash is reported on stderr by its model, seed and
number.
"""

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from lince.errors import LinceError
from lince.inference.classifier import Classifier
from lince.model_file import artifact

REFUSED, LOADED = "refused", "loaded"
_PATIENCE_S = 120  # for one mutant


def main() -> int:
    """Runs mutants; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, action="append", help="a sound model file; may be repeated")
    parser.add_argument("--mutants", type=int, default=10_000, help="of each model")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", type=int, nargs=2, metavar=("FIRST", "END"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    models = options.model or [artifact.locate(artifact.SHIPPED)]
    if options.worker:
        _work(models[0], options.seed, range(*options.worker))
        return 0
    began = time.perf_counter()
    found: Counter[str] = Counter()
    for model in models:
        with ThreadPoolExecutor(options.processes) as pool:
            for counts in pool.map(lambda part, of=model: run(of, options.seed, part), _parts(options)):
                found += counts
    crashes = {kind: count for kind, count in found.items() if kind not in {REFUSED, LOADED}}
    for crash in crashes:
        print(crash, file=sys.stderr)
    result = {
        "models": len(models),
        "mutants": found.total(),
        "refused": found[REFUSED],
        "loaded": found[LOADED],
        "crashes": sum(crashes.values()),
        "seconds": round(time.perf_counter() - began, 1),
    }
    print(json.dumps(result))
    return 1 if crashes else 0


def run(model: Path, seed: int, numbers: range) -> Counter[str]:
    """The outcome of each mutant: `refused`, `loaded`, or a line for each that ended its process."""
    found: Counter[str] = Counter()
    first = numbers.start
    while first < numbers.stop:
        for number, outcome in _batch(model, seed, range(first, numbers.stop)):
            found[outcome] += 1
            first = number + 1
    return found


def _batch(model: Path, seed: int, numbers: range) -> Iterator[tuple[int, str]]:
    """Outcomes from one process, until it has finished or crashed."""
    command = [sys.executable, __file__, "--model", model, "--seed", seed, "--worker", numbers.start, numbers.stop]
    number = numbers.start
    with subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for number in numbers:
            outcome = process.stdout.readline().strip()
            if not outcome:
                break
            yield number, outcome
        _, complaint = process.communicate(timeout=_PATIENCE_S)
    if process.returncode:
        last = (complaint.strip().splitlines() or [""])[-1][:300]
        yield number, f"{model} seed {seed} mutant {number}: exit code {process.returncode} {last}"


def _parts(options: argparse.Namespace) -> list[range]:
    ends = np.linspace(0, options.mutants, options.processes + 1).astype(int).tolist()
    return [range(*pair) for pair in itertools.pairwise(ends)]


def _work(path: Path, seed: int, numbers: range) -> None:
    """Loads mutants, and prints one line for each on stdout once it has answered."""
    from mutate_model import Mutants

    mutants = Mutants(artifact.read(path), seed)
    random = np.random.default_rng(seed).integers(0, 256, (4, *mutants.sound.golden.images.shape[1:]), np.uint8)
    images = np.concatenate([mutants.sound.golden.images[:4], random])
    for number in numbers:
        print(_outcome(mutants.file(number), images), flush=True)


def _outcome(data: bytes, images: np.ndarray) -> str:
    try:
        classifier = Classifier(artifact.decode(data))  # golden images are skipped: an attacker could replace them
        classifier.predict(images)
    except LinceError:
        return REFUSED
    return LOADED


if __name__ == "__main__":
    sys.exit(main())
