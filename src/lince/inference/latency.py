"""Latency and throughput of a model file on this machine."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from jaxtyping import UInt8

from lince.inference.interpreter import Network
from lince.model_file.artifact import Artifact
from lince.system import machine
from lince.system.machine import Machine
from lince.types import Latency

BATCHES = (1, 8, 32, 128)

# Five repetitions on two idle Zen 5 cores with the shipped model had medians of 338.4 to 340.3 µs.
_RUNS = 300
_WARM_UP_RUNS = 20  # the first runs pack weights and warm the caches
_THROUGHPUT_S = 0.5  # for each batch size: a thousand answers of the shipped model


@dataclass(frozen=True)
class Throughput:
    """Images a second through one interpreter, without decoding.

    Attributes:
        batch: the fastest batch size.
        tried: images a second by batch size; sizes that the network does not take are left out.
    """

    threads: int
    batch: int
    images_per_second: float
    tried: dict[int, float]


@dataclass(frozen=True)
class Bench:
    """All measurements of `bench`: one latency and one throughput for each number of threads."""

    name: str
    version: str
    flatbuffer_bytes: int
    machine: Machine
    latencies: tuple[Latency, ...]
    throughputs: tuple[Throughput, ...]


def bench(model: Artifact) -> Bench:
    """Measures a model file on one thread, and on as many as this process may use."""
    latencies = tuple(measure(model, threads=count) for count in sorted({1, machine.cores()}))
    return Bench(
        name=model.manifest.name,
        version=model.manifest.version,
        flatbuffer_bytes=model.manifest.flatbuffer_bytes,
        machine=machine.read(),
        latencies=latencies,
        throughputs=tuple(throughput(model, one) for one in latencies),
    )


def measure(model: Artifact, *, threads: int) -> Latency:
    """Times one image at a time through the network of a model file, without decoding."""
    return time_network(Network(model.flatbuffer, threads=threads), model.golden.images[:1], threads=threads)


def time_network(network: Network, image: UInt8[np.ndarray, "1 h w 3"], *, threads: int) -> Latency:
    """Times one image at a time; `threads` is recorded only."""
    for _ in range(_WARM_UP_RUNS):
        network.run(image)
    times = np.empty(_RUNS)
    for index in range(_RUNS):
        began = time.perf_counter()
        network.run(image)
        times[index] = time.perf_counter() - began
    median, p95 = np.quantile(times, (0.5, 0.95)) * 1e6
    return Latency(threads, float(median), float(p95), images_per_second=_RUNS / float(times.sum()), runs=_RUNS)


def throughput(model: Artifact, single: Latency) -> Throughput:
    """Tries the batch sizes, without decoding, and keeps the fastest; of one image it takes the measured latency.

    No answer of `Classifier` waits for a batch, whatever the result (decision 0002).
    """
    tried = {1: single.images_per_second}
    for batch in BATCHES[1:]:
        run = _batch_runner(model, batch, single.threads)
        if run is not None:
            tried[batch] = _images_per_second(run, batch)
    best = max(tried, key=lambda batch: tried[batch])
    return Throughput(single.threads, best, tried[best], tried)


def _batch_runner(model: Artifact, batch: int, threads: int) -> Callable[[], np.ndarray] | None:
    """A function that answers `batch` images at once; None for a network that is made for one."""
    interpreter = Interpreter(model_content=model.flatbuffer, num_threads=threads)
    [source], [result, *_] = interpreter.get_input_details(), interpreter.get_output_details()
    images = np.resize(model.golden.images, (batch, *model.golden.images.shape[1:]))

    def run() -> np.ndarray:
        interpreter.set_tensor(source["index"], images)
        interpreter.invoke()
        logits: np.ndarray = interpreter.get_tensor(result["index"])
        return logits

    try:
        interpreter.resize_tensor_input(source["index"], images.shape)
        interpreter.allocate_tensors()
        return run if len(run()) == batch else None
    except (ValueError, RuntimeError):  # the network has a fixed batch size
        return None


def _images_per_second(run: Callable[[], np.ndarray], batch: int) -> float:
    run()
    done, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < _THROUGHPUT_S:
        run()
        done += batch
    return done / passed
