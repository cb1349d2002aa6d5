"""Does a dataset larger than memory cost more per image than a small one, and how much memory does it take?

    python benchmarks/large_dataset.py --images 1000000

The steps below run for a small dataset and a large one. Each is a folder per class of generated JPEG pictures, all
different, in a .zip or a folder below --scratch:

    decode   `lince.data.load`, nothing cached: images/s
    epoch    `lince.data.load` again, from the cache, then all training images in random batches: images/s the first
             time (small: in memory; large: read from the cache file, and verified), again, and from the disk alone
    train    with --train RECIPE, of a dataset that stays in its file: steps of training. Batches come in turn from the
             file, from an array of some of its images, and from the file after the system dropped its pages
    check    with --check: `lince.data.check`, which looks for copies

The cost of an image is given in microseconds of processor time, since that does not include other work of the machine.
Each step runs in a process of its own, so that each has a peak of its own. `peak_mb` counts pages of libraries, too.
`peak_anonymous_mb` is sampled, and counts only memory that no other process can use. The page cache, which the system
can take back at any time, is in neither. Linux only. The last line of stdout is one JSON object.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from lince import data
from lince.data import cache
from lince.system import machine
from lince.training import recipes
from lince.types import ImageSpec, Split

_STEPS = ("decode", "epoch", "train", "check")
_SAMPLE_S = 0.05
_TRAINED_IN_MEMORY = 50_000  # images of the array that training from the file is compared with


def main() -> int:
    """Makes the datasets and runs the steps, or, as a child process, one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000, help="of the large dataset")
    parser.add_argument("--small", type=int, default=50_000, help="images of the small one")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--form", choices=["zip", "folder"], default="zip")
    parser.add_argument(
        "--train", metavar="RECIPE", help="train, too; the quicker the network, the more reading weighs"
    )
    parser.add_argument("--rounds", type=int, default=30, help="of training steps, one of each kind")
    parser.add_argument("--check", action="store_true", help="look for copies, too")
    parser.add_argument("--scratch", type=Path, help="where a temporary folder is made; the system's place if left out")
    parser.add_argument("--step", choices=("generate", *_STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        recipes.load(options.train)  # a mistake is told before a million pictures are made
    if options.step == "generate":
        _generate(options.source, options)
    elif options.step:
        sys.stdout.write(f"{json.dumps(globals()[f'_{options.step}'](options))}\n")
    else:
        with tempfile.TemporaryDirectory(prefix="lince-large-", dir=options.scratch) as folder:
            result = {name: _measure(Path(folder), n, options) for name, n in _sizes(options).items()}
        result |= {"image_size": options.image_size, "classes": options.classes, "form": options.form}
        sys.stdout.write(json.dumps(result | {"batch": options.batch, "machine": machine.describe()}) + "\n")
    return 0


def _sizes(options: argparse.Namespace) -> dict[str, int]:
    return {"small": options.small, "large": options.images}


def _steps(options: argparse.Namespace) -> list[str]:
    asked_for = {"decode": True, "epoch": True, "train": options.train, "check": options.check}
    return [step for step in _STEPS if asked_for[step]]


def _measure(folder: Path, images: int, options: argparse.Namespace) -> dict[str, object]:
    """Runs all steps for one dataset, and deletes its files afterwards, so that the next has room."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        source = Path(place) / ("pictures.zip" if options.form == "zip" else "pictures")
        begin = time.perf_counter()
        _child("generate", source, images)
        found: dict[str, object] = {"images": images, "generate_s": round(time.perf_counter() - begin, 1)}
        for step in _steps(options):
            found[step] = json.loads(_child(step, source, images))
            sys.stderr.write(f"{images:,} images: {step} {found[step]}\n")
    return found


def _child(step: str, source: Path, images: int) -> str:
    """Runs one step as a child process. Later options replace earlier ones."""
    own = ["--step", step, "--source", str(source), "--images", str(images)]
    environment = os.environ | {"LINCE_CACHE": str(source.parent / "cache")}
    command = [sys.executable, __file__, *sys.argv[1:], *own]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def _generate(source: Path, options: argparse.Namespace) -> None:
    files = _files(options.images, options.classes, options.image_size)
    if options.form == "zip":
        with zipfile.ZipFile(source, "w", zipfile.ZIP_STORED) as archive:
            for name, content in files:
                archive.writestr(name, content)
        return
    for label in range(options.classes):
        (source / f"class{label:03d}").mkdir(parents=True)
    for name, content in files:
        (source / name).write_bytes(content)


def _files(images: int, classes: int, side: int) -> Iterator[tuple[str, bytes]]:
    """Smooth random pictures that differ from one another as photographs do; each takes 0.1 ms to make."""
    rng = np.random.default_rng(0)
    for index in range(images):
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
        file = io.BytesIO()
        small.resize((side, side), Image.Resampling.BICUBIC).save(file, "JPEG", quality=75)
        yield f"class{index % classes:03d}/{index:08d}.jpg", file.getvalue()


def _decode(options: argparse.Namespace) -> dict[str, float]:
    with _memory() as peak:
        begin, cpu_begin = time.perf_counter(), time.process_time()
        _load(options)
        seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu_begin
    speed, cost = round(options.images / seconds), round(1e6 * cpu_seconds / options.images, 1)
    return {"seconds": round(seconds, 1), "images_per_second": speed, "cpu_us_per_image": cost, **peak}


def _epoch(options: argparse.Namespace) -> dict[str, object]:
    with _memory() as peak:
        begin = time.perf_counter()
        train = _load(options)
        found: dict[str, object] = {"open_s": round(time.perf_counter() - begin, 2)}
        found["is_stored"] = not isinstance(train.images, np.ndarray)
        found["first"] = _epoch_speed(train, options.batch)
        found["again"] = _epoch_speed(train, options.batch)
        if found["is_stored"]:
            _forget(cache.default_folder())
            found["from_disk"] = _epoch_speed(train, options.batch)
    return found | peak


def _train(options: argparse.Namespace) -> dict[str, object]:
    from lince.training import backend

    backend.prepare()
    with _memory() as peak:
        train = _load(options)
        if isinstance(train.images, np.ndarray):
            return {"is_stored": False}
        step_times = _step_times(train, options)
    rest = {kind: times[1:] for kind, times in step_times.items()}  # the first compiles
    found: dict[str, object] = {"is_stored": True, "recipe": options.train}
    found["images_per_second"] = {kind: round(options.batch / statistics.median(times)) for kind, times in rest.items()}
    found["time_as_multiple_of_array"] = {
        kind: _ratio(times, rest["array"]) for kind, times in rest.items() if kind != "array"
    }
    return found | peak


def _step_times(train: Split, options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of the steps of each kind, one kind after the other in each round, on one model."""
    from lince.networks import models
    from lince.training import backend
    from lince.training.step import Trainer, initialise_from

    recipe = recipes.load(options.train, [f"image_size={options.image_size}"])
    precision = backend.resolve_precision(recipe.train.precision)
    model = models.build(recipe.model, spec=recipe.spec, num_classes=len(train.classes), precision=precision, seed=0)
    initialise_from(train, model, recipe.model, seed=0)
    rng = np.random.default_rng(0)
    some = train.take(np.sort(rng.permutation(len(train))[:_TRAINED_IN_MEMORY]))
    splits = {"file": train, "array": replace(some, images=np.asarray(some.images)), "disk": train}
    trainers = {
        kind: Trainer(model, train=split, recipe=recipe.train, augmentation=recipe.augment, seed=0)
        for kind, split in splits.items()
    }
    times: dict[str, list[float]] = {kind: [] for kind in trainers}
    for _ in range(options.rounds + 1):
        for kind, trainer in trainers.items():
            chosen = rng.permutation(len(trainer.train))[: options.batch]
            if kind == "file":
                trainer.train.images[chosen]  # as in later epochs, where memory holds the file
            if kind == "disk":
                _forget(cache.default_folder())
            begin = time.perf_counter()
            trainer.step(trainer.prepare(chosen, epoch=1, rng=rng), progress=1.0)  # at full size
            times[kind].append(time.perf_counter() - begin)
    return times


def _ratio(times: list[float], others: list[float]) -> dict[str, float]:
    """The ratios of the times round by round: their median, and their middle half."""
    low, middle, high = statistics.quantiles([one / other for one, other in zip(times, others, strict=True)], n=4)
    return {"median": round(middle, 3), "from": round(low, 3), "to": round(high, 3)}


def _check(options: argparse.Namespace) -> dict[str, object]:
    with _memory() as peak:
        begin = time.perf_counter()
        report = data.check(options.source, ImageSpec(options.image_size, options.image_size))
        seconds = time.perf_counter() - begin
    found = {"near_copies": len(report.near_copies), "capped": report.near_copies_capped}
    return {"seconds": round(seconds, 1), **found, **peak}


def _load(options: argparse.Namespace) -> Split:
    return data.load(options.source, ImageSpec(options.image_size, options.image_size), seed=0).train


def _epoch_speed(split: Split, batch: int) -> dict[str, float]:
    order = np.random.default_rng(0).permutation(len(split))
    begin, cpu_begin = time.perf_counter(), time.process_time()
    for start in range(0, len(order), batch):
        split.images[order[start : start + batch]]
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu_begin
    return {
        "images_per_second": round(len(split) / seconds),
        "cpu_us_per_image": round(1e6 * cpu_seconds / len(split), 2),
    }


def _forget(folder: Path) -> None:
    """Makes the system drop the pages of the cache files."""
    for path in folder.rglob("*.pixels"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def _memory() -> Iterator[dict[str, int]]:
    """Fills in, at the end, the peak memory of this process: in total, and of its own pages."""
    found: dict[str, int] = {}
    highest, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(_SAMPLE_S):
            highest[0] = max(highest[0], _status("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()
        found |= {"peak_mb": _status("VmHWM") // 1024, "peak_anonymous_mb": highest[0] // 1024}
        found["anonymous_at_the_end_mb"] = _status("RssAnon") // 1024


def _status(field: str) -> int:
    """One field of `/proc/self/status`, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    sys.exit(main())
