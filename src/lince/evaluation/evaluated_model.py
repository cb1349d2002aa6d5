"""The model to evaluate (a model file, a running server or a float model) as a `Predict`, and its images."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lince import data
from lince.client import Client
from lince.data.class_names import composed
from lince.data.splits import digest
from lince.errors import LinceError
from lince.evaluation.served_model import server_predict
from lince.inference.classifier import Classifier
from lince.progress import Progress, silent
from lince.runs.run_folder import RunFolder, RunRecord
from lince.system import machine
from lince.text import brief, listed
from lince.types import Calibration, Dataset, ImageSpec, Predict, Split

_UNKNOWN = data.EarlierSplit(None)


@dataclass(frozen=True)
class EvaluatedModel:
    """A model that answers images, from a file or on a server.

    Attributes:
        name: the path or address that the user gave.
        predict: images u8[n,H,W,3] → logits f32[n,K], and distances of a model that measures them.
        classes: K labels, in the order of the columns.
        spec: the images that it takes.
        fitted: its calibration; None for a float model, which has none.
        seed: of its training.
        split: of its dataset; the fingerprint is None where it is unknown.
        test_sha256: of a drawn test split that is drawn again (see `splits.digest`); None for a run, which records it.
        run: the run folder that contains it, with its record; None without one.
    """

    name: str
    predict: Predict
    classes: tuple[str, ...]
    spec: ImageSpec
    fitted: Calibration | None = None
    seed: int = 0
    split: data.EarlierSplit = _UNKNOWN
    test_sha256: str | None = None
    run: tuple[RunFolder, RunRecord] | None = None


def open_file(path: Path, *, name: str | None = None) -> EvaluatedModel:
    """Opens a model file.

    Args:
        path: of the file; see `artifact.locate`.
        name: the name that the user gave; None takes the path.

    Raises:
        ModelFileError: it is no model file, or damaged. ResumeError: it is in a run folder whose record is damaged.
    """
    classifier = Classifier.load(path, threads=machine.cores())
    manifest, folder = classifier.manifest, RunFolder(path.parent)
    run = (folder, folder.read_record()) if folder.record.exists() else None
    if run is None:
        seed, split, test_sha256 = _origin(manifest.training)
    else:
        seed, split, test_sha256 = run[1].seed, recorded_split(*run), None
    return EvaluatedModel(
        name=name or str(path),
        predict=classifier.outputs,
        classes=manifest.classes,
        spec=manifest.image,
        fitted=manifest.calibration,
        seed=seed,
        split=split,
        test_sha256=test_sha256,
        run=run,
    )


def recorded_split(folder: RunFolder, record: RunRecord) -> data.EarlierSplit:
    """The split that a run has recorded. Raises DataError when its splits are damaged."""
    return data.EarlierSplit(record.fingerprint, record.groups, folder.read_splits()["test"])


def open_server(url: str) -> EvaluatedModel:
    """Opens a running server, with the key in LINCE_API_KEY if it wants one.

    Args:
        url: its address.

    Raises:
        ServiceError: nothing answers there, or not as Lince does. LinceError: httpx is not installed.
    """
    client = Client(url, api_key=os.environ.get("LINCE_API_KEY"))
    served = client.model()
    return EvaluatedModel(url, server_predict(client, served), served.classes, served.image, served.calibration)


def images(
    model: EvaluatedModel,
    source: str | None,
    split: str,
    *,
    progress: Progress = silent,
    say: Callable[[str], object] = lambda _: None,
) -> Split:
    """The images to evaluate on.

    The classes of DATA are matched with the model's by name: some may be missing, and their order may differ.
    When a source has no test tree, training draws the test split from its images. Only the run folder or the model file
    knows which images were drawn; for other sources there is `all`.

    Args:
        model: the model that will answer.
        source: DATA as the user named it; None takes the source of the model's run.
        split: `test`, `validation`, `train` or `all`.
        progress: receives the number of images read.
        say: receives a sentence when images that the model was trained on are among them, and nobody asked for these.

    Raises:
        LinceError: the split is not known for this source or holds no image, or it has a class that the model lacks.
    """
    if source is None:
        if model.run is None:
            raise LinceError("Received no DATA, and this model is not in a run folder. Expected DATA.")
        source = model.run[1].source
    dataset = data.load(source, model.spec, seed=model.seed, earlier=model.split, progress=progress, trains=False)
    found = _split(model, _in_classes_of(model, dataset, source), split)
    if split == "all" and dataset.fingerprint == model.split.fingerprint:
        say("The model was trained on most of these images, so the result does not hold for others: use --split test.")
    if len(found) == 0:
        raise LinceError(
            f"{source!r} has no image in its {split} split. Expected at least 1: --split all takes every image of DATA."
        )
    return found


def _origin(training: dict[str, Any]) -> tuple[int, data.EarlierSplit, str | None]:
    """Seed, split and digest in a manifest's free-form part, if they are there."""
    seed, fingerprint = training.get("seed"), training.get("fingerprint")
    groups, test_sha256 = training.get("groups"), training.get("drawn_test_sha256")
    if isinstance(seed, int) and 0 <= seed < 2**32 and isinstance(fingerprint, str):
        rule = groups if isinstance(groups, str) else None
        return seed, data.EarlierSplit(fingerprint, rule), test_sha256 if isinstance(test_sha256, str) else None
    return 0, _UNKNOWN, None


