"""The model card inside a model file: what it is, how good, from what, for what, and where it ends."""

from lince.records import Certificate, Manifest, RunReport


def write_card(manifest: Manifest, report: RunReport) -> str:
    """Markdown, a page; every number comes from the manifest or the report."""
    certificate, sets = report.certificate, report.sets
    training, accuracy = manifest.training, report.int8.accuracy
    judgement = _judgement(certificate)
    return f"""# {manifest.name}, version {manifest.version}

Classifies an image into one of {len(manifest.classes)} classes: {", ".join(manifest.classes)}.
An int8 network of {certificate.flatbuffer_bytes:,} bytes; pixels in, logits out; written {manifest.created}.

## How good
On the test split of its dataset, {certificate.n:,} images, one view, the file as it is served:

| | |
|---|---|
| accuracy | {accuracy.value:.2%} (95 % interval {accuracy.low:.2%} to {accuracy.high:.2%}) |
| accuracy of the float network | {certificate.float_accuracy:.2%} |
| lost to int8 | {certificate.drop_points.value:+.2f} points \
({certificate.drop_points.low:+.2f} to {certificate.drop_points.high:+.2f}); {judgement} |
| different answers, float and int8 | {certificate.disagreement:.2%} |
| calibration error (ECE, 15 bins) | {certificate.calibrated_ece:.4f} (before temperature {certificate.int8_ece:.4f}) |
| prediction sets | hold the true class for {sets.coverage.value:.2%} of images \
(promised {sets.target_coverage:.0%}), {sets.mean_size:.2f} classes on average |
| "I don't know" | {sets.abstained:.2%} of images; {sets.accuracy_when_answering:.2%} right on the others |
| one image, one thread | {certificate.latency_us:,.0f} µs on {certificate.machine} |

## From what
Dataset fingerprint `{training["fingerprint"]}`; recipe `{training["recipe"]["name"]}`, seed {training["seed"]};
activation ranges read from {len(training["calibration_indices"]):,} training images; temperature, sets and
abstention fitted on {manifest.calibration.n:,} validation images. The test images were used for the table above
and for nothing else.

## For what, and where it ends
For pictures like those it was trained on. It always names one of its classes, also for a picture of none of them:
read the probability, the set and "I don't know". Other cameras, sizes or compressions lower the accuracy; measure it on
pictures of your own with `lince evaluate` before you rely on it.
"""


def _judgement(certificate: Certificate) -> str:
    bound = f"the bound is {certificate.bound_points} points"
    if certificate.forced:
        return f"{bound}: published with --force"
    if certificate.drop_points.high > certificate.bound_points:
        return f"{bound}: kept, though {certificate.n:,} images are too few to be sure"
    return f"{bound}: kept"
