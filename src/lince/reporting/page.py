"""The report of a run, as one HTML file with everything inside (it loads nothing) and as Markdown beside `plots/`."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np
from jaxtyping import Float32, Int64
from matplotlib.figure import Figure

from lince import number_formats
from lince.language import Language
from lince.model_file.manifest import Pretrained, RunReport
from lince.reporting import network, pictures, plots
from lince.reporting.network import Layer
from lince.reporting.words import Words
from lince.runs.pictures import Pictures
from lince.text import quantity
from lince.training.history import kept_with
from lince.types import EpochRecord, Rejected

_CONFUSIONS = 6  # pairs of classes that are named
_SHEET_COLUMNS = 10


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """What a report shows.

    Attributes:
        title: heading, such as the run's name.
        language: of the report. Names of classes, and sentences of the verdict, are in that language already.
        published: everything measured about the model file.
        probabilities, labels: f32[N,K] and i64[N] behind `published.int8`, for the reliability diagram.
        history: one record a validation; without one, there are no curves.
        patience: of the recipe; it decides which epoch's weights were kept.
        recipe: hyper-parameters; nested tables of JSON values.
        versions: packages, backend.
        facts: lines under the heading, by the ends of their keys `report.fact.…`.
        num_images: to train on, and to validate with.
        is_refitted: the published network was trained on both.
        image_shape: height, width, channels.
        layers: of the published network.
        model_bytes: size of the model file.
        fingerprint: of the data.
        commands: that repeat the run.
        pictures: of the data; None where none were recorded for this model.
        reading, warnings, rejected, left_out, pretrained: as in `RunRecord`.
        similar: training and validation images that are in a group with others; None where it is unknown.
    """

    title: str
    language: Language
    published: RunReport
    probabilities: Float32[np.ndarray, "n k"]
    labels: Int64[np.ndarray, " n"]
    history: tuple[EpochRecord, ...]
    patience: int
    recipe: Mapping[str, Any]
    versions: Mapping[str, str]
    facts: Mapping[str, str]
    num_images: tuple[int, int]
    is_refitted: bool
    image_shape: tuple[int, int, int]
    layers: tuple[Layer, ...]
    model_bytes: int
    fingerprint: str
    commands: tuple[str, ...]
    pictures: Pictures | None = None
    reading: str = ""
    warnings: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    left_out: str | None = None
    pretrained: Pretrained | None = None
    similar: int | None = None


def html_report(content: ReportContent) -> str:
    """Renders the page as a self-contained HTML document; every name in it is escaped."""
    words = Words(content.language)
    epoch = words.count(_kept(content).epoch) if content.history else ""
    labels = {
        "accuracy": words("curves.accuracy_label", epoch=epoch),
        "loss": words("curves.loss_label", epoch=epoch),
        "confusion": words("confusion.label"),
        "reliability": words("reliability.label"),
        "sensitivity": words("layers.label"),
    }
    drawn = {name: plots.inline_svg(figure, name=name, label=labels[name]) for name, figure in figures(content)}
    return _rendered("report.html", content, words, figures=drawn, **_picture_uris(content))


def markdown_report(content: ReportContent) -> str:
    """Renders the report as Markdown that shows the files of `plots/`; names in it are escaped."""
    return _rendered(
        "report.md", content, Words(content.language), sheets=frozenset(name for name, _ in sheets(content))
    )


def environment() -> jinja2.Environment:
    """The templates of this package, with names escaped in HTML, and the formats of numbers."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("lince.reporting"),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"quantity": quantity, "probability": number_formats.probability, "cell": _cell}
    return found


def figures(content: ReportContent) -> Iterator[tuple[str, Figure]]:
    """The charts of the report, by name."""
    published, language = content.published, content.language
    yield "confusion", plots.confusion_figure(published.int8, published.classes, language=language)
    if content.history and not _is_head_alone(content):
        yield "accuracy", plots.accuracy_curves(content.history, patience=content.patience, language=language)
        yield "loss", plots.loss_curves(content.history, patience=content.patience, language=language)
    yield "reliability", plots.reliability_diagram(content.probabilities, content.labels, language=language)
    yield "sensitivity", plots.sensitivity_figure(published.sensitivity, language=language)


def sheets(content: ReportContent) -> Iterator[tuple[str, bytes]]:
    """The pictures of the data on sheets, PNG, by name; a sheet without pictures is left out."""
    shown = content.pictures
    if shown is None:
        return
    worst, columns = list(shown.mistakes), _SHEET_COLUMNS
    groups = {
        "mistakes": [worst[start : start + columns] for start in range(0, len(worst), columns)],
        "examples": [list(shown.examples[shown.example_labels == label]) for label in np.unique(shown.example_labels)],
        "augmented": [
            [original, *views] for original, views in zip(shown.originals, shown.augmented, strict=True) if len(views)
        ],
        "copies": [list(pair) for pair in shown.copies],
    }
    yield from ((name, pictures.sheet(rows)) for name, rows in groups.items() if rows)