def _split(model: EvaluatedModel, dataset: Dataset, split: str) -> Split:
    is_its_own = dataset.fingerprint == model.split.fingerprint
    if split == "all":
        return data.join(dataset.train, dataset.test)
    if split == "validation" and (model.run is None or not is_its_own):
        raise LinceError(
            "The validation split is known only for a run folder and its own images. Name RUN, and leave DATA out."
        )
    if split == "validation" and model.run is not None and model.run[0].held_out.exists():
        raise LinceError(
            "The published network was trained on the validation images too, since they are few. Expected --split test."
        )
    if not is_its_own and dataset.test_indices:
        raise LinceError(
            "DATA has no test tree, and it is not known to be the data that this model was trained on (images have "
            "changed, or a server does not say). A test split drawn now could hold training images. Expected the run "
            "folder and its own images, or --split all if the model was trained on none of them."
        )
    drawn = np.asarray(dataset.test_indices, np.int64)
    if model.run is None and len(drawn) and digest(drawn) != model.test_sha256:
        raise LinceError(
            "The test split that was drawn from DATA now is not the one that this model was trained without: another "
            "version of lince drew that one. Expected the run folder, or --split all on images that the model was not "
            "trained on."
        )
    if split == "test":
        return dataset.test
    if model.run is None or not is_its_own:
        return dataset.train
    return dataset.train.take(model.run[0].read_splits()[split])


def _in_classes_of(model: EvaluatedModel, dataset: Dataset, source: str) -> Dataset:
    """The same images, labelled in the order of the model's classes."""
    index_of = {composed(label): index for index, label in enumerate(model.classes)}
    theirs = dataset.train.classes
    if unknown := [label for label in theirs if composed(label) not in index_of]:
        holds = "a class" if len(unknown) == 1 else f"{len(unknown):,} classes"
        raise LinceError(
            f"{source!r} holds {holds} that the model {model.name!r} does not know: {listed(unknown)}. Expected some "
            f"of its {len(model.classes)} ({brief(model.classes)}): rename the folder, leave it out, or train a model "
            "on this data."
        )
    if theirs == model.classes:
        return dataset
    places = np.array([index_of[composed(label)] for label in theirs], np.int64)
    train, test = (
        replace(one, labels=places[one.labels], classes=model.classes) for one in (dataset.train, dataset.test)
    )
    return replace(dataset, train=train, test=test)
