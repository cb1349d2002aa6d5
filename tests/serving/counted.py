"""What `/metrics` says, to look numbers up in."""

from collections.abc import Callable

from app_client import AppClient
from prometheus_client.parser import text_string_to_metric_families

from lince.serving import metrics
from lince.serving.metrics import Metrics

Value = Callable[..., float | None]


def values_of(text: str) -> Value:
    """`value(name, **labels)` of a text; a label without a value is none, as for Prometheus."""
    found = {
        (sample.name, frozenset((name, value) for name, value in sample.labels.items() if value)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    return lambda name, /, **labels: found.get((name, frozenset(labels.items())))


def samples(client: AppClient) -> Value:
    """What an app's /metrics says now."""
    return values_of(client.get("/metrics").text)


def of_worker(slot: int) -> Metrics:
    """The numbers of a worker, which is this process; see the fixture `shared_metrics`."""
    metrics.share(slot=slot)
    return Metrics()
