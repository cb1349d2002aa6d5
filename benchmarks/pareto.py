"""What does accuracy cost, in time and in bytes? Compares model files in one run, and draws a figure.

    python benchmarks/pareto.py MODEL… --data DATA --output pareto.png
    python benchmarks/pareto.py runs/*/model.tflite --data DATA --yardstick resnet8 --limits --output pareto.svg
    python benchmarks/pareto.py cifar10 --data DATA --recorded tiny=8556/10000 --output pareto.png

Latency is measured for one image at a time, one thread, without decoding. The models take turns over several rounds,
so that machine load affects all of them; every other round reverses the order. The figure is the median of the
rounds' medians, and its spread is their smallest and largest. Accuracy is that of the file as it is served, on the
test split of DATA, with its 95 % interval.

--recorded replaces a model file that is not available. The network of a recipe that ships is built anew for ten
classes and quantized without training. Its layers are those of the trained network, so the latency is the same, and
the bytes are within 1 %. Its accuracy is the one that was counted when it was trained.

--yardstick names a model that is drawn as a reference and not as one of Lince's. The name is the model's own, that of
its file or that of its run folder. --limits draws the limits that the recipes must keep. Some are a multiple of
ResNet-8's latency. These use the first yardstick as ResNet-8, and are left out without one. The last line of stdout
is one JSON object.
"""

import argparse
import json
import math
import re
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from pareto_chart import Limit, Point, draw

from lince.errors import LinceError
from lince.evaluation import accuracy, evaluated_model
from lince.inference import latency
from lince.inference.interpreter import Network
from lince.metrics import accuracy_interval
from lince.model_file import artifact, golden_images
from lince.reporting import plots
from lince.system import machine, quiet
from lince.system.files import write_atomically
from lince.types import Interval

# What the recipes promise. The bytes of the first two are those of MLPerf Tiny's networks for images, of which ResNet-8
# is the smaller; the rest are round figures of our own.
LIMITS = (
    Limit("tiny", flatbuffer_bytes=98_496, times_yardstick=1),
    Limit("small", flatbuffer_bytes=512_024, times_yardstick=5),
    Limit("default", flatbuffer_bytes=2_200_000, latency_us=1000),
    Limit("best", latency_us=5000),
)


@dataclass(frozen=True)
class Contestant:
    """A network whose latency is measured, and how often it is right.

    Attributes:
        called: all names by which a yardstick may be given.
        version: of the model file, or `untrained`.
        image: u8[1,H,W,3], to be timed on.
        path: of the model file, if there is one.
        accuracy: on `n` test images; None until they are counted.
    """

    name: str
    called: frozenset[str]
    version: str
    flatbuffer: bytes
    image: np.ndarray
    path: Path | None = None
    accuracy: Interval | None = None
    n: int = 0


def main() -> int:
    """Measures, draws, and prints."""
    options = _options()
    yardsticks = frozenset(options.yardstick)
    with quiet.captured_stderr():
        contestants = [*from_files(options.models), *map(from_record, options.recorded)]
        check(contestants, yardsticks)
        contestants = [counted(one, options.data) if one.accuracy is None else one for one in contestants]
        points = measure(contestants, rounds=options.rounds, yardsticks=yardsticks)
    figure = draw(points, limits=LIMITS if options.limits else ())
    kind = "svg" if options.output.suffix == ".svg" else "png"
    write_atomically(options.output, plots.rendered(figure, kind))
    result = {
        "points": [asdict(point) for point in points],
        "data": options.data,
        "rounds": options.rounds,
        "machine": asdict(machine.read()),
        "picture": str(options.output),
    }
    sys.stdout.write(f"{json.dumps(result)}\n")
    return 0


def from_files(models: list[str]) -> Iterator[Contestant]:
    """Opens model files.

    Raises:
        LinceError: one of them cannot be opened.
    """
    paths = [artifact.locate(model) for model in models]
    opened = [artifact.read(path) for path in paths]
    names = Counter(model.manifest.name for model in opened)
    for path, model in zip(paths, opened, strict=True):
        name, version = model.manifest.name, model.manifest.version
        yield Contestant(
            name=name if names[name] == 1 else f"{name} {version[:4]}",
            called=frozenset({name, path.stem, path.parent.name}),
            version=version,
            flatbuffer=model.flatbuffer,
            image=model.golden.images[:1],
            path=path,
        )


def from_record(record: str) -> Contestant:
    """Builds a recipe's network, untrained, in int8.

    Args:
        record: `RECIPE=RIGHT/N`, the right answers of the trained one among N.

    Raises:
        LinceError: the record is not of that form, or names no recipe.
    """
    parts = re.fullmatch(r"(.+)=(\d+)/(\d+)", record)
    if not parts:
        raise LinceError(f"Received --recorded {record!r}. Expected RECIPE=RIGHT/N, such as tiny=8556/10000.")
    name, right, n = parts[1], int(parts[2]), int(parts[3])
    accuracy = accuracy_interval(right, n)
    flatbuffer, images = _untrained(name)
    return Contestant(name, frozenset({name}), "untrained", flatbuffer, images[:1], accuracy=accuracy, n=n)


