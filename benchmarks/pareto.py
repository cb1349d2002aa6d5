"""What does accuracy cost, in time and in bytes? Model files against each other, in one run, as a picture.

    python benchmarks/pareto.py MODEL… --data DATA --output pareto.png
    python benchmarks/pareto.py runs/*/model.tflite --data DATA --yardstick resnet8 --limits --output pareto.svg

Latency: one image at a time, one thread, without decoding. The models take turns over several rounds, the order
reversed in every other, so that all meet the same machine; the figure is the median of the rounds' medians, its spread
their smallest and largest. Accuracy: the file as it is served, on the test split of DATA, with its 95 % interval.

--yardstick names a model (by its own name, that of its file or of its run folder) to be drawn as a mark to compare
with, not as one of ours. --limits draws the limits that the recipes are held to; those that are a multiple of
ResNet-8's latency are left out unless a yardstick is there: the first one is taken for it. The last line of stdout is
one JSON object.
"""

import argparse
import json
import statistics
import sys
from dataclasses import asdict
from pathlib import Path

from pareto_chart import Limit, Point, draw

from lince import artifact, evaluate, latency, machine, native, subject
from lince.classifier import Network
from lince.errors import LinceError
from lince.files import write_atomically
from lince.records import Interval
from lince.reporting import plots

# What the recipes promise. The bytes of the first two are those of MLPerf Tiny's networks for images, of which ResNet-8
# is the smaller; the rest are round figures of our own.
LIMITS = (
    Limit("tiny", flatbuffer_bytes=98_496, times_yardstick=1),
    Limit("small", flatbuffer_bytes=512_024, times_yardstick=5),
    Limit("default", flatbuffer_bytes=2_200_000, latency_us=1000),
    Limit("best", latency_us=5000),
)


def main() -> int:
    """Measures, draws, and prints."""
    options = _parser().parse_args()
    models = [artifact.locate(model) for model in options.models]
    with native.hushed():
        points = measure(models, options.data, rounds=options.rounds, yardsticks=tuple(options.yardstick))
    figure = draw(points, limits=LIMITS if options.limits else ())
    render = plots.svg_bytes if options.output.suffix == ".svg" else plots.png_bytes
    write_atomically(options.output, render(figure))
    result = {
        "points": [asdict(point) for point in points],
        "data": options.data,
        "rounds": options.rounds,
        "machine": asdict(machine.read()),
        "picture": str(options.output),
    }
    sys.stdout.write(f"{json.dumps(result)}\n")
    return 0


def measure(models: list[Path], source: str, *, rounds: int, yardsticks: tuple[str, ...] = ()) -> list[Point]:
    """Measures every model: latency in turns, then accuracy one after the other.

    Args:
        models: model files.
        source: DATA, as for `lince evaluate`; its test split is read.
        rounds: turns, at least 1.
        yardsticks: names of models, of their files or run folders.

    Raises:
        LinceError: a yardstick is none of the models, or a model cannot be measured on this source.
    """
    opened = [artifact.read(path) for path in models]
    names = [model.manifest.name for model in opened]
    known = [{name, path.stem, path.parent.name} for name, path in zip(names, models, strict=True)]
    if unknown := set(yardsticks) - set().union(*known):
        raise LinceError(f"Received the yardsticks {sorted(unknown)}. Expected names of models, such as {names}.")
    points = []
    for path, model, called, rounds_us in zip(models, opened, known, _latencies(opened, rounds), strict=True):
        found = subject.find(str(path))
        images = subject.images(found, source, "test", progress=lambda done, total, what: None)
        report = evaluate.evaluate(found.predict, images)
        points.append(
            Point(
                name=_unlike_others(model, names),
                version=model.manifest.version,
                latency_us=Interval(statistics.median(rounds_us), min(rounds_us), max(rounds_us)),
                rounds_us=tuple(rounds_us),
                flatbuffer_bytes=len(model.flatbuffer),
                file_bytes=path.stat().st_size,
                accuracy=report.accuracy,
                n=report.n,
                is_yardstick=bool(called & set(yardsticks)),
            )
        )
    return points


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a model file, a run folder, or cifar10")
    parser.add_argument("--data", required=True, help="as for lince evaluate; the test split is read")
    parser.add_argument("--output", type=Path, default=Path("pareto.png"), help="a .png or .svg file")
    parser.add_argument("--rounds", type=int, default=7, choices=range(1, 1000), metavar="N")
    parser.add_argument("--yardstick", action="append", default=[], metavar="NAME", help="repeatable")
    parser.add_argument("--limits", action="store_true", help="draw the limits of the recipes")
    return parser


def _unlike_others(model: artifact.Artifact, names: list[str]) -> str:
    """Its name; with the version where several have it."""
    name = model.manifest.name
    return name if names.count(name) == 1 else f"{name} {model.manifest.version[:4]}"


def _latencies(models: list[artifact.Artifact], rounds: int) -> list[list[float]]:
    """Medians in microseconds, by model and round."""
    networks = [Network(model.flatbuffer) for model in models]
    times: list[list[float]] = [[] for _ in models]
    for number in range(rounds):
        order = list(range(len(models)))
        for index in order[:: -1 if number % 2 else 1]:
            image = models[index].golden.images[:1]
            times[index].append(latency.time_network(networks[index], image, threads=1).median_us)
    return times


if __name__ == "__main__":
    sys.exit(main())
