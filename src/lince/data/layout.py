"""Which class and which split each image file belongs to, by where it lies. Names only: nothing is read.

    train/CLASS/….jpg  test/CLASS/….jpg      or      CLASS/….jpg

One folder around it all is allowed, and so are folders inside a class.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lince.data.entry import Entry
from lince.errors import DataError
from lince.images import EXTENSIONS
from lince.records import Rejected

# Names of splits, not of classes, when they hold folders. Only the first two are read as such; to guess what the others
# are for would be worse than to ask.
_SPLITS = ("train", "test")
_SPLIT_LIKE = frozenset({*_SPLITS, "training", "testing", "val", "valid", "validation", "dev"})
_OUTSIDE = "It lies in no class folder. Move it into the folder of its class."


@dataclass(frozen=True)
class Layout:
    """The image files of a source, sorted by path, those of `train/` first.

    Attributes:
        entries: the files.
        labels: the class of each, in the order of `entries`.
        classes: sorted.
        num_train: how many lie in `train/`; None where the classes lie alone.
        rejected: pictures outside of every class, and folders that could not be listed.
        is_complete: false when there is such a folder.
    """

    entries: tuple[Entry, ...]
    labels: tuple[str, ...]
    classes: tuple[str, ...]
    num_train: int | None
    rejected: tuple[Rejected, ...]
    is_complete: bool

    @property
    def splits(self) -> dict[str, slice]:
        """Where in `entries` the files of each tree lie."""
        if self.num_train is None:
            return {"": slice(None)}
        return {"train/": slice(self.num_train), "test/": slice(self.num_train, None)}


def arrange(entries: Iterable[Entry], *, name: str) -> Layout:
    """Finds the classes and splits of a source.

    Args:
        entries: everything in it, folders too.
        name: of the source, for messages.

    Returns:
        Where each image belongs.

    Raises:
        DataError: when there are no images in class folders, fewer than two classes, other splits than train and test,
            or splits that differ in their classes.
    """
    entries = sorted(entries, key=lambda entry: entry.parts)
    paths = [entry.parts for entry in entries if entry.is_image]
    wrapper = _wrapper(paths)
    has_splits = _has_splits([path[len(wrapper) :] for path in paths if path[: len(wrapper)] == wrapper], name=name)
    if has_splits is None:
        wrapper, has_splits = _lone_train(paths, wrapper), False
    placed = [(entry, _place(entry.parts, wrapper, has_splits=has_splits)) for entry in entries if entry.is_image]
    images = sorted(
        ((place, entry) for entry, place in placed if place), key=lambda image: (image[0].split, image[1].parts)
    )
    if not images:
        raise DataError(
            f"{name!r} holds no images in class folders. Expected CLASS/… or train/CLASS/… and test/CLASS/…, with "
            f"files named {', '.join(sorted(EXTENSIONS))}."
        )
    empty = (_place((*folder, ""), wrapper, has_splits=has_splits) for folder in _empty_folders(entries))
    return Layout(
        entries=tuple(entry for _, entry in images),
        labels=tuple(place.label for place, _ in images),
        classes=_classes([*(place for place, _ in images), *filter(None, empty)], has_splits=has_splits, name=name),
        num_train=sum(place.split == 0 for place, _ in images) if has_splits else None,
        rejected=(
            *(Rejected(entry.path, entry.problem) for entry in entries if entry.is_folder and entry.problem),
            *(Rejected(entry.path, _OUTSIDE) for entry, place in placed if not place),
        ),
        is_complete=not any(entry.is_folder and entry.problem for entry in entries),
    )


@dataclass(frozen=True)
class _Place:
    split: int  # an index into _SPLITS; 0 where the classes lie alone
    label: str


def _place(parts: tuple[str, ...], wrapper: tuple[str, ...], *, has_splits: bool) -> _Place | None:
    """The class of a file; None for one outside of every class."""
    if parts[: len(wrapper)] != wrapper:
        return None
    inner = parts[len(wrapper) :]
    if not has_splits:
        return _Place(0, inner[0]) if len(inner) >= 2 else None
    is_inside = len(inner) >= 3 and inner[0].lower() in _SPLITS
    return _Place(_SPLITS.index(inner[0].lower()), inner[1]) if is_inside else None


def _wrapper(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The folder that holds all the folders with images, where there is one; a split's is none."""
    tops = {path[0] for path in paths if len(path) > 1}
    if len(tops) != 1 or any(len(path) == 2 for path in paths):
        return ()
    top = tops.pop()
    return () if top.lower() in _SPLIT_LIKE else (top,)


def _has_splits(paths: Sequence[tuple[str, ...]], *, name: str) -> bool | None:
    """True for train/ and test/; False for classes alone; None for classes alone inside of a lone train/."""
    found = {path[0] for path in paths if len(path) > 2}  # files right below "train" make it a class of that name
    splits = {folder.lower() for folder in found}
    if not splits & _SPLIT_LIKE:
        return False
    if splits == set(_SPLITS):
        return True
    if splits == {_SPLITS[0]}:
        return None
    raise DataError(
        f"{name!r} holds folders of classes named {listed(sorted(found))}. Expected 'train' and 'test' (or 'train' "
        "alone: a test split is then drawn from it; validation images always are). Rename or remove the others."
    )


def _lone_train(paths: Sequence[tuple[str, ...]], wrapper: tuple[str, ...]) -> tuple[str, ...]:
    depth = len(wrapper)
    return next(path[: depth + 1] for path in paths if path[:depth] == wrapper and len(path) > depth + 2)


def _empty_folders(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Folders with nothing in them: a class whose images are missing."""
    parents = {entry.parts[:-1] for entry in entries}
    return [entry.parts for entry in entries if entry.is_folder and not entry.problem and entry.parts not in parents]


def _classes(places: Iterable[_Place], *, has_splits: bool, name: str) -> tuple[str, ...]:
    """The class names, which must be the same in both splits."""
    train, test = ({place.label for place in places if place.split == split} for split in (0, 1))
    if has_splits and train != test:
        here, there, missing = ("test/", "train/", train - test) if train - test else ("train/", "test/", test - train)
        raise DataError(
            f"{name!r} has no images of {listed(sorted(missing))} in {here}, but has in {there}. Expected the same "
            "classes in both: add the images, or remove the class."
        )
    if len(train) < 2:
        raise DataError(
            f"{name!r} holds one class only, {listed(sorted(train))}. Expected two or more, with a folder for each."
        )
    return tuple(sorted(train))


def listed(names: Sequence[str]) -> str:
    """The first few names, quoted, so that a thousand still make one sentence."""
    shown = ", ".join(map(repr, names[:5]))
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5:,} more"
