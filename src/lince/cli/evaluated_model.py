"""What can be evaluated: a float model, a model file, a running server; each becomes a `Predict`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from lince import calibration, client, data
from lince.data.class_names import composed
from lince.errors import LinceError
from lince.evaluation import accuracy
from lince.inference.classifier import Classifier
from lince.model_file import artifact
from lince.runs.run_folder import RunFolder, RunRecord
from lince.text import brief, listed
from lince.types import Calibration, Dataset, ImageSpec, Predict, Prediction, Report, SetReport, Split

# A batch of 16 images takes milliseconds; half a minute of silence means that nobody answers.
_SERVER_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Subject:
    """Something that answers.

    Attributes:
        name: what the user called it: a path or an address.
        predict: images u8[n,H,W,3] → probabilities f32[n,K].
        classes: K labels, in the order of the columns.
        spec: the images it wants.
        thresholds: what its answers are read with, when it has any: sets, "I don't know".
        classifier: the model file itself, when it is one.
        run: the run folder it lies in, when it lies in one.
    """

    name: str
    predict: Predict
    classes: tuple[str, ...]
    spec: ImageSpec
    thresholds: Calibration | None = None
    classifier: Classifier | None = None
    run: Path | None = None


def find(model: str) -> Subject:
    """Opens what a user named.

    Args:
        model: the path of a `.tflite` or `.keras` file, a run folder (its model file), or the address of a server.

    Raises:
        LinceError: there is no such thing, or it does not work.
    """
    if model.startswith(("http://", "https://")):
        return _server(model)
    path = artifact.locate(model)
    run = path.parent if (path.parent / "run.json").exists() else None
    if path.suffix == ".keras":
        return _float_model(path, run)
    classifier = Classifier.load(path)
    thresholds = classifier.manifest.calibration
    spec = classifier.image_spec
    return Subject(model, classifier.probabilities, classifier.classes, spec, thresholds, classifier, run)


def images(subject: Subject, source: str | None, split: str, *, progress: Callable[[int, int, str], None]) -> Split:
    """The images to evaluate on.

    The classes of DATA are found among the model's by name: some may lack, and their order may be another.

    A source without a test tree of its own has one drawn when training. Only the run, or the model file, knows which
    images that left; for any other source there is `all`.

    Args:
        subject: what will answer.
        source: what the user named as DATA; None for the source of the run that the subject lies in.
        split: `test`, `validation`, `train` or `all`.
        progress: told of images read.

    Raises:
        LinceError: the split is not known for this source or holds no image, or it has a class that the subject lacks.
    """
    record = RunFolder(subject.run).read_record() if subject.run else None
    seed, fingerprint = _origin(subject, record)
    if source is None and record is None:
        raise LinceError("Received no DATA, and this model does not lie in a run folder. Expected DATA.")
    dataset = data.load(source or record.source, subject.spec, seed=seed, progress=progress, trains=False)
    dataset = _in_classes_of(subject, dataset, source or record.source)
    foreign = not dataset.has_fingerprint(fingerprint)
    if split == "all":
        return data.join(dataset.train, dataset.test)
    if split == "validation" and (record is None or foreign):
        raise LinceError(
            "Only a run folder knows its validation split, of its own images. Name RUN, and leave DATA out."
        )
    if foreign and dataset.test_indices:
        raise LinceError(
            "DATA has no test tree of its own, and it cannot be matched with what this model was trained on (images "
            "have changed, or a server does not say): a test split drawn now could hold images it was trained on. "
            "Expected the run folder and its own images, or --split all if the model was trained on none of them."
        )
    if split == "test":
        found = dataset.test
    elif record is None or foreign:
        found = dataset.train
    else:
        found = dataset.train.take(RunFolder(subject.run).read_splits()[split])
    if len(found) == 0:
        raise LinceError(
            f"{source or record.source!r} has no image in its {split} split. Expected some: --split all measures on "
            "every image of DATA."
        )
    return found


def measure(
    subject: Subject, images: Split, *, progress: Callable[[int, int], None]
) -> tuple[Report, SetReport | None]:
    """Lets the subject answer every image once; for a model file, its sets and abstentions are measured too."""
    if subject.classifier is None:
        return accuracy.evaluate(subject.predict, images, progress=progress), None
    answered: list[Prediction] = []

    def predict(batch: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n k"]:
        answered.append(subject.classifier.predict(batch))
        return answered[-1].probabilities

    report = accuracy.evaluate(predict, images, progress=progress)
    fields = zip(*(vars(one).values() for one in answered), strict=True)
    prediction = Prediction(*(None if parts[0] is None else np.concatenate(parts) for parts in fields))
    return report, calibration.set_report(prediction, images.labels, subject.classifier.manifest.calibration)


def _in_classes_of(subject: Subject, dataset: Dataset, source: str) -> Dataset:
    """The same images, labelled in the order of the subject's classes."""
    index_of = {composed(label): index for index, label in enumerate(subject.classes)}
    theirs = dataset.train.classes
    if unknown := [label for label in theirs if composed(label) not in index_of]:
        raise LinceError(_unknown_classes(subject, unknown, source))
    if theirs == subject.classes:
        return dataset
    places = np.array([index_of[composed(label)] for label in theirs], np.int64)
    train, test = (
        replace(one, labels=places[one.labels], classes=subject.classes) for one in (dataset.train, dataset.test)
    )
    return replace(dataset, train=train, test=test)


def _unknown_classes(subject: Subject, unknown: Sequence[str], source: str) -> str:
    theirs = subject.classes
    holds = "a class" if len(unknown) == 1 else f"{len(unknown):,} classes"
    return (
        f"{source!r} holds {holds} that the model {subject.name!r} does not know: {listed(unknown)}. Expected some of "
        f"its {len(theirs)} ({brief(theirs)}): rename the folder, leave it out, or train a model on "
        "this data."
    )


def _origin(subject: Subject, record: RunRecord | None) -> tuple[int, str | None]:
    """Seed and fingerprint of what the subject was trained on, if it says so."""
    if record is not None:
        return record.seed, record.fingerprint
    training = subject.classifier.manifest.training if subject.classifier else {}
    seed, fingerprint = training.get("seed"), training.get("fingerprint")
    known = isinstance(seed, int) and 0 <= seed < 2**32
    return (seed, fingerprint) if known else (0, None)


def _server(url: str) -> Subject:
    served = client.served_model(url, timeout_s=_SERVER_TIMEOUT_S)
    predict = client.server_predict(url, served.classes, timeout_s=_SERVER_TIMEOUT_S)
    return Subject(url, predict, served.classes, served.image, served.calibration)


def _float_model(path: Path, run: Path | None) -> Subject:
    if run is None or path != RunFolder(run).keras_model:
        raise LinceError(
            f"{str(path)!r} is not the model of a run folder, whose run.json would name its classes. "
            "Expected RUN/model.keras, or a .tflite file, which carries them itself."
        )
    from lince.training import backend

    backend.prepare()
    from lince import pipeline
    from lince.training import recipes

    folder = RunFolder(run)
    record = folder.read_record()
    predict = pipeline.float_predict(pipeline.trained_model(folder))
    spec = recipes.from_table(record.recipe, source=str(run)).spec
    return Subject(str(path), predict, record.classes, spec, run=run)
