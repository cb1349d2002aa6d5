"""The report of a run as one HTML file with its pictures inside: it loads nothing."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jinja2
import numpy as np
from jaxtyping import Float32, Int64
from matplotlib.figure import Figure

from lince import calibration, number_formats
from lince.model_file.manifest import Arithmetic, Certificate, Sensitivity, Verdict
from lince.quantization import certificate
from lince.reporting import plots
from lince.text import quantity
from lince.types import Calibration, EpochRecord, Report, SetReport, TextTable


@dataclass(frozen=True)
class ReportContent:
    """The contents of the page; parts that are empty or None are left out.

    Attributes:
        title: heading, such as the run's name.
        split: the split of `report` and of the answers, such as "test".
        classes: K names, in index order.
        report: of the model file.
        probabilities, labels: f32[N,K] and i64[N] behind the report, for the reliability diagram.
        history: one record an epoch.
        patience: of the recipe; it decides which epoch's weights were kept.
        verdict: on the model; shown first.
        sets: measured on the same images.
        arithmetic: of the model file.
        quantization: tables of its cost; a chart of `sensitivity` is drawn below its table.
        recipe: hyper-parameters; nested tables of JSON values.
        versions: packages, backend, machine.
        facts: further lines under the heading: date, data, fingerprint, seed.
    """

    title: str
    split: str
    classes: tuple[str, ...]
    report: Report
    probabilities: Float32[np.ndarray, "n k"] | None = None
    labels: Int64[np.ndarray, " n"] | None = None
    history: tuple[EpochRecord, ...] = ()
    patience: int = 0
    verdict: Verdict | None = None
    certificate: Certificate | None = None
    calibration: Calibration | None = None
    sets: SetReport | None = None
    arithmetic: Arithmetic = field(default_factory=Arithmetic)
    quantization: tuple[TextTable, ...] = ()
    sensitivity: Sensitivity | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


def html_report(content: ReportContent) -> str:
    """Renders the page as a self-contained HTML document; every name in it is escaped."""
    template = _environment().get_template("report.html")
    uris = {name: _data_uri(figure) for name, figure in figures(content)}
    certified = certificate.table(content.certificate, content.arithmetic) if content.certificate else None
    return template.render(
        content=content, figures=uris, recipe=tuple(_flat(content.recipe)), certificate_table=certified
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lince.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"what_is_missing": calibration.what_is_missing, "quantity": quantity}
    for name in ("percent", "percent_range", "probability", "points", "points_range", "file_size", "microseconds"):
        environment.filters[name] = getattr(number_formats, name)
    environment.filters["percent1"] = partial(number_formats.percent, digits=1)
    return environment


def figures(content: ReportContent) -> Iterator[tuple[str, Figure]]:
    """The charts of the page, by name."""
    yield "confusion", plots.confusion_figure(content.report, content.classes)
    if content.history:
        yield "accuracy", plots.accuracy_curves(content.history, patience=content.patience)
        yield "loss", plots.loss_curves(content.history, patience=content.patience)
    if content.probabilities is not None and content.labels is not None:
        yield "reliability", plots.reliability_diagram(content.probabilities, content.labels)
    if content.sensitivity:
        yield "sensitivity", plots.sensitivity_figure(content.sensitivity)


def _data_uri(figure: Figure) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(plots.svg_bytes(figure)).decode()


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The rows (dotted name, value) of nested tables."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
