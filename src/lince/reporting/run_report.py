"""The plots and the HTML report of a run folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lince.model_file import artifact
from lince.reporting import page, plots
from lince.reporting.page import ReportContent
from lince.runs.run_folder import RunFolder
from lince.system.files import write_atomically
from lince.text import quantity


def write_run_report(folder: RunFolder) -> None:
    """Writes `plots/*.png` and `report.html` from the other files of the run folder.

    Raises:
        DataError, ModelFileError: the run was not published yet, or one of its files is damaged.
    """
    report, record, history = folder.read_report(), folder.read_record(), folder.read_history()
    probabilities, labels = folder.read_answers()
    splits = folder.read_splits()
    training = artifact.read(folder.model).manifest.training
    content = ReportContent(
        title=record.name,
        published=report,
        probabilities=probabilities,
        labels=labels,
        history=history,
        patience=record.recipe["train"]["patience"],
        recipe=training["recipe"],
        versions=_versions(training),
        facts={
            "model": f"{report.name} {report.version}",
            "started": record.created,
            "data": f"{Path(record.source).name}, fingerprint {record.fingerprint[:12]}",
            "images": _images(splits, is_refitted=training.get("refitted") is True),
            "unreadable": quantity(len(record.rejected), "file"),
            "left out": f"images of {record.left_out_name}" if record.leave_out else "none",
            "teacher": f"version {record.teacher_version}" if record.teacher_version else "none",
            "seed": str(record.seed),
            "precision": record.precision,
            "machine": record.environment["machine"],
        },
    )
    folder.plots.mkdir(exist_ok=True)
    for name, figure in page.figures(content):
        write_atomically(folder.plots / f"{name}.png", plots.rendered(figure, "png"))
    write_atomically(folder.page, page.html_report(content).encode())


def _images(splits: Mapping[str, np.ndarray], *, is_refitted: bool) -> str:
    train, validation = len(splits["train"]), len(splits["validation"])
    again = f"; then trained again on all {train + validation:,}" if is_refitted else ""
    return f"{train:,} to train, {validation:,} to validate{again}"


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
