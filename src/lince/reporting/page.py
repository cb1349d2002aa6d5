"""The report of a run as one HTML file with its pictures inside: it loads nothing."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jinja2
import numpy as np
from jaxtyping import Float32, Int64
from matplotlib.figure import Figure

from lince import calibration, number_formats
from lince.model_file.manifest import RunReport
from lince.quantization import certificate
from lince.reporting import plots, quantization
from lince.text import quantity
from lince.types import EpochRecord


@dataclass(frozen=True)
class ReportContent:
    """The contents of the page.

    Attributes:
        title: heading, such as the run's name.
        published: everything measured about the model file.
        probabilities, labels: f32[N,K] and i64[N] behind `published.int8`, for the reliability diagram.
        history: one record a validation; without one, there are no curves.
        patience: of the recipe; it decides which epoch's weights were kept.
        recipe: hyper-parameters; nested tables of JSON values.
        versions: packages, backend, machine.
        facts: further lines under the heading: date, data, fingerprint, seed.
    """

    title: str
    published: RunReport
    probabilities: Float32[np.ndarray, "n k"]
    labels: Int64[np.ndarray, " n"]
    history: tuple[EpochRecord, ...]
    patience: int
    recipe: Mapping[str, Any]
    versions: Mapping[str, str]
    facts: Mapping[str, str]


def html_report(content: ReportContent) -> str:
    """Renders the page as a self-contained HTML document; every name in it is escaped."""
    published = content.published
    return (
        environment()
        .get_template("report.html")
        .render(
            content=content,
            published=published,
            figures={name: _data_uri(figure) for name, figure in figures(content)},
            certificate_table=certificate.table(published.certificate, published.arithmetic),
            cost_tables=quantization.cost_tables(published),
            recipe=tuple(_flat(content.recipe)),
        )
    )


def environment() -> jinja2.Environment:
    """The templates of this package, with every name escaped, and the formats of numbers."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("lince.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"what_is_missing": calibration.what_is_missing, "quantity": quantity}
    for name in ("percent", "percent_range", "probability", "points", "points_range", "file_size", "microseconds"):
        found.filters[name] = getattr(number_formats, name)
    found.filters["percent1"] = partial(number_formats.percent, digits=1)
    return found


def figures(content: ReportContent) -> Iterator[tuple[str, Figure]]:
    """The charts of the page, by name."""
    published = content.published
    yield "confusion", plots.confusion_figure(published.int8, published.classes)
    if content.history:
        yield "accuracy", plots.accuracy_curves(content.history, patience=content.patience)
        yield "loss", plots.loss_curves(content.history, patience=content.patience)
    yield "reliability", plots.reliability_diagram(content.probabilities, content.labels)
    yield "sensitivity", plots.sensitivity_figure(published.sensitivity)


def _data_uri(figure: Figure) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(plots.rendered(figure, "svg")).decode()


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The rows (dotted name, value) of nested tables."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
