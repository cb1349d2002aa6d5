"""Which class and which split each image file belongs to, by where it lies. Names only: nothing is read.

    train/CLASS/….jpg  test/CLASS/….jpg      or      CLASS/….jpg

One folder around it all is allowed, and so are folders inside a class.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lince.data.entry import Entry, printable
from lince.errors import DataError
from lince.images import EXTENSIONS
from lince.records import Rejected
from lince.sentences import listed

# Names of splits, not of classes, when they hold folders. Only the first two are read as such; to guess what the others
# are for would be worse than to ask.
_SPLITS = ("train", "test")
_SPLIT_LIKE = frozenset({*_SPLITS, "training", "testing", "val", "valid", "validation", "dev"})
_OUTSIDE = "It lies in no class folder. Move it into the folder of its class."
_OTHER_NAME = f"Its name does not end as an image's ({', '.join(sorted(EXTENSIONS))}). Rename it, or move it elsewhere."

_Path = tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """The image files of a source, sorted by path, those of `train/` first.

    Attributes:
        entries: the files.
        labels: the class of each, in the order of `entries`.
        classes: sorted.
        num_train: how many lie in `train/`; None where the classes lie alone.
        rejected: pictures outside of every class, other files inside of one, and folders that could not be listed.
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
            splits that differ in their classes, or a class whose name is not one line of text.
    """
    entries = sorted(entries, key=lambda entry: entry.parts)
    paths = _folders(entry for entry in entries if entry.is_image)
    wrapper = _wrapper(paths)
    everything = _below(_folders(entries), wrapper)
    has_splits = _has_splits(_below(paths, wrapper), everything, name=name)
    if has_splits is None:
        wrapper, has_splits = _lone_train(paths, wrapper), False
    place_of = {path: _place(path, wrapper, has_splits=has_splits) for path in _folders(entries)}
    placed = [(entry, place_of[_folder(entry)]) for entry in entries]
    images = [(place, entry) for entry, place in placed if place and entry.is_image]
    images.sort(key=lambda image: image[0].split)  # and by path, as they were
    if not images:
        raise DataError(_without_classes(entries, name=name))
    # A folder without a single image is a class too: the reader finds it empty, instead of nobody missing it.
    places = {place for entry, place in placed if place and (entry.is_image or not entry.problem)}
    return Layout(
        entries=tuple(entry for _, entry in images),
        labels=tuple(place.label for place, _ in images),
        classes=_classes(places, has_splits=has_splits, name=name),
        num_train=sum(place.split == 0 for place, _ in images) if has_splits else None,
        rejected=tuple(_rejected(placed)),
        is_complete=not any(entry.is_folder and entry.problem for entry in entries),
    )


def _without_classes(entries: Iterable[Entry], *, name: str) -> str:
    expected = "Expected CLASS/… or train/CLASS/… and test/CLASS/…"
    if loose := sum(entry.is_image and len(entry.parts) == 1 for entry in entries):
        return (
            f"{name!r} holds no images in class folders, and {loose:,} directly in it. {expected}: put each image into "
            "a folder named after its class."
        )
    return f"{name!r} holds no images in class folders. {expected}, with files named {', '.join(sorted(EXTENSIONS))}."


@dataclass(frozen=True)
class _Place:
    split: int  # an index into _SPLITS; 0 where the classes lie alone
    label: str


def _folders(entries: Iterable[Entry]) -> list[_Path]:
    """The folders of files, and folders, each once: few, where there are millions of files."""
    return sorted({_folder(entry) for entry in entries})


def _folder(entry: Entry) -> _Path:
    """The parts of a file's path, its name left empty; of a folder's, as of a file right inside."""
    return (*entry.parts, "") if entry.is_folder else (*entry.parts[:-1], "")


def _below(paths: Iterable[_Path], wrapper: _Path) -> list[_Path]:
    """The paths that lie in the wrapping folder, as they are seen from there."""
    return [path[len(wrapper) :] for path in paths if path[: len(wrapper)] == wrapper]


def _place(path: _Path, wrapper: _Path, *, has_splits: bool) -> _Place | None:
    """The class of the files in a folder; None for one outside of every class."""
    if path[: len(wrapper)] != wrapper:
        return None
    inner = path[len(wrapper) :]
    if not has_splits:
        return _Place(0, inner[0]) if len(inner) >= 2 else None
    is_inside = len(inner) >= 3 and inner[0].lower() in _SPLITS
    return _Place(_SPLITS.index(inner[0].lower()), inner[1]) if is_inside else None


def _wrapper(paths: Sequence[_Path]) -> _Path:
    """The folder that holds all the folders with images, where there is one; a split's is none."""
    tops = {path[0] for path in paths if len(path) > 1}
    if len(tops) != 1 or any(len(path) == 2 for path in paths):
        return ()
    top = tops.pop()
    return () if top.lower() in _SPLIT_LIKE else (top,)


def _has_splits(images: Sequence[_Path], everything: Sequence[_Path], *, name: str) -> bool | None:
    """True for train/ and test/; False for classes alone; None for classes alone inside of a lone train/."""
    found = {path[0] for path in images if len(path) > 2}  # files right below "train" make it a class of that name
    splits = {folder.lower() for folder in found}
    if not splits & _SPLIT_LIKE:
        return False
    if splits == set(_SPLITS):
        return True
    if splits == {_SPLITS[0]}:  # a test tree without a single image is one that lacks them, not one to draw instead
        return any(len(path) > 2 and path[0].lower() == _SPLITS[1] for path in everything) or None
    raise DataError(
        f"{name!r} holds folders of classes named {listed(sorted(found))}. Expected 'train' and 'test' (or 'train' "
        "alone: a test split is then drawn from it; validation images always are). Rename or remove the others."
    )


def _lone_train(paths: Sequence[_Path], wrapper: _Path) -> _Path:
    depth = len(wrapper)
    return next(path[: depth + 1] for path in paths if path[:depth] == wrapper and len(path) > depth + 2)


def _rejected(placed: Iterable[tuple[Entry, _Place | None]]) -> Iterator[Rejected]:
    """Pictures that belong to no class, and what lies in a class and is no picture by its name."""
    for entry, place in placed:
        if entry.is_folder:
            if entry.problem:
                yield Rejected(entry.path, entry.problem)
        elif entry.is_image:
            if not place:
                yield Rejected(entry.path, _OUTSIDE)
        elif place:
            yield Rejected(entry.path, entry.problem or _OTHER_NAME)


def _classes(places: Iterable[_Place], *, has_splits: bool, name: str) -> tuple[str, ...]:
    """The class names, which must be the same in both splits."""
    train, test = ({place.label for place in places if place.split == split} for split in (0, 1))
    for label in sorted(train | test):
        _check_name(label, name=name)
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


def _check_name(label: str, *, name: str) -> None:
    """Refuses what cannot be a line of the model file's `labels.txt`; what `printable` escaped has a backslash."""
    if "\\" in label or label != printable(label):
        raise DataError(
            f"The class folder '{printable(label)}' of {name!r} has a control character, a backslash or bytes that are "
            "not UTF-8 in its name. Expected a line of text, for the name of the class: rename the folder."
        )
