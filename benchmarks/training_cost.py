"""What does it cost to train a recipe, in a unit that machines can be compared by, and how accurate is the model?

The cost is in "PFLOP as a matrix product": seconds times a rate. The seconds are those from the first step to the last,
with images in memory; compilation and validation are included. The rate is that at which the same cores multiply two
2048 × 2048 matrices in bfloat16 with the same training backend. It is the mean of the rates before and after training,
each the median of 15 measurements of 10 products. Accuracy is that of the published int8 model, as it is served, on the
test images.

The seeds run one after the other, each in a process of its own, which does what `lince train` does.

    python benchmarks/training_cost.py DATA --recipe fast --seeds 3
    python benchmarks/training_cost.py DATA --recipe fast --seeds 3 --set train.validation_fraction=0.02

The second command gives the figures that are claimed for `fast`: with as many images as in CIFAR-10, 2 % are enough to
validate on. The last line of stdout is one JSON object: cost, accuracy and seconds of each seed, means and standard
deviations, and the range of the rates. Where the rates differ, the cores were not idle, and the cost is not reliable.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lince.system import machine

SIZE, PRODUCTS, MEASUREMENTS = 2048, 10, 15


def main() -> None:
    """Runs the seeds, or, as a child process, one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="cifar10, a folder or a .zip, as for lince train")
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--teacher", help="a model file, as for lince train")
    parser.add_argument("--leave-out", help="a folder or a .zip, as for lince train")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        sys.stdout.write(f"{json.dumps(measure(options))}\n")
        return
    found = []
    for seed in range(options.seeds):
        found.append(_in_child(seed))
        sys.stderr.write(f"seed {seed}: {found[-1]}\n")
    sys.stdout.write(f"{json.dumps(_summary(found, options))}\n")


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Trains and publishes one seed."""
    from lince.training import backend

    backend.prepare()
    from lince import pipeline
    from lince.runs.run_folder import RunFolder
    from lince.training import recipes

    recipe, watch = recipes.load(options.recipe, options.overrides), _Watch()
    with tempfile.TemporaryDirectory() as folder:
        run = pipeline.start(
            options.data, recipe, RunFolder(Path(folder) / "run"), seed=options.measure,
            deterministic=False, strict=False, progress=_ignore, teacher=options.teacher, leave_out=options.leave_out,
        )  # fmt: skip
        before = rate()
        began = time.perf_counter()
        pipeline.train_model(run, watch)
        whole = time.perf_counter() - began
        after = rate()
        published = pipeline.publish(run, pipeline.PublishOptions(force=True), say=_ignore)
        seconds = sum(record.seconds for record in run.folder.read_history())
    return {
        "pflop": seconds * statistics.mean([before, after]) / 1e15,
        "seconds": seconds,
        "seconds_with_setup": whole,
        "gflops_before": before / 1e9,
        "gflops_after": after / 1e9,
        "accuracy": 100 * published.int8.accuracy.value,
        "float_accuracy": 100 * published.float32.accuracy.value,
        "val_accuracy": 100 * watch.val_accuracy,
        "peak_memory_gb": (machine.peak_memory_bytes() or 0) / 1e9,
    }


def rate() -> float:
    """FLOP/s of the backend's bfloat16 matrix product."""
    from keras import backend

    multiply, block = _tensorflow() if backend.backend() == "tensorflow" else _jax()
    rates = []
    for _ in range(MEASUREMENTS + 1):  # the first compiles
        began = time.perf_counter()
        for _ in range(PRODUCTS):
            product = multiply()
        block(product)
        rates.append(PRODUCTS * 2 * SIZE**3 / (time.perf_counter() - began))
    return statistics.median(rates[1:])


def _tensorflow():
    import tensorflow as tf

    left, right = (tf.cast(tf.random.normal((SIZE, SIZE)), tf.bfloat16) for _ in range(2))
    multiply = tf.function(lambda: tf.matmul(left, right))
    return multiply, lambda product: product.numpy()


def _jax():
    import jax

    keys = jax.random.split(jax.random.key(0))
    left, right = (jax.random.normal(key, (SIZE, SIZE), jax.numpy.bfloat16) for key in keys)
    multiply = jax.jit(jax.numpy.matmul)
    return lambda: multiply(left, right), lambda product: product.block_until_ready()


class _Watch:
    """A display that keeps the last validation accuracy."""

    val_accuracy = float("nan")

    def step(self, **_: object) -> None:
        """Not watched."""

    def epoch(self, record, *, best: bool, warning: str | None = None) -> None:
        self.val_accuracy = record.val_accuracy


def _ignore(*_: object) -> None:
    """Ignores the message."""


def _in_child(seed: int) -> dict[str, float]:
    command = [sys.executable, __file__, *sys.argv[1:], "--measure", str(seed)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def _summary(found: list[dict[str, float]], options: argparse.Namespace) -> dict:
    rates = [one[key] for one in found for key in ("gflops_before", "gflops_after")]
    return {
        **{key: _spread([one[key] for one in found]) for key in ("pflop", "accuracy", "seconds")},
        "gflops": [round(min(rates), 1), round(max(rates), 1)],
        "seeds": [{key: round(value, 4) for key, value in one.items()} for one in found],
        "recipe": options.recipe,
        "overrides": options.overrides,
        "data": Path(options.data).name,
        "machine": machine.describe(),
    }


def _spread(values: list[float]) -> dict[str, float]:
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": round(statistics.mean(values), 4), "sd": deviation and round(deviation, 4), "n": len(values)}


if __name__ == "__main__":
    main()