def check(contestants: list[Contestant], yardsticks: frozenset[str]) -> None:
    """Refuses contestants that could not be drawn, before anything is measured.

    Raises:
        LinceError: two have the same name, or a yardstick is none of them.
    """
    names = [contestant.name for contestant in contestants]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise LinceError(f"Received {sorted(repeated)} twice. Expected each model once: leave out file or record.")
    if unknown := yardsticks.difference(*(contestant.called for contestant in contestants)):
        raise LinceError(f"Received the yardsticks {sorted(unknown)}. Expected names of models, such as {names}.")


def counted(contestant: Contestant, source: str) -> Contestant:
    """The same contestant, with the right answers of its model file counted.

    Args:
        contestant: with a model file.
        source: DATA, as for `lince evaluate`; its test split is read.

    Raises:
        LinceError: it cannot be measured on this source.
    """
    found = evaluated_model.open_file(contestant.path)
    report, _ = accuracy.evaluate(found.predict, evaluated_model.images(found, source, "test"))
    return replace(contestant, accuracy=report.accuracy, n=report.n)


def measure(contestants: list[Contestant], *, rounds: int, yardsticks: frozenset[str]) -> list[Point]:
    """Measures the latency of all contestants, which take turns.

    Args:
        contestants: at least 1, counted.
        rounds: at least 1.
        yardsticks: names of models, of their files or run folders.

    Raises:
        LinceError: their accuracies are of different numbers of images.
    """
    if len(sizes := {contestant.n for contestant in contestants}) > 1:
        raise LinceError(f"Received accuracies on {sorted(sizes)} images. Expected one test split for all.")
    return [
        Point(
            name=contestant.name,
            version=contestant.version,
            latency_us=Interval(statistics.median(rounds_us), min(rounds_us), max(rounds_us)),
            rounds_us=tuple(rounds_us),
            flatbuffer_bytes=len(contestant.flatbuffer),
            file_bytes=contestant.path.stat().st_size if contestant.path else None,
            accuracy=contestant.accuracy,
            n=contestant.n,
            is_yardstick=not contestant.called.isdisjoint(yardsticks),
        )
        for contestant, rounds_us in zip(contestants, _latencies(contestants, rounds), strict=True)
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="a model file, a run folder, or cifar10")
    parser.add_argument("--data", help="as for lince evaluate; the test split is read, for each MODEL")
    parser.add_argument("--recorded", action="append", default=[], metavar="RECIPE=RIGHT/N", help="repeatable")
    parser.add_argument("--output", type=Path, default=Path("pareto.png"), help="a .png or .svg file")
    parser.add_argument("--rounds", type=int, default=7, choices=range(1, 1000), metavar="N")
    parser.add_argument("--yardstick", action="append", default=[], metavar="NAME", help="repeatable")
    parser.add_argument("--limits", action="store_true", help="draw the limits of the recipes")
    options = parser.parse_args()
    if not (options.models or options.recorded):
        parser.error("expected a MODEL or a --recorded recipe")
    if options.models and not options.data:
        parser.error("expected --data, to count the right answers of a MODEL on")
    return options


def _untrained(name: str) -> tuple[bytes, np.ndarray]:
    """A recipe's network of ten classes in int8, and drawn images of its size, u8[N,H,W,3]."""
    from lince.training import backend  # here, since model files are measured without the training framework

    backend.prepare()
    from lince.networks import models
    from lince.quantization import activation_ranges, export
    from lince.quantization.quantizer import quantize
    from lince.training import recipes

    recipe = recipes.load(name)
    model = models.build(recipe.model, spec=recipe.spec, num_classes=10, precision="float32", seed=0, folded=True)
    rng = np.random.default_rng(0)
    for weight in model.weights:  # drawn, since equal kernels would be stored once
        weight.assign(rng.normal(0, math.prod(weight.shape[:-1]) ** -0.5, weight.shape))
    images = golden_images.draw_images(recipe.spec, seed=0)
    network = export.export(model)
    return quantize(network, activation_ranges.measure(network, images)), images


def _latencies(contestants: list[Contestant], rounds: int) -> list[list[float]]:
    """Medians in microseconds, by contestant and round."""
    networks = [Network(contestant.flatbuffer) for contestant in contestants]
    times: list[list[float]] = [[] for _ in contestants]
    for number in range(rounds):
        order = list(range(len(contestants)))
        for index in order[:: -1 if number % 2 else 1]:
            times[index].append(latency.time_network(networks[index], contestants[index].image, threads=1).median_us)
    return times


if __name__ == "__main__":
    sys.exit(main())
