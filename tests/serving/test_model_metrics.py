"""What the models answer is counted by model: classes, confidence, abstentions; and what is swapped."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from app_client import RAW, AppClient, Png, form
from counted import Value, of_worker, samples, values_of
from jaxtyping import Float32
from prometheus_client import CollectorRegistry, generate_latest

from lince import calibration, drift
from lince.inference.classifier import Classifier
from lince.model_file import artifact
from lince.runs.run_folder import RunFolder
from lince.serving import model_metrics
from lince.serving.app import create_app
from lince.serving.errors import RequestError
from lince.serving.model_folder import ModelFolder
from lince.serving.model_metrics import ModelMetrics
from lince.serving.models import ServedModel
from lince.serving.schemas import ModelName
from lince.serving.settings import ServeSettings
from lince.types import Calibration

SHIPPED = artifact.shipped_models()
PIXELS = np.zeros((1, 32, 32, 3), np.uint8)


def served(classifier: Classifier, name: str = "cifar10", version: str = "1") -> ServedModel:
    return ServedModel(ModelName(name, version), classifier, b"")


def without_reference(path: Path) -> Classifier:
    """As a model file of an older version is."""
    found = Classifier.load(path)
    found.manifest = replace(found.manifest, drift_reference=None)
    return found


def prediction_of(logits: list[list[float]], abstain_below: float = 0.0):
    found: Float32[np.ndarray, "n k"] = np.array(logits, np.float32)
    return calibration.apply(found, Calibration(abstain_below=abstain_below))


def counted(registry: CollectorRegistry) -> Value:
    return values_of(generate_latest(registry).decode())


def test_answers_are_counted(classifier: Classifier):
    """Two images: their classes, how sure the answers are, and that one of them is withheld."""
    registry = CollectorRegistry()
    metrics = ModelMetrics(registry)
    metrics.show(None, served(classifier))
    metrics.count_answers(
        classifier, PIXELS[[0, 0]], prediction_of([[9.0] + [0] * 9, [0.0] * 9 + [0.1]], abstain_below=0.5)
    )
    value = counted(registry)
    first, *_, last = classifier.classes
    assert [1, 1] == [
        value("lince_predictions_total", **{"model": "cifar10", "class": label}) for label in (first, last)
    ]
    assert 2 == value("lince_confidence_count", model="cifar10")
    assert [1, 1, 2] == [value("lince_confidence_bucket", model="cifar10", le=le) for le in ("0.2", "0.99", "1.0")]
    assert 1 == value("lince_abstentions_total", model="cifar10")


def test_an_image_that_cannot_be_read_has_no_answer(client: AppClient, png: Png):
    """Of a form with one bad image, the others are counted, with every protocol's."""
    client.post("/predict", **form(png(), b"", png(1)))
    client.post("/v1/models/cifar10:predict", json={"instances": [{"pixels": [[[0] * 3] * 32] * 32}]})
    value = samples(client)
    classes = client.get("/model").json()["classes"]
    counts = [value("lince_predictions_total", **{"model": "cifar10", "class": label}) for label in classes]
    assert 3 == sum(counts) == value("lince_confidence_count", model="cifar10")


def test_many_classes_have_no_counters(classifier: Classifier, monkeypatch: pytest.MonkeyPatch):
    """Each would be a series; confidence and abstentions are still counted."""
    monkeypatch.setattr(model_metrics, "MAX_CLASSES", 9)
    registry = CollectorRegistry()
    metrics = ModelMetrics(registry)
    metrics.show(None, served(classifier))
    metrics.count_answers(classifier, PIXELS, prediction_of([[9.0] + [0] * 9]))
    value = counted(registry)
    assert value("lince_predictions_total", **{"model": "cifar10", "class": classifier.classes[0]}) is None
    assert 1 == value("lince_confidence_count", model="cifar10")


def test_a_model_that_is_not_shown_yet_is_not_counted(classifier: Classifier):
    """A request may find the new version a moment before its labels are bound."""
    registry = CollectorRegistry()
    ModelMetrics(registry).count_answers(classifier, PIXELS, prediction_of([[9.0] + [0] * 9]))
    assert counted(registry)("lince_confidence_count", model="cifar10") is None


def test_a_swap_is_counted(classifier: Classifier):
    """A model that comes or goes is none; the labels of the old version say that it is gone."""
    registry = CollectorRegistry()
    metrics = ModelMetrics(registry)
    old, new = served(classifier), served(classifier, version="2")
    metrics.show(None, old)
    metrics.show(old, new)
    value = counted(registry)
    assert (1, 0) == tuple(value("lince_model_swaps_total", result=result) for result in ("done", "refused"))
    assert [0, 1] == [value("lince_model_info", name="cifar10", version=version) for version in "12"]
    metrics.show(new, None)
    assert 0 == counted(registry)("lince_model_info", name="cifar10", version="2")
    assert 1 == counted(registry)("lince_model_swaps_total", result="done")


def test_a_request_counts_for_the_model_that_it_began_with(classifier: Classifier):
    """After a swap to a model of other classes, an answer of the old one has its own class."""
    other = without_reference(SHIPPED["cifar10-tiny"])
    other.manifest = replace(other.manifest, classes=("a", "b"))
    registry = CollectorRegistry()
    metrics = ModelMetrics(registry)
    metrics.show(None, served(classifier))
    metrics.show(served(classifier), served(other, version="2"))
    metrics.count_answers(classifier, PIXELS, prediction_of([[0.0] * 9 + [1.0]]))
    labels = {"model": "cifar10", "class": classifier.classes[9]}
    assert 1 == counted(registry)("lince_predictions_total", **labels)


