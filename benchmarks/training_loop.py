"""How fast is Lince's training loop against a plain Keras `fit` of the same network, and how accurate?

    plain   rotation, zoom and flip layers inside the model, float32, `model.fit` from arrays: the usual notebook
    bare    the same without augmentation layers, to show what `fit` alone does
    stepped as plain, but with `train_on_batch` instead of `fit`: faster where `fit` leaves the cores idle
    eigen   as lince, without oneDNN's kernels: what TensorFlow does by itself where there is no VNNI
    lince   the loop of `lince.training`, with the recipe's augmentation and precision

Each is trained on the same images of DATA, in a process of its own. They take turns (plain, bare, stepped, eigen,
lince, plain, …), so that machine load affects all of them. The first three use TensorFlow with its own settings. The
first epoch, which compiles, is not timed. Accuracy is that of the last epoch on 2,000 validation images, in percent.
The recipe is `classic`, whose augmentation and optimizer Keras has too. Other recipes can be compared with `eigen`
alone.

    python benchmarks/training_loop.py DATA --images 9600 --epochs 3 --rounds 2

The last line of stdout is one JSON object: images/s and accuracies of each, and the ratios, round by round.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lince import data
from lince.system import machine
from lince.types import EpochRecord, Split

KINDS = ("plain", "bare", "stepped", "eigen", "lince")
VALIDATION_IMAGES = 2000
_OURS = {"eigen", "lince"}  # kinds


def main() -> None:
    """Runs the rounds, or, as a child process, one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a folder or .zip, as for lince train")
    parser.add_argument("--recipe", default="classic")
    parser.add_argument("--images", type=int, default=9600)
    parser.add_argument("--epochs", type=int, default=3, choices=range(2, 1000), metavar="N")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", choices=KINDS[:-1], default=KINDS[:-1], help="to hold against lince")
    parser.add_argument("--measure", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.recipe != "classic" and options.kinds != ["eigen"]:
        parser.error("the other kinds are written for classic's network and optimiser: add --kinds eigen")
    if options.measure:
        sys.stdout.write(f"{json.dumps(measure(options))}\n")
        return
    found: dict[str, list[dict]] = {kind: [] for kind in (*options.kinds, "lince")}
    for number in range(1, options.rounds + 1):
        for kind in found:
            found[kind].append(_in_child(kind))
            sys.stderr.write(f"round {number}: {kind} {found[kind][-1]}\n")
    sys.stdout.write(f"{json.dumps(_summary(found, options))}\n")


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Trains one of the kinds and returns its speed and accuracy."""
    from lince.training import backend, recipes

    if options.measure in _OURS:
        backend.prepare()
    else:  # TensorFlow as it comes
        os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
    chosen = recipes.load(options.recipe)
    everything = data.load(options.data, chosen.spec, seed=0).train
    order = np.random.default_rng(0).permutation(len(everything))
    train = everything.take(order[: options.images])
    validation = everything.take(order[-VALIDATION_IMAGES:])
    if options.measure in _OURS:
        return _lince(chosen, train, validation, epochs=options.epochs)
    return _keras(chosen, train, validation, epochs=options.epochs, kind=options.measure)


def _in_child(kind: str) -> dict[str, float]:
    command = [sys.executable, __file__, *sys.argv[1:], "--measure", kind]
    environment = os.environ | ({"TF_ENABLE_ONEDNN_OPTS": "0"} if kind == "eigen" else {})
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def _summary(found: dict[str, list[dict]], options: argparse.Namespace) -> dict:
    speeds = {kind: [one["images_per_second"] for one in rounds] for kind, rounds in found.items()}
    ratios = {
        kind: [round(ours / theirs, 3) for ours, theirs in zip(speeds["lince"], speeds[kind], strict=True)]
        for kind in options.kinds
    }
    return {
        "images_per_second": {kind: round(statistics.median(values), 1) for kind, values in speeds.items()},
        "lince_over": {
            kind: {"median": statistics.median(rounds), "rounds": rounds} for kind, rounds in ratios.items()
        },
        "val_accuracy": {
            kind: [round(100 * one["val_accuracy"], 2) for one in rounds] for kind, rounds in found.items()
        },
        "recipe": options.recipe,
        "images": options.images,
        "epochs": options.epochs,
        "machine": machine.describe(),
    }


def _lince(recipe, train: Split, validation: Split, *, epochs: int) -> dict[str, float]:
    import msgspec

    from lince.networks import models
    from lince.training import loop
    from lince.training.backend import resolve_precision
    from lince.training.step import initialise_from

    history, precision = _History(), resolve_precision(recipe.train.precision)
    network = models.build(recipe.model, spec=recipe.spec, num_classes=len(train.classes), precision=precision, seed=0)
    initialise_from(train, network, recipe.model, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        loop.fit(
            network,
            train=train,
            validation=validation,
            recipe=msgspec.structs.replace(recipe.train, epochs=epochs, patience=epochs),
            augmentation=recipe.augment,
            seed=0,
            checkpoint_path=Path(folder) / "checkpoint.npz",
            display=history,
        )
    speeds = [record.images_per_second for record in history.records[1:]]
    return {"images_per_second": statistics.mean(speeds), "val_accuracy": history.records[-1].val_accuracy}


class _History:
    """A display that keeps the records of all epochs."""

    def __init__(self) -> None:
        self.records: list[EpochRecord] = []

    def step(self, **_: object) -> None:
        """Not watched."""

    def epoch(self, record: EpochRecord, *, best: bool) -> None:
        self.records.append(record)


def _keras(recipe, train: Split, validation: Split, *, epochs: int, kind: str) -> dict[str, float]:
    """The network of the recipe, written with Keras's own layers."""
    import keras
    from keras import layers

    from lince.networks import models

    num_classes = len(train.classes)
    network = models.build(recipe.model, spec=recipe.spec, num_classes=num_classes, precision="float32", seed=0)
    if kind != "bare":
        ranges = recipe.augment
        geometry = [
            layers.RandomRotation(ranges.rotation_degrees / 360),
            layers.RandomZoom(ranges.zoom),
            layers.RandomFlip("horizontal"),
        ]
        network = keras.Sequential([keras.Input(recipe.spec.shape), *geometry, network])
    # Without XLA, which Keras may choose by itself, and which is several times slower on CPUs: the stronger opponent.
    optimizer = keras.optimizers.Adam(recipe.train.learning_rate)
    network.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    pixels, targets = train.images.astype(np.float32), keras.utils.to_categorical(train.labels, num_classes)
    fit = _step if kind == "stepped" else _fit
    ends = fit(network, pixels, targets, batch_size=recipe.train.batch_size, epochs=epochs)
    targets = keras.utils.to_categorical(validation.labels, num_classes)
    _, accuracy = network.evaluate(validation.images.astype(np.float32), targets, batch_size=500, verbose=0)
    speed = len(train) * (epochs - 1) / (ends[-1] - ends[0])
    return {"images_per_second": speed, "val_accuracy": float(accuracy)}


def _fit(network, pixels: np.ndarray, targets: np.ndarray, *, batch_size: int, epochs: int) -> list[float]:
    """Trains with `fit`, and returns when each epoch ended."""
    import keras

    ends: list[float] = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter()))
    network.fit(pixels, targets, batch_size=batch_size, epochs=epochs, verbose=0, callbacks=[watch])
    return ends


def _step(network, pixels: np.ndarray, targets: np.ndarray, *, batch_size: int, epochs: int) -> list[float]:
    """As `_fit`, with `train_on_batch` for each batch."""
    rng, ends = np.random.default_rng(0), []
    for _ in range(epochs):
        order = rng.permutation(len(pixels))
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            network.train_on_batch(pixels[batch], targets[batch])
        ends.append(time.perf_counter())
    return ends


if __name__ == "__main__":
    main()
