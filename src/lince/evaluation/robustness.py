"""Robustness: the answers to corrupted images of the classes, and to out-of-distribution pictures of other things."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lince import calibration
from lince.data.sources.image_files import iter_images
from lince.errors import DataError, LinceError
from lince.evaluation import corruptions, ood
from lince.evaluation.accuracy import checked_outputs
from lince.images import decode
from lince.progress import Progress, silent
from lince.types import Calibration, ImageSpec, Predict, Prediction, Split

OOD_IMAGES = 500  # of each generated kind: the standard error of a share is then at most 2.2 points
SURE = 0.9  # a probability that most people would act upon

_BATCH = 256  # images, as in `accuracy.outputs`

_Change = Callable[..., np.ndarray]


@dataclass(frozen=True)
class CorruptionScore:
    """Accuracy under one corruption at one strength.

    Attributes:
        kind, strength, amount: as in `corruptions.AMOUNTS`.
        abstained: share of "I don't know"; None for a model without a calibration.
    """

    kind: str
    strength: int
    amount: float
    accuracy: float
    abstained: float | None


@dataclass(frozen=True)
class CorruptionReport:
    """Accuracy under all corruptions, on the same `n` images.

    Attributes:
        clean_accuracy, clean_abstained: of the images without corruption.
        mean_accuracy, mean_abstained: over all kinds and strengths.
        scores: kind by kind, the strengths in order.
    """

    n: int
    seed: int
    clean_accuracy: float
    clean_abstained: float | None
    mean_accuracy: float
    mean_abstained: float | None
    scores: tuple[CorruptionScore, ...]


@dataclass(frozen=True)
class OodScore:
    """Answers to out-of-distribution pictures of one kind.

    Attributes:
        name: a kind of `ood.KINDS`, or the folder.
        sure: share of answers with a probability above `SURE`.
        abstained, mean_set_size: share of "I don't know", and classes in a set; None without that threshold.
        unread: files that could not be read.
    """

    name: str
    n: int
    sure: float
    abstained: float | None
    mean_set_size: float | None
    unread: int = 0


@dataclass(frozen=True)
class OodReport:
    """A model's answers to out-of-distribution pictures.

    Attributes:
        mean: over the generated kinds.
        generated: one score a kind.
        folders: one score for each folder of the user.
    """

    seed: int
    num_classes: int
    mean: OodScore
    generated: tuple[OodScore, ...]
    folders: tuple[OodScore, ...]


def corruption_report(
    predict: Predict,
    split: Split,
    *,
    fitted: Calibration | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> CorruptionReport:
    """Lets `predict` answer every image without corruption, and with every corruption at every strength.

    Args:
        predict: u8[n,H,W,3] → logits f32[n,K], and distances.
        split: labelled images, at least 1.
        fitted: the model's calibration; None for a float network, which has none.
        seed: of the noise.
        progress: receives the number of images answered.

    Raises:
        LinceError: as `accuracy.evaluate`.
    """
    steps = [(kind, strength) for kind in corruptions.AMOUNTS for strength in corruptions.STRENGTHS]
    changes: list[_Change] = [lambda images, first: images]
    changes += (partial(corruptions.corrupt, kind=kind, strength=strength, seed=seed) for kind, strength in steps)
    found = []
    for change in changes:
        found.append(_accuracy_and_abstained(predict, split, change, fitted))
        progress(len(found) * len(split), len(changes) * len(split), "corrupting")
    (clean_accuracy, clean_abstained), *shares = found
    scores = tuple(
        CorruptionScore(kind, strength, corruptions.AMOUNTS[kind][strength - 1], accuracy, abstained)
        for (kind, strength), (accuracy, abstained) in zip(steps, shares, strict=True)
    )
    return CorruptionReport(
        n=len(split),
        seed=seed,
        clean_accuracy=clean_accuracy,
        clean_abstained=clean_abstained,
        mean_accuracy=float(np.mean([score.accuracy for score in scores])),
        mean_abstained=_mean([score.abstained for score in scores]),
        scores=scores,
    )


def ood_report(
    predict: Predict,
    spec: ImageSpec,
    *,
    num_classes: int,
    fitted: Calibration | None = None,
    folders: Sequence[Path] = (),
    seed: int = 0,
    progress: Progress = silent,
) -> OodReport:
    """Lets `predict` answer generated pictures of none of its classes, and the pictures of folders.

    Args:
        predict: u8[n,H,W,3] → logits f32[n,K], and distances.
        spec: the images that it takes.
        num_classes: K.
        fitted: the model's calibration; None for a float network, which has none.
        folders: folders, .zip files and images that show none of the classes. Names of inner folders are ignored. They
            are read in constant memory.
        seed: of the drawing.
        progress: receives the number of kinds and folders that are finished.

    Raises:
        DataError: a folder holds no image that can be read.
        LinceError: `predict` returns something other than logits.
    """
    sources: list[tuple[str, Callable[[], Iterator[np.ndarray | LinceError]]]]
    sources = [(kind, partial(_drawn, kind, spec, seed)) for kind in ood.KINDS]
    sources += [(str(folder), partial(_read, folder, spec)) for folder in folders]
    scores = []
    for name, pictures in sources:
        scores.append(_ood_score(name, pictures(), predict, num_classes=num_classes, fitted=fitted))
        progress(len(scores), len(sources), "out-of-distribution pictures")
    generated, own = tuple(scores[: len(ood.KINDS)]), tuple(scores[len(ood.KINDS) :])
    return OodReport(seed, num_classes, _mean_score(generated), generated, own)


def _accuracy_and_abstained(
    predict: Predict, split: Split, change: _Change, fitted: Calibration | None
) -> tuple[float, float | None]:
    right, abstained = 0, 0
    for start in range(0, len(split), _BATCH):
        images, labels = split.images[start : start + _BATCH], split.labels[start : start + _BATCH]
        found = _answers(predict, change(images, first=start), num_classes=len(split.classes), fitted=fitted)
        right += int((found.indices == labels).sum())
        abstained += int(found.abstain.sum())
    return right / len(split), abstained / len(split) if fitted else None


def _answers(predict: Predict, images: np.ndarray, *, num_classes: int, fitted: Calibration | None) -> Prediction:
    found = checked_outputs(predict, images, num_classes=num_classes)
    return calibration.apply(found.logits, fitted or Calibration(), distances=found.distances)


def _drawn(kind: str, spec: ImageSpec, seed: int) -> Iterator[np.ndarray | LinceError]:
    for index in range(OOD_IMAGES):
        yield ood.draw(kind, index, spec=spec, seed=seed)


def _read(folder: Path, spec: ImageSpec) -> Iterator[np.ndarray | LinceError]:
    for _, data in iter_images([folder]):
        try:
            yield data if isinstance(data, LinceError) else decode(data, spec)
        except LinceError as error:
            yield error


def _ood_score(
    name: str,
    pictures: Iterator[np.ndarray | LinceError],
    predict: Predict,
    *,
    num_classes: int,
    fitted: Calibration | None,
) -> OodScore:
    count, sure, abstained, members = 0, 0, 0, 0
    unread: list[LinceError] = []
    for batch in _batches(pictures, unread):
        found = _answers(predict, batch, num_classes=num_classes, fitted=fitted)
        count += len(batch)
        sure += int((found.probabilities.max(axis=1) > SURE).sum())
        abstained += int(found.abstain.sum())
        members += 0 if found.sets is None else int(found.sets.sum())
    if count == 0:
        raise DataError(f"{name!r} has no picture that can be read: {unread[0]}") from unread[0]
    has_sets = fitted is not None and fitted.set_threshold is not None
    return OodScore(
        name=name,
        n=count,
        sure=sure / count,
        abstained=abstained / count if fitted else None,
        mean_set_size=members / count if has_sets else None,
        unread=len(unread),
    )


def _batches(pictures: Iterator[np.ndarray | LinceError], unread: list[LinceError]) -> Iterator[np.ndarray]:
    """Batches of pictures; errors are appended to `unread`."""
    held: list[np.ndarray] = []
    for picture in pictures:
        if isinstance(picture, LinceError):
            unread.append(picture)
            continue
        held.append(picture)
        if len(held) == _BATCH:
            yield np.stack(held)
            held.clear()
    if held:
        yield np.stack(held)


def _mean_score(scores: Sequence[OodScore]) -> OodScore:
    return OodScore(
        name="all generated",
        n=sum(score.n for score in scores),
        sure=float(np.mean([score.sure for score in scores])),
        abstained=_mean([score.abstained for score in scores]),
        mean_set_size=_mean([score.mean_set_size for score in scores]),
    )


def _mean(shares: Sequence[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return float(np.mean(known)) if len(known) == len(shares) else None
