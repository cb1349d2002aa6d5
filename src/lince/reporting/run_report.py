"""The plots of a run folder, and its report as HTML and as Markdown."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lince.evaluation import verdict
from lince.language import Language, class_names
from lince.model_file import artifact
from lince.model_file.manifest import RunReport
from lince.reporting import network, page, plots
from lince.reporting.page import ReportContent
from lince.runs import pictures
from lince.runs.run_folder import RunFolder, RunRecord
from lince.system.files import write_atomically
from lince.types import Report


def write_run_report(folder: RunFolder, *, language: Language = "en") -> None:
    """Writes `plots/*.png`, `report.html` and `report.md` from the other files of the run folder.

    Args:
        folder: of a published run. What an earlier version did not record is left out, with a sentence.
        language: of all three.

    Raises:
        DataError, ModelFileError: the run was not published yet, or one of its files is damaged.
    """
    content = read_content(folder, language=language)
    folder.plots.mkdir(exist_ok=True)
    for name, figure in page.figures(content):
        write_atomically(folder.plots / f"{name}.png", plots.rendered(figure, "png"))
    for name, sheet in page.sheets(content):
        write_atomically(folder.plots / f"{name}.png", sheet)
    write_atomically(folder.page, page.html_report(content).encode("utf-8", "backslashreplace"))
    write_atomically(folder.markdown, page.markdown_report(content).encode("utf-8", "backslashreplace"))


def read_content(folder: RunFolder, *, language: Language) -> ReportContent:
    """What the report of a run shows; arguments and errors as of `write_run_report`."""
    report, record, history = folder.read_report(), folder.read_record(), folder.read_history()
    probabilities, labels = folder.read_answers()
    splits, shown = folder.read_splits(), pictures.read(folder.pictures)
    model = artifact.read(folder.model)
    training, spec = model.manifest.training, model.manifest.image
    learned = splits["groups"][np.concatenate([splits["train"], splits["validation"]])]
    return ReportContent(
        title=record.name,
        language=language,
        published=_in_language(report, language),
        probabilities=probabilities,
        labels=labels,
        history=history,
        patience=record.recipe["train"]["patience"],
        recipe=training["recipe"],
        versions=_versions(training),
        facts={
            "model": f"{report.name} {report.version}",
            "started": f"{record.created[:16].replace('T', ' ')} UTC",
            "data": Path(record.source).name,
            "classes": str(len(report.classes)),
            "recipe": str(record.recipe["name"]),
            "seed": str(record.seed),
        },
        num_images=(len(splits["train"]), len(splits["validation"])),
        is_refitted=training.get("refitted") is True,
        image_shape=spec.shape,
        layers=network.layers(model.flatbuffer),
        model_bytes=folder.model.stat().st_size,
        fingerprint=record.fingerprint,
        commands=(_command(record, has_only_head=[one.epoch for one in history] == [0]),),
        pictures=shown if shown and shown.version == report.version else None,
        reading=record.reading,
        warnings=record.warnings,
        rejected=record.rejected,
        left_out=record.left_out_name,
        pretrained=record.pretrained,
        similar=_in_groups(learned),
    )


def _in_language(report: RunReport, language: Language) -> RunReport:
    """The report with the names of classes, and the sentences of the verdict, in that language."""
    shown = class_names(language, report.classes)
    names = dict(zip(report.classes, shown, strict=True))
    compared = report.certificate.comparison
    compared = replace(compared, worst_class=names.get(compared.worst_class, compared.worst_class))
    found = replace(
        report,
        classes=shown,
        int8=_renamed(report.int8, names),
        certificate=replace(report.certificate, comparison=compared),
    )
    if language == "en":
        return found
    evidence = verdict.Evidence(
        test=found.int8,
        training_accuracy=found.training_accuracy,
        validation_accuracy=found.validation_accuracy,
        certificate=found.certificate,
        leakage=found.leakage,
    )
    return replace(found, verdict=verdict.judge(evidence, language=language))


def _renamed(report: Report, names: dict[str, str]) -> Report:
    return replace(
        report,
        per_class=tuple(replace(score, label=names[score.label]) for score in report.per_class),
        mistakes=tuple(replace(one, label=names[one.label], predicted=names[one.predicted]) for one in report.mistakes),
    )


def _in_groups(groups: np.ndarray) -> int | None:
    """How many images share their group with another one."""
    _, counts = np.unique(groups, return_counts=True)
    return int(counts[counts > 1].sum())


def _command(record: RunRecord, *, has_only_head: bool) -> str:
    """The command that trains again with the recipe in `recipe.toml`, whose epochs need more time than a head alone."""
    options = {"--groups": record.groups, "--leave-out": record.leave_out, "--teacher": record.teacher}
    given = [f"{option}={value}" for option, value in options.items() if value]
    given += [f"--time-budget={record.budget.seconds:g}s"] if record.budget and has_only_head else []
    given += ["--deterministic"] if record.deterministic else []
    return shlex.join(["lince", "train", record.source, "--recipe=recipe.toml", f"--seed={record.seed}", *given])


def _versions(training: dict[str, Any]) -> dict[str, str]:
    """The versions of the packages that trained and published; both where they differ."""
    trained: dict[str, str] = training.get("versions", {})
    published: dict[str, str] = training.get("published_with", {})
    differing = {
        name: f"{version}, published with {published[name]}"
        for name, version in trained.items()
        if published.get(name, version) != version
    }
    return published | trained | differing
