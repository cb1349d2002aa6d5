"""The numbers of the models: which ones are served, what they answer, and how often they were swapped.

All labels of a model are bound when it begins to answer, so that an image costs a few increments.
"""

from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from lince.inference.classifier import Classifier
from lince.serving.models import ServedModel
from lince.types import Prediction

MAX_CLASSES = 1000
"""A model of more classes has no counter for each: every one is a series for Prometheus."""

_CONFIDENCES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)


class ModelMetrics:
    """Counts answers by model. A request keeps the labels of the model that it began with, also after a swap."""

    def __init__(self, registry: CollectorRegistry):
        self._info = Gauge(
            "lince_model_info",
            "1 for a model that is served, 0 for one that was.",
            ("name", "version"),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._swaps = Counter(
            "lince_model_swaps", "Files of models that were swapped in, or refused.", ("result",), registry=registry
        )
        self._done, self._refused = self._swaps.labels("done"), self._swaps.labels("refused")
        self._predictions = Counter("lince_predictions", "Images by answer.", ("model", "class"), registry=registry)
        self._confidence = Histogram(
            "lince_confidence",
            "Calibrated probability of the most probable class.",
            ("model",),
            buckets=_CONFIDENCES,
            registry=registry,
        )
        self._abstentions = Counter(
            "lince_abstentions", 'Images answered with "I don\'t know".', ("model",), registry=registry
        )
        self._bound: WeakKeyDictionary[Classifier, _BoundLabels] = WeakKeyDictionary()

    def show(self, old: ServedModel | None, new: ServedModel | None) -> None:
        """Shows which model answers now, and no longer the one before it; counts a swap when there are both."""
        if old is not None:
            self._info.labels(old.name.name, old.name.version).set(0)
        if new is not None:
            name, classes = new.name.name, new.classifier.classes
            self._info.labels(name, new.name.version).set(1)
            self._bound[new.classifier] = _BoundLabels(
                [self._predictions.labels(name, label) for label in classes] if len(classes) <= MAX_CLASSES else [],
                self._confidence.labels(name),
                self._abstentions.labels(name),
            )
        if old is not None and new is not None:
            self._done.inc()

    def count_refused(self) -> None:
        """Counts a file that cannot be served."""
        self._refused.inc()

    def count_answers(self, classifier: Classifier, prediction: Prediction) -> None:
        """Counts the answers for the images of a request. Nothing for a classifier that was never shown."""
        if (bound := self._bound.get(classifier)) is not None:
            bound.count(prediction)


class _BoundLabels:
    def __init__(self, predictions: list[Counter], confidence: Histogram, abstentions: Counter):
        self._predictions, self._confidence, self._abstentions = predictions, confidence, abstentions

    def count(self, prediction: Prediction) -> None:
        # Lists of numbers: a comparison with a NumPy scalar takes several times as long, and there is one for each bar.
        indices, abstain = prediction.indices.tolist(), prediction.abstain.tolist()
        for row, index in enumerate(indices):
            if self._predictions:
                self._predictions[index].inc()
            self._confidence.observe(prediction.probabilities.item(row, index))
        if True in abstain:
            self._abstentions.inc(abstain.count(True))
