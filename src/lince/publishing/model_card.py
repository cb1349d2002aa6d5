"""The model card inside a model file: what the model is, how good it is, its data, its purpose and its limits."""

from typing import Any

from lince import calibration
from lince.model_file.manifest import Arithmetic, Manifest, Pretrained, RunReport, Sensitivity
from lince.number_formats import percent
from lince.quantization.certificate import table
from lince.text import quantity
from lince.types import Calibration, SetReport, TextTable


def write_card(manifest: Manifest, report: RunReport, *, about: str | None = None) -> str:
    """One page of Markdown; every number comes from the manifest or the report.

    Args:
        manifest, report: of the model.
        about: Markdown by its author: the data's origin and licence, other measurements, limits.
    """
    certificate, sets, n = report.certificate, report.sets, report.certificate.comparison.n
    training, accuracy = manifest.training, report.int8.accuracy
    about_section = f"\n## From its author\n{about.strip()}\n" if about else ""
    return f"""# {manifest.name}, version {manifest.version}

Classifies an image into one of {len(manifest.classes)} classes: {", ".join(manifest.classes)}.
{_arithmetic(manifest.arithmetic)}
The network has {certificate.flatbuffer_bytes:,} bytes; it takes pixels and returns logits; written {manifest.created}.

## Verdict
{report.verdict.text}

## Accuracy
Measured on the test split of its dataset, {n:,} images, with the file as it is served:

| | |
|---|---|
| accuracy | {percent(accuracy.value)} (95 % interval {percent(accuracy.low)} to {percent(accuracy.high)}) |
| prediction sets | {_sets(report)} |
{abstention_row(sets, n=n)}
{_costliest(report.sensitivity)}

{markdown(table(certificate, manifest.arithmetic))}

## Training
Dataset fingerprint `{training["fingerprint"]}`; recipe `{training["recipe"]["name"]}`, seed {training["seed"]};
activation ranges read from {quantity(len(training["calibration_indices"]), "training image")}; temperature, sets and
abstention fitted on {quantity(manifest.calibration.n, "held-out image")}{_promise(manifest.calibration)}.
Test images were used
for the tables above and for the certificate only, never for training, validation or calibration.\
{_pretrained(manifest.pretrained)}{_refitted(manifest)}{_taught(training)}{_left_out(training)}

## Use and limits
It is meant for pictures like its training images. It always names one of its classes, also for a picture of none of
them: read the probability, the set and "I don't know". Other cameras, sizes or compressions lower the accuracy. Measure
it on your own pictures with `lince evaluate MODEL PICTURES --split all` before you rely on it.
{about_section}"""


def abstention_row(sets: SetReport, *, n: int) -> str:
    """A row of the table: how many of `n` images are answered with "I don't know", and the accuracy on the others."""
    return f'| "I don\'t know" | {percent(sets.abstained)} of images; {_others(sets, n=n)} |'


def markdown(table: TextTable) -> str:
    """A text table in Markdown; a vertical bar inside a cell is escaped."""
    rule = ("---" if number in table.words else "---:" for number in range(len(table.header)))
    lines = (table.header, tuple(rule), *table.rows)
    cells = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
    return f"**{table.title}**\n\n{cells}\n\n{table.caption}"


def _pretrained(weights: Pretrained | None) -> str:
    if weights is None:
        return ""
    return f" Training began with weights that were trained on {weights.data}: {weights.source} ({weights.licence})."


def _refitted(manifest: Manifest) -> str:
    images = manifest.training["images"]
    if not manifest.training["refitted"]:
        return ""
    return (
        f" As validation images are few, the published network was then trained on all "
        f"{images['train'] + images['validation']:,} images. Temperature, sets and abstention come from answers of "
        "networks that were trained without the answered images."
    )


def _taught(training: dict[str, Any]) -> str:
    version = training["teacher"]
    learned = f" Besides labels, the network learned from the answers of the model of version {version}."
    knows = (
        " Its teacher, or the network that training began with, was trained on some of the validation images, on which "
        "temperature, sets and abstention were fitted. Their promises may therefore be too high; the table shows what "
        "they reached on test images."
    )
    return (learned if version else "") + (knows if training["knows_validation"] else "")


def _left_out(training: dict[str, Any]) -> str:
    name = training["leave_out"]
    return f" Images that `{name}` also holds (by class and file name) were left out." if name else ""


def _arithmetic(arithmetic: Arithmetic) -> str:
    if arithmetic.kind == "int8":
        return "Computes in int8 throughout."
    return (
        f"Not int8 throughout: {arithmetic.description}. With int8 throughout, the loss on validation images was too "
        "large, and --fallback was given."
    )


def _costliest(sensitivity: Sensitivity) -> str:
    """A row of the table."""
    worst = sensitivity.layers[0]
    return (
        f"| most sensitive layer | `{worst.layer}` ({worst.operation}): alone in int8, it changes the logits by "
        f"{percent(worst.divergence.logit_error)} and {percent(worst.divergence.disagreement)} of the answers "
        f"({quantity(sensitivity.n, 'image')}) |"
    )


def _sets(report: RunReport) -> str:
    """The coverage and size of the prediction sets, or why there are none."""
    sets, before = report.sets, report.calibrated.float32.sets
    if sets.coverage is None or sets.mean_size is None:
        return calibration.what_is_missing(report.calibration)
    of_float = ""
    if before.coverage and before.mean_size is not None:
        of_float = f"; of the float network {percent(before.coverage.value)} and {before.mean_size:.2f}"
    return (
        f"hold the true class for {percent(sets.coverage.value)} of images (promised "
        f"{100 * sets.target_coverage:.4g} %), {sets.mean_size:.2f} classes on average{of_float}"
    )


def _others(sets: SetReport, *, n: int) -> str:
    """The accuracy on the images that are answered."""
    answered = n - round(n * sets.abstained)
    if not answered:
        return "none was answered"
    return f"{percent(sets.accuracy_when_answering)} right on the other {answered:,}"


def _promise(fitted: Calibration) -> str:
    """How exactly the coverage is promised; empty without sets."""
    if fitted.set_threshold is None:
        return ""
    return f", which promise the sets' coverage to within\n{calibration.coverage_spread_points(fitted):.1f} points"