def test_refused_files_are_counted(tmp_path: Path, png: Png):
    """At the start, at a later look, and when an administrator asks for one."""
    shutil.copy(SHIPPED["cifar10-tiny"], tmp_path / "tiny.tflite")
    (tmp_path / "bad.tflite").write_bytes(b"none")
    folder = ModelFolder(tmp_path, ServeSettings(models=tmp_path))
    with AppClient(create_app(folder, ServeSettings(models=tmp_path))) as client:
        assert 1 == samples(client)("lince_model_swaps_total", result="refused")
        (tmp_path / "worse.tflite").write_bytes(b"none")
        folder.update()
        folder.update()
        folder.update()
        assert 2 == samples(client)("lince_model_swaps_total", result="refused")
        with pytest.raises(RequestError, match="not a LiteRT flatbuffer"):
            folder.load("bad")
        assert 3 == samples(client)("lince_model_swaps_total", result="refused")
        assert 0 == samples(client)("lince_model_swaps_total", result="done")


def test_a_crashed_worker_shows_no_model(shared_metrics: Path, classifier: Classifier):
    """The version that it served is not said to be served any more, although nobody has said that it is not."""
    of_worker(0).models.show(None, served(classifier, version="old"))
    again = of_worker(0)
    again.models.show(None, served(classifier, version="new"))
    value = values_of(again.render().decode())
    assert [None, 1] == [value("lince_model_info", name="cifar10", version=version) for version in ("old", "new")]


@pytest.fixture(scope="module")
def referenced(run: RunFolder) -> Classifier:
    """A model that carries what its validation images are like."""
    return Classifier.load(run.model)


def shares(value: Value, classifier: Classifier) -> list[list[float | None]]:
    """The exported reference by class, brightness and contrast."""
    bins = {"class": classifier.classes, **dict.fromkeys(drift.STATISTICS, range(drift.BINS))}
    return [
        [value("lince_drift_reference_share", model="shapes", statistic=statistic, bin=str(one)) for one in places]
        for statistic, places in bins.items()
    ]


def test_images_are_counted_by_their_pixels(referenced: Classifier):
    """Each in one bin of brightness and one of contrast: a black picture is in the first of both."""
    registry = CollectorRegistry()
    metrics = ModelMetrics(registry)
    metrics.show(None, served(referenced, "shapes"))
    white = np.full((2, 32, 32, 3), 255, np.uint8)
    for pixels in (PIXELS, white):
        metrics.count_answers(referenced, pixels, referenced.predict(pixels))
    value = counted(registry)
    found = {
        statistic: [
            value("lince_drift_images_total", model="shapes", statistic=statistic, bin=str(place))
            for place in range(10)
        ]
        for statistic in drift.STATISTICS
    }
    assert found == {"brightness": [1, *[0] * 8, 2], "contrast": [3, *[0] * 9]}


def test_the_reference_is_that_of_the_model(referenced: Classifier):
    """Its shares are exported; when a model without one answers instead, they are not a number."""
    registry = CollectorRegistry()
    metrics = ModelMetrics(registry)
    old, reference = served(referenced, "shapes"), referenced.manifest.drift_reference
    metrics.show(None, old)
    expected = [list(one) for one in (reference.classes, reference.brightness.shares, reference.contrast.shares)]
    assert expected == shares(counted(registry), referenced)
    assert 15 == counted(registry)("lince_drift_reference_images", model="shapes")
    metrics.show(old, served(without_reference(SHIPPED["cifar10-tiny"]), "shapes"))
    assert all(math.isnan(share) for found in shares(counted(registry), referenced) for share in found)
    assert math.isnan(counted(registry)("lince_drift_reference_images", model="shapes"))


def test_a_reference_of_many_classes(referenced: Classifier, monkeypatch: pytest.MonkeyPatch):
    """Its shares of classes are not exported, because the classes are not counted; those of pixels are."""
    monkeypatch.setattr(model_metrics, "MAX_CLASSES", 2)
    registry = CollectorRegistry()
    ModelMetrics(registry).show(None, served(referenced, "shapes"))
    reference = referenced.manifest.drift_reference
    expected = [[None] * 3, list(reference.brightness.shares), list(reference.contrast.shares)]
    assert expected == shares(counted(registry), referenced)


def test_a_model_without_a_reference_has_no_drift(png: Png):
    """Nothing is counted that could not be compared."""
    with AppClient(create_app(without_reference(SHIPPED["cifar10-tiny"]), ServeSettings())) as client:
        client.post("/predict", content=png(), headers=RAW)
        text = client.get("/metrics").text
    assert "lince_drift_images_total{" not in text
    assert "lince_drift_reference_images{" not in text
    assert "lince_drift_reference_share{" not in text


@pytest.mark.parametrize("path", SHIPPED.values(), ids=SHIPPED.keys())
def test_the_models_that_ship_have_a_reference(path: Path):
    """Of the validation images that they were calibrated on."""
    manifest = artifact.read(path).manifest
    assert manifest.drift_reference is not None
    assert manifest.drift_reference.n == manifest.calibration.n


def test_workers_have_one_reference(shared_metrics: Path, referenced: Classifier):
    """Counts are of all workers, and shares are those of one."""
    workers = [of_worker(slot) for slot in range(2)]
    for one in workers:
        one.models.show(None, served(referenced, "shapes"))
        one.models.count_answers(referenced, PIXELS, referenced.predict(PIXELS))
    value = values_of(workers[0].render().decode())
    assert 2 == value("lince_drift_images_total", model="shapes", statistic="brightness", bin="0")
    assert list(referenced.manifest.drift_reference.classes) == shares(value, referenced)[0]
