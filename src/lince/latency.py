"""How fast a model file answers on this machine."""

import time

import numpy as np
from jaxtyping import UInt8

from lince.artifact import Artifact
from lince.classifier import Network
from lince.records import Latency

# Five repetitions of this many, idle, two Zen 5 cores, the model that ships: medians of 338.4 to 340.3 µs.
_RUNS = 300
_WARM_UP_RUNS = 20  # the first runs pack weights and warm the caches


def measure(model: Artifact, *, threads: int) -> Latency:
    """Times one image at a time through the network of a model file, without decoding.

    Args:
        model: read by `artifact.read`.
        threads: of the interpreter.
    """
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
