"""What training requires of the classes of a source, and which classes are left out."""

from dataclasses import replace

import numpy as np

from lince.data.class_names import similarity_warnings
from lince.data.dataset import Catalogue, EmptyClass
from lince.errors import DataError
from lince.text import listed
from lince.types import Split


def require_trainable(catalogue: Catalogue, *, name: str) -> None:
    """Refuses a source whose classes cannot be learned or tested.

    A class whose folder holds no usable image is not refused: it is left out, and listed.

    Raises:
        DataError: fewer than two classes have images to train on, a class has one image only, or no class has images to
            test on. Also when one of the source's own splits has no folder for a class of the other.
    """
    if catalogue.num_train is not None:
        _require_comparable(catalogue, name=name)
    train = _populated(catalogue, "train")
    if len(train) < 2:
        read = f" It was read so: {catalogue.reading}" if catalogue.reading else ""
        raise DataError(
            f"{name!r} holds one class only, {listed(sorted(train))}. Expected two or more, with a folder for each."
            f"{read}{_first_empty(catalogue)}"
        )
    counts = dict(zip(catalogue.classes, np.bincount(catalogue.labels, minlength=len(catalogue.classes)), strict=True))
    if single := [label for label in sorted(train) if counts[label] == 1]:
        raise DataError(
            f"{name!r} has one image only of {listed(single)}. Expected two or more of each class, one of them to "
            "test on: add images, or remove the class."
        )


def _require_comparable(catalogue: Catalogue, *, name: str) -> None:
    found = {split: _populated(catalogue, split) for split in ("train", "test")}
    empty = {(one.split, one.label) for one in catalogue.empty}
    tree_of = dict(zip(found, catalogue.trees, strict=True))
    for split, tree in tree_of.items():
        if not found[split]:
            raise DataError(
                f"{name!r} has no image in {tree}/ that can be used. Expected images in both splits: add some."
                f"{_first_empty(catalogue)}"
            )
    for split, other in (("test", "train"), ("train", "test")):
        if absent := [label for label in sorted(found[other] - found[split]) if (split, label) not in empty]:
            alike = "".join(f" {sentence}" for sentence in similarity_warnings(sorted(found["train"] | found["test"])))
            raise DataError(
                f"{name!r} has no images of {listed(absent)} in {tree_of[split]}/, but has in {tree_of[other]}/. "
                f"Expected the same classes in both: add the images, or remove the class.{alike}"
            )


def warnings(catalogue: Catalogue) -> tuple[str, ...]:
    """What may be a mistake, a sentence each; class folders without a usable image are among them."""
    untested = _populated(catalogue, "train") - _populated(catalogue, "test")
    return (
        *catalogue.warnings,
        *similarity_warnings(catalogue.classes),
        *(_about(one, is_trained=one.split == "test" and one.label in untested) for one in catalogue.empty),
    )


def learnable(train: Split, test: Split) -> tuple[Split, Split]:
    """Both splits without the classes that have no image to train on."""
    counts = np.bincount(train.labels, minlength=len(train.classes))
    if counts.all():
        return train, test
    index_of = np.cumsum(counts > 0) - 1
    kept = test.take(np.flatnonzero(counts[test.labels] > 0))
    classes = tuple(label for label, count in zip(train.classes, counts, strict=True) if count)
    train, test = (replace(one, labels=index_of[one.labels], classes=classes) for one in (train, kept))
    return train, test


def _populated(catalogue: Catalogue, split: str) -> set[str]:
    """The classes with images in a split; without the source's own splits, all images count as training images."""
    where = catalogue.splits.get(split, catalogue.splits.get("all"))
    return {catalogue.classes[index] for index in np.unique(catalogue.labels[where]).tolist()}


def _first_empty(catalogue: Catalogue) -> str:
    return f" {_about(catalogue.empty[0])}" if catalogue.empty else ""


def _about(one: EmptyClass, *, is_trained: bool = False) -> str:
    effect = ", so the class is trained on and not tested" if is_trained else ""
    return f"No image in {one.path!r} can be used{effect}: {one.reason[0].lower()}{one.reason[1:]}"
