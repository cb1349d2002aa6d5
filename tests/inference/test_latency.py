"""The latency that is reported is the time that a run takes."""

import time

import numpy as np
import pytest

from lince.inference import latency
from lince.inference.interpreter import Network
from lince.model_file import artifact
from lince.system import machine
from lince.types import Latency

pytestmark = pytest.mark.waits


def test_median_is_the_time_of_one_run(run):
    """The median lies near the time of many images, divided by their number; the 95th percentile is no lower."""
    model = artifact.read(run.model)
    found = latency.measure(model, threads=1)
    network, images = Network(model.flatbuffer), np.resize(model.golden.images, (300, 32, 32, 3))
    began = time.perf_counter()
    network.run(images)
    each_us = (time.perf_counter() - began) / len(images) * 1e6
    # A factor of ten: the machine may be busy with something else during either of the two.
    assert each_us / 10 < found.median_us < each_us * 10
    assert found.median_us <= found.p95_us
    assert 1 == found.threads
    assert found.images_per_second > 0


def test_throughput_tries_batches(run):
    """Each size is tried on the network itself, and the fastest is named; it is never slower than one at a time."""
    model = artifact.read(run.model)
    found = latency.throughput(model, latency.measure(model, threads=1))
    assert latency.BATCHES == tuple(found.tried)
    fast = Latency(1, median_us=0.1, p95_us=0.1, images_per_second=1e7, runs=300)
    assert (1, 1e7) == (latency.throughput(model, fast).batch, latency.throughput(model, fast).images_per_second)
    assert max(found.tried.values()) == found.images_per_second == found.tried[found.batch]
    assert 1 == found.threads


def test_batches_are_answered_as_one_by_one(run):
    """What is timed is the network's work: a batch gives the logits of its images."""
    model = artifact.read(run.model)
    answers = latency._batch_runner(model, 8, 1)()
    np.testing.assert_array_equal(Network(model.flatbuffer).run(model.golden.images[:8]), answers)


def test_bench_measures_one_thread_and_all(run):
    """A latency and a throughput for each number of threads, on this machine."""
    model = artifact.read(run.model)
    found = latency.bench(model)
    threads = sorted({1, machine.cores()})
    assert threads == [one.threads for one in found.latencies] == [one.threads for one in found.throughputs]
    assert (model.manifest.name, model.manifest.version) == (found.name, found.version)
    assert machine.cores() == found.machine.cores
