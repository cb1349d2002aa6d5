"""Fits anew what a model file knows of its images: for "I don't know", its threshold, and for input drift.

    python benchmarks/refit_model.py MODEL DATA OUT [--leave-out DATA] [--about FILE.md]

The network's weights are not changed: its logits stay the same to the bit, which is checked on the test images. So
temperature, sets and certificate stay valid. The features' Gaussian is fitted on training images; weight and threshold
of "I don't know", and the reference for drift, on the validation images, as publishing does. The splits are drawn again
from the manifest's seed, and refused when the data has another fingerprint. The card's row about "I don't know" is
measured again; `--about` replaces the part of its author.
"""

import argparse
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from lince import calibration, data, drift
from lince.data.duplicates import first_copies
from lince.evaluation import accuracy
from lince.inference import interpreter
from lince.inference.classifier import Classifier
from lince.model_file import artifact
from lince.model_file.artifact import Artifact
from lince.publishing import familiar_images
from lince.publishing.model_card import abstention_row
from lince.quantization import flatbuffer

_ABOUT = "## From its author\n"


def main() -> None:
    """Writes the new file and prints what changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model file, or the name of a model that ships")
    parser.add_argument("data", help="the data that it was trained on")
    parser.add_argument("out", type=Path)
    parser.add_argument("--leave-out", help="the images that its training left out")
    parser.add_argument("--about", type=Path, help="a new author's part of the card")
    options = parser.parse_args()
    old = artifact.read(artifact.locate(options.model))
    seed, recipe = old.manifest.training["seed"], old.manifest.training["recipe"]
    dataset = data.load(options.data, old.manifest.image, seed=seed, leave_out=options.leave_out)
    if dataset.fingerprint != old.manifest.training["fingerprint"]:
        raise SystemExit(f"{options.data!r} has the fingerprint {dataset.fingerprint[:12]}. Expected the model's data.")
    kept, held = data.hold_out(
        dataset.train.labels,
        first_copies(dataset.train.images),  # of these models, only copies were kept on one side
        fraction=recipe["train"]["validation_fraction"],
        seed=seed,
        leave_out=dataset.left_out,
    )
    train, validation = dataset.train.take(kept), dataset.train.take(held)
    if len(validation) != old.manifest.calibration.n:
        raise SystemExit(
            f"{len(validation):,} validation images. Expected {old.manifest.calibration.n:,}, as its file says."
        )

    network = flatbuffer.add_features(old.flatbuffer)
    known = familiar_images.of_training(network, train, seed=seed)
    logits, features = interpreter.logits_and_features(network, validation.images)
    if known is None or features is None:
        raise SystemExit("No result of this network has height and width. Expected one to take features from.")
    fitted = calibration.fit_abstention(
        old.manifest.calibration,
        logits,
        abstain=recipe["calibrate"]["abstain"],
        distances=known.distances(features),
    )
    digest = hashlib.sha256(network).hexdigest()
    manifest = replace(
        old.manifest,
        version=digest[:12],
        calibration=fitted,
        flatbuffer_sha256=digest,
        flatbuffer_bytes=len(network),
        drift_reference=drift.reference(
            validation.images, logits.argmax(axis=1), num_classes=len(old.manifest.classes)
        ),
    )
    new = Classifier(Artifact(network, manifest, old.golden, "", known))
    before, after = (accuracy.outputs(one.outputs, dataset.test) for one in (Classifier(old), new))
    if not np.array_equal(before.logits, after.logits):
        raise SystemExit("The logits of the test images have changed. Expected the same: is this LiteRT's fault?")
    prediction = calibration.apply(after.logits, fitted, distances=after.distances)
    sets = calibration.set_report(prediction, dataset.test.labels, fitted)
    card = old.card.replace(old.manifest.version, manifest.version)
    card = card.replace(f"{old.manifest.flatbuffer_bytes:,} bytes; it", f"{len(network):,} bytes; it")
    card = re.sub(r"""(?m)^\| "I don't know" \|.*$""", abstention_row(sets, n=len(dataset.test)), card)
    if options.about:
        card = card[: card.index(_ABOUT)] + f"{_ABOUT}{options.about.read_text().strip()}\n"
    options.out.write_bytes(artifact.encode(Artifact(network, manifest, old.golden, card, known)))
    print(f"{manifest.version}: {fitted}")
    print(abstention_row(sets, n=len(dataset.test)))


if __name__ == "__main__":
    main()
