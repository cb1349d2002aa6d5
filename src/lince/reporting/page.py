"""The report of a run as one HTML file: pictures inside, nothing loaded from anywhere."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from jaxtyping import Float32, Int64
from matplotlib.figure import Figure

from lince import calibration, number_formats
from lince.errors import LinceError
from lince.model_file.manifest import Arithmetic, Certificate, Sensitivity, Verdict
from lince.quantization import certificate
from lince.reporting import plots, quantization_plots
from lince.system.files import write_atomically
from lince.text import quantity
from lince.types import Calibration, EpochRecord, Report, SetReport, TextTable


@dataclass(frozen=True)
class ReportContent:
    """Everything the page shows; what is empty or None is left out.

    Attributes:
        title: heading, such as the run's name.
        split: which images `report` and the answers are of, such as "test".
        classes: K names, in index order.
        report: what `evaluate` found.
        probabilities, labels: f32[N,K] and i64[N] behind the report, for the reliability diagram.
        history: one record an epoch.
        patience: the recipe's, which says whose epoch's weights were kept.
        verdict: what to make of the model, above everything else.
        sets: how the calibration behaved on the same images.
        arithmetic: what the model file computes in.
        quantization: tables of what that cost; a chart of `sensitivity` is drawn beside its table.
        recipe: hyper-parameters; nested tables of JSON values.
        versions: packages, backend, machine.
        facts: anything else worth a line under the heading: date, data, fingerprint, seed.
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
    """Renders the page.

    Returns:
        A self-contained HTML document; every name in it is escaped.

    Raises:
        LinceError: when the report is not about the classes given.
    """
    if len(content.classes) != len(content.report.confusion):
        raise LinceError(
            f"Received {len(content.classes)} class names and a report on {len(content.report.confusion)} classes. "
            "Expected the classes of the report."
        )
    template = _environment().get_template("report.html")
    figures = {name: _data_uri(figure) for name, figure in _figures(content)}
    certified = certificate.table(content.certificate, content.arithmetic) if content.certificate else None
    return template.render(
        content=content, figures=figures, recipe=tuple(_flat(content.recipe)), certificate_table=certified
    )


def write_html_report(path: Path, content: ReportContent) -> None:
    """Renders the page into a file, which is whole or as it was.

    Raises:
        LinceError: as `html_report`.
        OSError: when the folder is missing or not writable, or the disk is full.
    """
    write_atomically(path, html_report(content).encode())


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


def _figures(content: ReportContent) -> Iterator[tuple[str, Figure]]:
    yield "confusion", plots.confusion_figure(content.report, content.classes)
    if content.history:
        yield "accuracy", plots.accuracy_curves(content.history, patience=content.patience)
        yield "loss", plots.loss_curves(content.history, patience=content.patience)
    if content.probabilities is not None and content.labels is not None:
        yield "reliability", plots.reliability_diagram(content.probabilities, content.labels)
    if content.sensitivity:
        yield "sensitivity", quantization_plots.sensitivity_figure(content.sensitivity)


def _data_uri(figure: Figure) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(plots.svg_bytes(figure)).decode()


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Lines (dotted name, value) of nested tables."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