def _rendered(template: str, content: ReportContent, words: Words, **more: object) -> str:
    published, layers = content.published, content.layers
    return (
        environment()
        .get_template(template, globals={"t": words})
        .render(
            content=content,
            published=published,
            digits=_digits(published.int8.n),
            kept=_kept(content) if content.history else None,
            head_alone=_is_head_alone(content),
            refitted=content.is_refitted,
            largest=max(published.int8.per_class, key=lambda score: score.support),
            confusions=_confusions(published),
            totals=_totals(content, words),
            copies_sentence=_copies_sentence(published, words),
            certificate_words=_certificate_words(published, words),
            layers=layers,
            stages=network.stages(layers),
            weights=sum(layer.weights for layer in layers),
            multiplications=sum(layer.multiplications for layer in layers),
            training_seconds=sum(record.seconds for record in content.history),
            epochs=max((record.epoch for record in content.history), default=0),
            recipe=_toml(content.recipe),
            **more,
        )
    )


def _picture_uris(content: ReportContent) -> dict[str, Any]:
    """The pictures of the data as data URIs, empty where there are none."""
    shown, classes = content.pictures, content.published.classes
    if shown is None:
        return {"pixelated": False, "mistakes": [], "examples": [], "augmented": [], "copies": []}
    examples: dict[str, list[str]] = {}
    for label, image in zip(shown.example_labels.tolist(), shown.examples, strict=True):
        examples.setdefault(classes[label], []).append(pictures.data_uri(image))
    return {
        "pixelated": max(shown.examples.shape[1:3]) < pictures.LARGE,
        "mistakes": list(map(pictures.data_uri, shown.mistakes)),
        "examples": list(examples.items()),
        "augmented": [
            (pictures.data_uri(original), list(map(pictures.data_uri, views)))
            for original, views in zip(shown.originals, shown.augmented, strict=True)
            if len(views)
        ],
        "copies": [
            (*map(pictures.data_uri, pair), [classes[label] for label in labels])
            for pair, labels in zip(shown.copies, shown.copy_labels.tolist(), strict=True)
        ],
    }


def _is_head_alone(content: ReportContent) -> bool:
    """Whether a pretrained network was published without an epoch of fine-tuning: see `training.transfer`."""
    return [record.epoch for record in content.history] == [0]


def _kept(content: ReportContent) -> EpochRecord:
    return kept_with(content.history, patience=content.patience)


def _digits(n: int) -> int:
    """The digits behind the point of an accuracy on so many images: one image more is 0.1 % of 1,000."""
    return 2 if n >= 10_000 else int(n >= 1000)


def _confusions(published: RunReport) -> list[tuple[int, str, str]]:
    """How often a class was taken for another one, most often first."""
    counts = np.array(published.int8.confusion)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:_CONFUSIONS]
    pairs = zip(*np.unravel_index(order, counts.shape), strict=True)
    classes = published.classes
    return [(int(counts[one, other]), classes[one], classes[other]) for one, other in pairs if counts[one, other]]


def _totals(content: ReportContent, words: Words) -> str:
    train, validation = map(words.count, content.num_images)
    return words("data.totals", train=train, validation=validation, test=words.count(content.published.int8.n))


def _copies_sentence(published: RunReport, words: Words) -> str:
    leakage = published.leakage
    if leakage is None:
        return words("copies.not_searched")
    if not leakage.identical + leakage.look_alike:
        return words("copies.none")
    identical, alike = words.count(leakage.identical), words.count(leakage.look_alike)
    return words("copies.found", identical=identical, alike=alike)


def _certificate_words(published: RunReport, words: Words) -> str:
    """Whether the certificate was passed; see `Certificate.verdict`."""
    certificate = published.certificate
    bound = words.decimal(certificate.bound_points, 2)
    if certificate.forced:
        return words("certificate.forced", bound=bound)
    if certificate.comparison.drop_points.high <= certificate.bound_points:
        return words("certificate.passed", bound=bound)
    return words("certificate.unclear", bound=bound, count=certificate.comparison.n)


def _toml(table: Mapping[str, Any], prefix: str = "") -> str:
    """Nested tables as lines of TOML with dotted keys."""
    lines = []
    for name, value in table.items():
        nested = isinstance(value, Mapping)
        lines.append(_toml(value, f"{prefix}{name}.") if nested else f"{prefix}{name} = {_toml_value(value)}")
    return "\n".join(lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name} = {_toml_value(one)}' for name, one in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False)  # strings, numbers and truth values are the same in TOML


def _cell(text: str) -> str:
    """A name inside a table of Markdown: characters that mean something there are escaped."""
    return "".join(f"\\{one}" if one in "\\|*_`[]<>&#" else one for one in text)
