"""What does counting one answered request of one image cost, in the mode of several workers and in that of one?

    python benchmarks/metrics_cost.py [--model MODEL]

The last line of stdout is one JSON object, in microseconds of CPU time: the fastest of 15 rounds. A model file that
carries a reference for drift costs more than one without.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import timeit

import numpy as np

from lince.inference.classifier import Classifier
from lince.model_file import artifact
from lince.serving import metrics, models
from lince.serving.metrics import FOLDER_VARIABLE, Metrics
from lince.serving.request_record import RequestRecord
from lince.serving.settings import ServeSettings

_ROUNDS, _REQUESTS = 15, 2_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=artifact.SHIPPED, help="a model file; the one that ships otherwise")
    options = parser.parse_args()
    if FOLDER_VARIABLE in os.environ:
        print(_microseconds(options.model))
        return
    found = {"one_worker_us": _microseconds(options.model)}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--model", options.model]
        environment = os.environ | {FOLDER_VARIABLE: folder}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found["several_workers_us"] = float(done.stdout)
    print(json.dumps(found))


def _microseconds(model: str) -> float:
    if FOLDER_VARIABLE in os.environ:
        metrics.share(slot=0)
    classifier = Classifier.load(artifact.locate(model))
    pixels = np.random.default_rng(0).integers(0, 256, (1, *classifier.image_spec.shape), np.uint8)
    prediction = classifier.predict(pixels)
    counted = Metrics()
    counted.models.show(None, models.served(classifier, ServeSettings()))
    name, now = classifier.manifest.name, time.perf_counter()
    record = RequestRecord(began_s=now, queued_s=now + 1e-4, answered_s=now + 1e-3, decode_s=1e-4, infer_s=2e-4)

    def count() -> None:
        counted.show_queue(1)
        counted.count_images(1)
        counted.models.count_answers(classifier, pixels, prediction)
        counted.show_queue(0)
        counted.count_request(path="/predict", method="POST", status=200, model=name, seconds=1e-3)
        counted.count_stages(record, now + 1.1e-3)

    return round(
        min(timeit.repeat(count, timer=time.process_time, number=_REQUESTS, repeat=_ROUNDS)) / _REQUESTS * 1e6, 1
    )


if __name__ == "__main__":
    main()
