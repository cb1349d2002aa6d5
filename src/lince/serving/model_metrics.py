"""The numbers of the models: which ones are served, what they answer, and how often they were swapped.

All labels of a model are bound when it begins to answer, so that an image costs a few increments.
"""

import math
from collections import Counter as Counts
from collections.abc import Iterator, Sequence
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import UInt8
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from lince import drift
from lince.inference.classifier import Classifier
from lince.serving.models import ServedModel
from lince.types import BinnedShares, DriftReference, Prediction

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
        bins = ("model", "statistic", "bin")
        self._drift = Counter("lince_drift_images", "Images by a statistic of their pixels.", bins, registry=registry)
        self._reference = Gauge(
            "lince_drift_reference_share",
            "Share of validation images; not a number for a model without a reference.",
            bins,
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._images = Gauge(
            "lince_drift_reference_images",
            "Number of validation images; not a number for a model without a reference.",
            ("model",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._bound: WeakKeyDictionary[Classifier, _BoundLabels] = WeakKeyDictionary()

    def show(self, old: ServedModel | None, new: ServedModel | None) -> None:
        """Shows which model answers now, and no longer the one before it; counts a swap when there are both."""
        if old is not None:
            self._info.labels(old.name.name, old.name.version).set(0)
            self._show_reference(old, is_served=False)
        if new is not None:
            self._info.labels(new.name.name, new.name.version).set(1)
            self._show_reference(new, is_served=True)
            self._bound[new.classifier] = self._bind(new)
        if old is not None and new is not None:
            self._done.inc()

    def count_refused(self) -> None:
        """Counts a file that cannot be served."""
        self._refused.inc()

    def count_answers(
        self, classifier: Classifier, pixels: UInt8[np.ndarray, "n h w 3"], prediction: Prediction
    ) -> None:
        """Counts the answers for the images of a request. Nothing for a classifier that was never shown."""
        if (bound := self._bound.get(classifier)) is not None:
            bound.count(pixels, prediction)

    def _show_reference(self, served: ServedModel, *, is_served: bool) -> None:
        reference = served.classifier.manifest.drift_reference
        if reference is None:
            return
        self._images.labels(served.name.name).set(reference.n if is_served else math.nan)
        for (statistic, place), share in _shares(reference, served.classifier.classes):
            self._reference.labels(served.name.name, statistic, place).set(share if is_served else math.nan)

    def _bind(self, served: ServedModel) -> "_BoundLabels":
        name, classes = served.name.name, served.classifier.classes
        return _BoundLabels(
            [self._predictions.labels(name, label) for label in classes] if len(classes) <= MAX_CLASSES else [],
            self._confidence.labels(name),
            self._abstentions.labels(name),
            [
                (binned.edges, [self._drift.labels(name, statistic, place) for place in range(drift.BINS)])
                for statistic, binned in _binned(served.classifier.manifest.drift_reference)
            ],
        )


_Bins = tuple[tuple[float, ...], list[Counter]]
"""Edges of bins, and a counter for each bin."""


class _BoundLabels:
    """The counters of one model; `bins` is in the order of `drift.STATISTICS`, or empty without a reference."""

    def __init__(self, predictions: list[Counter], confidence: Histogram, abstentions: Counter, bins: list[_Bins]):
        self._predictions, self._confidence, self._abstentions = predictions, confidence, abstentions
        self._bins = bins

    def count(self, pixels: UInt8[np.ndarray, "n h w 3"], prediction: Prediction) -> None:
        # Lists of numbers: a comparison with a NumPy scalar takes several times as long, and there is one for each bar.
        indices, abstain = prediction.indices.tolist(), prediction.abstain.tolist()
        if self._predictions:
            _count(self._predictions, indices)
        for row, index in enumerate(indices):
            self._confidence.observe(prediction.probabilities.item(row, index))
        if True in abstain:
            self._abstentions.inc(abstain.count(True))
        if self._bins:
            for values, (edges, counters) in zip(drift.statistics(pixels), self._bins, strict=True):
                _count(counters, [drift.bin_of(value, edges) for value in values])


def _count(counters: Sequence[Counter], places: Sequence[int]) -> None:
    """Counts each place; one increment for those that are equal."""
    if len(places) == 1:
        counters[places[0]].inc()
        return
    for place, count in Counts(places).items():
        counters[place].inc(count)


def _binned(reference: DriftReference | None) -> list[tuple[str, BinnedShares]]:
    if reference is None:
        return []
    return [*zip(drift.STATISTICS, (reference.brightness, reference.contrast), strict=True)]


def _shares(reference: DriftReference, classes: tuple[str, ...]) -> Iterator[tuple[tuple[str, str], float]]:
    """Statistic, bin and share."""
    if len(classes) <= MAX_CLASSES:
        for label, share in zip(classes, reference.classes, strict=True):
            yield ("class", label), share
    for statistic, binned in _binned(reference):
        for place, share in enumerate(binned.shares):
            yield (statistic, str(place)), share
