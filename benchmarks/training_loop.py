"""What does Lince's training loop cost, or save, against a plain Keras `fit` of the same network?

    plain   augmentation layers (rotation, zoom, flip) inside the model, float32, `model.fit` from arrays
    bare    the same without augmentation layers, to show what `fit` alone does
    lince   the loop of `lince.training`, with the recipe's augmentation and precision

Each runs in a process of its own, in turn (plain, bare, lince, plain, …), so that all meet the same machine; the first
batches, which compile and warm up, are not counted. Images are random: what they show does not change the speed.

    python benchmarks/training_loop.py --images 6400 --rounds 3

The last line of stdout is one JSON object: images/s of each (median of the rounds) and the ratios, round by round.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

KINDS = ("plain", "bare", "lince")
WARM_UP_BATCHES = 8


def main() -> None:
    """Runs the rounds, or, as a child process, one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="classic")
    parser.add_argument("--images", type=int, default=6400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        sys.stdout.write(f"{measure(options.measure, options.recipe, options.images)}\n")
        return
    speeds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for round_number in range(options.rounds):
        for kind in KINDS:
            speeds[kind].append(_in_child(kind, options))
            sys.stderr.write(f"round {round_number + 1}: {kind} {speeds[kind][-1]:.0f} images/s\n")
    from lince.training.backend import machine

    ratios = {
        kind: [round(ours / theirs, 3) for ours, theirs in zip(speeds["lince"], speeds[kind], strict=True)]
        for kind in ("plain", "bare")
    }
    result = {
        "images_per_second": {kind: round(statistics.median(found), 1) for kind, found in speeds.items()},
        "lince_over_plain": {"median": statistics.median(ratios["plain"]), "rounds": ratios["plain"]},
        "lince_over_bare": {"median": statistics.median(ratios["bare"]), "rounds": ratios["bare"]},
        "recipe": options.recipe,
        "images": options.images,
        "machine": machine(),
    }
    sys.stdout.write(f"{json.dumps(result)}\n")


def measure(kind: str, recipe_name: str, count: int) -> float:
    """Images a second of one epoch over `count` images, after the warm-up."""
    from lince.training import backend, recipe

    backend.prepare()
    chosen = recipe.load(recipe_name)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, *chosen.spec.shape), dtype=np.uint8)
    labels = rng.integers(0, 10, count)
    return (
        _lince(chosen, images, labels) if kind == "lince" else _keras(chosen, images, labels, augmented=kind == "plain")
    )


def _in_child(kind: str, options: argparse.Namespace) -> float:
    command = [sys.executable, __file__, "--measure", kind, "--recipe", options.recipe, "--images", str(options.images)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def _lince(recipe, images: np.ndarray, labels: np.ndarray) -> float:
    from lince.records import Split
    from lince.training import model, train
    from lince.training.backend import resolve_precision

    classes = tuple(str(k) for k in range(10))
    split = Split(images, labels, classes, ("",) * len(labels))
    warm_up = split.take(np.arange(WARM_UP_BATCHES * recipe.train.batch_size))
    network = model.build(
        recipe.model, spec=recipe.spec, num_classes=10, precision=resolve_precision(recipe.train.precision), seed=0
    )
    watch = _Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        for part in (warm_up, split):
            train.fit(
                network,
                train=part,
                validation=warm_up.take(np.arange(recipe.train.batch_size)),
                recipe=_one_epoch(recipe.train),
                augmentation=recipe.augment,
                seed=0,
                checkpoint_path=Path(folder) / "checkpoint.npz",
                display=watch,
            )
    return watch.images_per_second


def _one_epoch(train_recipe):
    import msgspec

    return msgspec.structs.replace(train_recipe, epochs=1)


class _Stopwatch:
    """Keeps the speed that the loop itself reports for its last epoch."""

    images_per_second = 0.0

    def batch(self, **_: object) -> None:
        """Not watched."""

    def epoch(self, record, *, best: bool) -> None:
        self.images_per_second = record.images_per_second


def _keras(recipe, images: np.ndarray, labels: np.ndarray, *, augmented: bool) -> float:
    """The same layers, written down plainly, through `fit`."""
    import keras
    from keras import layers

    from lince.training import model

    network = model.build(recipe.model, spec=recipe.spec, num_classes=10, precision="float32", seed=0)
    if augmented:
        ranges = recipe.augment
        network = keras.Sequential(
            [
                keras.Input(recipe.spec.shape),
                layers.RandomRotation(ranges.rotation_degrees / 360),
                layers.RandomZoom(ranges.zoom),
                layers.RandomFlip("horizontal"),
                network,
            ]
        )
    # Without XLA, which Keras may choose by itself, and which is several times slower on CPUs: the stronger opponent.
    network.compile(recipe.train.optimizer, recipe.train.loss, metrics=["accuracy"], jit_compile=False)
    pixels, targets = images.astype(np.float32), keras.utils.to_categorical(labels, 10)
    warm_up = slice(0, WARM_UP_BATCHES * recipe.train.batch_size)
    network.fit(pixels[warm_up], targets[warm_up], batch_size=recipe.train.batch_size, verbose=0)
    began = time.perf_counter()
    network.fit(pixels, targets, batch_size=recipe.train.batch_size, verbose=0)
    return len(images) / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
