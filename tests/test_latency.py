"""The latency that is reported is the time that a run takes."""

import time

import numpy as np

from lince import artifact, latency
from lince.classifier import Network


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
