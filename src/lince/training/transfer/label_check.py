"""Looks for wrong labels among the images of a run, by cross-validation on the features that the run has kept."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lince import data, metrics
from lince.data.label_errors import SuspectedLabel, unlikely_labels
from lince.errors import DataError, TrainingError
from lince.progress import Progress
from lince.runs.run_folder import RunFolder, RunRecord
from lince.text import printable
from lince.training import recipes
from lince.training.transfer import cross_validation, feature_file, head
from lince.types import Images, Split


@dataclass(frozen=True)
class LabelCheck:
    """The outcome of a check.

    Attributes:
        n: training and validation images that were checked.
        suspects: the images whose label may be wrong, the least probable label first.
        images: u8[M,H,W,3], of the suspects, in that order.
    """

    n: int
    suspects: tuple[SuspectedLabel, ...]
    images: Images


def check_labels(source: str, folder: RunFolder, *, progress: Progress) -> LabelCheck:
    """Lists training and validation images whose label is unlikely to heads that were fitted to other images.

    Nothing is written into the folder. Test images are not checked. The only image of a class is not listed: no other
    image says how its class looks.

    Args:
        source: DATA as the user named it; it must hold the images of the run.
        folder: of a run of a pretrained network.
        progress: receives the number of images read.

    Raises:
        TrainingError, ResumeError: the folder has no features, or a file of it is damaged.
        DataError: the source cannot be used, or has other images than the run.
    """
    record, splits = folder.read_record(), folder.read_splits()
    recipe = recipes.from_table(record.recipe, source=str(folder.record))
    if not recipe.model.pretrained:
        raise TrainingError(
            f"The network of {str(folder.path)!r} was not pretrained (recipe {recipe.name!r}). Expected a run of a "
            f"pretrained network, which keeps the features of its images: lince train {source} --recipe photos."
        )
    features, strength = feature_file.read(folder.features), head.read(folder.head).strength
    earlier = data.EarlierSplit(record.fingerprint, record.groups, splits["test"])
    dataset = data.load(source, recipe.spec, seed=record.seed, earlier=earlier, progress=progress)
    _require_same_images(source, dataset.fingerprint, folder, record)
    rows = np.concatenate([splits["train"], splits["validation"]])
    checked = dataset.train.take(rows)
    if len(features) != len(checked):
        raise TrainingError(
            f"{str(folder.features)!r} has features of {len(features):,} images. Expected {len(checked):,}, the "
            "training and validation images of the run: train again."
        )
    found = cross_validation.out_of_fold(
        features,
        checked.labels,
        num_classes=len(record.classes),
        strength=strength,
        seed=record.seed,
        groups=folder.read_groups(),
    )
    order = unlikely_labels(metrics.softmax(found.logits), checked.labels)
    order = order[found.is_of_known_class[order]]
    return LabelCheck(len(checked), _suspects(checked, found.logits, order), checked.images.take(order, axis=0))


def _require_same_images(source: str, fingerprint: str, folder: RunFolder, record: RunRecord) -> None:
    if fingerprint != record.fingerprint:
        raise DataError(
            f"{printable(source)!r} has other images or labels (fingerprint {fingerprint[:12]}) than those of "
            f"{str(folder.path)!r} ({record.fingerprint[:12]}, from {Path(record.source).name!r}). Expected the same: "
            f"name the run's own data, or train on these first: lince train {source} --recipe photos."
        )


def _suspects(split: Split, logits: np.ndarray, order: np.ndarray) -> tuple[SuspectedLabel, ...]:
    probabilities, chosen = metrics.softmax(logits[order]), split.take(order)
    suggested = probabilities.argmax(axis=1)
    return tuple(
        SuspectedLabel(
            name,
            split.classes[label],
            split.classes[other],
            round(float(row[label]), 6),
            round(float(row[other]), 6),
        )
        for name, label, other, row in zip(chosen.names, chosen.labels, suggested, probabilities, strict=True)
    )
