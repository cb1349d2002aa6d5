"""The model card inside a model file: what it is, how good, from what, for what, and where it ends."""

from typing import Any

from lince import calibration
from lince.model_file.manifest import Arithmetic, Manifest, RunReport, Sensitivity
from lince.number_formats import percent
from lince.quantization.certificate import table
from lince.text import quantity
from lince.types import Calibration, SetReport, TextTable


def write_card(manifest: Manifest, report: RunReport, *, about: str | None = None) -> str:
    """Markdown, a page; every number comes from the manifest or the report.

    Args:
        manifest, report: of the model.
        about: what only its author knows, Markdown: the data's origin and licence, other measurements, limits.
    """
    certificate, sets, n = report.certificate, report.sets, report.certificate.comparison.n
    training, accuracy = manifest.training, report.int8.accuracy
    return f"""# {manifest.name}, version {manifest.version}

Classifies an image into one of {len(manifest.classes)} classes: {", ".join(manifest.classes)}.
{_arithmetic(manifest.arithmetic)}
The network has {certificate.flatbuffer_bytes:,} bytes; pixels in, logits out; written {manifest.created}.

## Verdict
{report.verdict.text if report.verdict else "None was given."}

## How good
On the test split of its dataset, {n:,} images, one view, the file as it is served:

| | |
|---|---|
| accuracy | {percent(accuracy.value)} (95 % interval {percent(accuracy.low)} to {percent(accuracy.high)}) |
| prediction sets | {_sets(report)} |
| "I don't know" | {percent(sets.abstained)} of images; {_others(sets, n=n)} |
{_costliest(report.sensitivity)}
{markdown(table(certificate, manifest.arithmetic))}

## From what
Dataset fingerprint `{training["fingerprint"]}`; recipe `{training["recipe"]["name"]}`, seed {training["seed"]};
activation ranges read from {quantity(len(training["calibration_indices"]), "training image")}; temperature, sets and
abstention fitted on {quantity(manifest.calibration.n, "validation image")}{_promise(manifest.calibration)}.
No test image was trained, calibrated
or validated on: the table above and the bound on what quantization may lose were measured on them.\
{_taught(training)}{_left_out(training)}

## For what, and where it ends
For pictures like those it was trained on. It always names one of its classes, also for a picture of none of them:
read the probability, the set and "I don't know". Other cameras, sizes or compressions lower the accuracy; measure it on
pictures of your own with `lince evaluate` before you rely on it.
{_section(about)}"""


def markdown(table: TextTable) -> str:
    """A table of texts in Markdown; a bar inside a cell is escaped."""
    rule = ("---" if number in table.words else "---:" for number in range(len(table.header)))
    lines = (table.header, tuple(rule), *table.rows)
    cells = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
    return f"**{table.title}**\n\n{cells}\n\n{table.caption}"


def _section(about: str | None) -> str:
    return f"\n## From its author\n{about.strip()}\n" if about else ""


def _taught(training: dict[str, Any]) -> str:
    version = training["teacher"]
    learned = f" Besides labels, the network learned from the answers of the model of version {version}."
    knows = (
        " Its teacher had learned from some of the validation images, on which temperature, sets and abstention were "
        "fitted: they may promise a little too much. The table says what they held on test images."
    )
    return (learned if version else "") + (knows if training["teacher_knows_validation"] else "")


def _left_out(training: dict[str, Any]) -> str:
    name = training["leave_out"]
    return f" No image that `{name}` holds too (by class and file name) was trained or validated on." if name else ""


def _arithmetic(arithmetic: Arithmetic) -> str:
    if arithmetic.kind == "int8":
        return "Computes in int8 throughout."
    return (
        f"Not int8 throughout: {arithmetic.description}. int8 throughout lost too much accuracy on validation images, "
        "and --fallback was given."
    )


def _costliest(sensitivity: Sensitivity | None) -> str:
    """A row of the table, with its line end, or nothing."""
    if sensitivity is None or not sensitivity.layers:
        return ""
    worst = sensitivity.layers[0]
    return (
        f"| costliest layer in int8 | `{worst.layer}` ({worst.operation}): alone in int8 it moves the logits by "
        f"{percent(worst.divergence.logit_error)} and changes {percent(worst.divergence.disagreement)} of the answers "
        f"({quantity(sensitivity.n, 'validation image')}) |\n"
    )


def _sets(report: RunReport) -> str:
    """What prediction sets do, or why there are none."""
    sets = report.sets
    if sets.coverage is None or sets.mean_size is None:
        return calibration.what_is_missing(report.calibration)
    return (
        f"hold the true class for {percent(sets.coverage.value)} of images (promised {100 * sets.target_coverage:.4g} %)"
        f", {sets.mean_size:.2f} classes on average{_before(report)}"
    )


def _before(report: RunReport) -> str:
    sets = report.calibrated.float32.sets if report.calibrated else None
    if sets is None or sets.coverage is None or sets.mean_size is None:
        return ""
    return f"; of the float network {percent(sets.coverage.value)} and {sets.mean_size:.2f}"


def _others(sets: SetReport, *, n: int) -> str:
    """The accuracy of the images that are answered."""
    answered = n - round(n * sets.abstained)
    return (
        f"{percent(sets.accuracy_when_answering)} right on the other {answered:,}" if answered else "none was answered"
    )


def _promise(fitted: Calibration) -> str:
    """How exactly so many images promise the coverage; nothing when they promise none."""
    if fitted.set_threshold is None:
        return ""
    return f", which promise the sets' coverage to within\n{calibration.coverage_spread_points(fitted):.1f} points"
