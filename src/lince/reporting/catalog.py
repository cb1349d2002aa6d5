"""The models that ship, as a table for the terminal."""

from collections.abc import Sequence

from lince.model_file.artifact import SHIPPED
from lince.model_file.catalog import CatalogEntry
from lince.model_file.manifest import Certificate
from lince.number_formats import file_size, microseconds, percent
from lince.types import TextTable

_COMMANDS = (
    f"lince inspect MODEL shows a model's data and limits. lince serve MODEL serves it; without a name, {SHIPPED}."
)


def catalog_table(entries: Sequence[CatalogEntry]) -> TextTable:
    """A row for each model; below, the machines on which latency was measured, and the commands that take a model."""
    return TextTable(
        name="catalog",
        title="Models that ship",
        header=("model", "size", "one image", "accuracy", "images", "pretrained on"),
        rows=tuple(
            (entry.name, file_size(entry.file_bytes), *_measured(entry.certificate), entry.pretrained_on or "nothing")
            for entry in entries
        ),
        caption=f"{_machines(entries)}\n{_COMMANDS}",
        words=(0, 5),
    )


def _measured(certificate: Certificate) -> tuple[str, str, str]:
    """Latency, accuracy, and the number and split of the images on which the accuracy was measured."""
    comparison = certificate.comparison
    images = f"{comparison.n:,} {certificate.split}"
    return microseconds(certificate.latency_us), percent(comparison.int8_accuracy), images


def _machines(entries: Sequence[CatalogEntry]) -> str:
    """Each machine once; with several of them, the models whose latency was measured there."""
    models: dict[str, list[str]] = {}
    for entry in entries:
        models.setdefault(entry.certificate.machine, []).append(entry.name)
    what = "One image: median latency on one thread"
    measure = "lince bench MODEL measures it on your machine."
    if len(models) == 1:
        return f"{what}, on {next(iter(models))}. {measure}"
    lines = (f"- {', '.join(names)}: {machine}" for machine, names in models.items())
    return "\n".join((f"{what}. {measure} Compare latencies of one machine only:", *lines))
