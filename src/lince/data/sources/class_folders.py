"""The class and the split of each image file, by its folder. Only names are used: no file is read."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lince.data.class_names import composed
from lince.data.sources.base import Entry
from lince.data.sources.folder_structure import FolderPath, Place, find_shape
from lince.errors import DataError
from lince.images import EXTENSIONS
from lince.text import printable
from lince.types import Rejected

_OUTSIDE = "It is in no class folder. Move it into the folder of its class."
_OTHER_NAME = f"Its name does not end as an image's ({', '.join(sorted(EXTENSIONS))}). Rename it, or move it elsewhere."


@dataclass(frozen=True)
class Layout:
    """The image files of a source, sorted by path, the training images first.

    Attributes:
        entries: the files.
        labels: the class of each, in the order of `entries`.
        num_train: how many are training images; None where a test split is to be drawn from all.
        folders: split (0 or 1) and class of each class folder, with or without images, by its path.
        trees: names of the two splits, for messages.
        reading: how the folders were read, a sentence.
        warnings: what may be a mistake, a sentence each.
        rejected: images outside all classes, other files inside one, and folders that could not be listed.
        is_complete: false when a folder could not be listed.
    """

    entries: tuple[Entry, ...]
    labels: tuple[str, ...]
    num_train: int | None
    folders: dict[str, tuple[int, str]]
    trees: tuple[str, str]
    reading: str
    warnings: tuple[str, ...]
    rejected: tuple[Rejected, ...]
    is_complete: bool

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of all classes, sorted; those without images too."""
        return tuple(sorted({label for _, label in self.folders.values()}))


def arrange(entries: Iterable[Entry], *, name: str) -> Layout:
    """Finds the classes and splits of a source.

    Files are sorted by their names in composed form, so that the order does not depend on the system that wrote them.

    Raises:
        DataError: when there are no images in class folders, or the name of a class is not one line of text. Also when
            the folders could be read in two ways (see `folder_structure`).
    """
    entries = sorted(entries, key=lambda entry: ([composed(part) for part in entry.parts], entry.path))
    shape = find_shape(_folders(entry for entry in entries if entry.is_image), _folders(entries), name=name)
    place_of = {path: shape.place(path) for path in _folders(entries)}
    placed = [(entry, place_of[_folder(entry)]) for entry in entries]
    images = [(place, entry) for entry, place in placed if place and entry.is_image]
    images.sort(key=lambda image: image[0].split)  # and by path, as they were
    if not images:
        raise DataError(_without_classes(entries, name=name))
    # A folder without an image counts too, so that it is listed as empty.
    places = {place for entry, place in placed if place and (entry.is_image or not entry.problem)}
    layout = Layout(
        entries=tuple(entry for _, entry in images),
        labels=tuple(place.label for place, _ in images),
        num_train=sum(place.split == 0 for place, _ in images) if shape.has_test else None,
        folders={"/".join(place.folder): (place.split, place.label) for place in places},
        trees=shape.trees,
        reading=shape.reading,
        warnings=tuple(_merged(places)),
        rejected=tuple(_rejected(placed)),
        is_complete=not any(entry.is_folder and entry.problem for entry in entries),
    )
    for label in layout.classes:
        _check_name(label, name=name)
    return layout


def _without_classes(entries: Iterable[Entry], *, name: str) -> str:
    expected = "Expected CLASS/… or train/CLASS/… and test/CLASS/…"
    if loose := sum(entry.is_image and len(entry.parts) == 1 for entry in entries):
        return (
            f"{name!r} holds no images in class folders, and {loose:,} directly in it. {expected}: put each image into "
            "a folder named after its class."
        )
    return f"{name!r} holds no images in class folders. {expected}, with files named {', '.join(sorted(EXTENSIONS))}."


def _folders(entries: Iterable[Entry]) -> list[FolderPath]:
    """The folders of files, and the folders themselves, each once: few, even with millions of files."""
    return sorted({_folder(entry) for entry in entries})


def _folder(entry: Entry) -> FolderPath:
    """The path of the folder of a file, or of a folder itself, in parts, with an empty name at the end."""
    return (*entry.parts, "") if entry.is_folder else (*entry.parts[:-1], "")


def _merged(places: Iterable[Place]) -> Iterator[str]:
    """A warning for each class whose folders have different names on disk that look the same."""
    names: dict[str, set[str]] = defaultdict(set)
    for place in places:
        names[place.label].add(place.written)
    for label in sorted(label for label, written in names.items() if len(written) > 1):
        yield f"Folders named {label!r} are written in two forms of Unicode; they are read as one class."


def _rejected(placed: Iterable[tuple[Entry, Place | None]]) -> Iterator[Rejected]:
    """Images outside all classes, and files inside a class without an image's name."""
    for entry, place in placed:
        if entry.is_folder:
            if entry.problem:
                yield Rejected(entry.path, entry.problem)
        elif entry.is_image:
            if not place:
                yield Rejected(entry.path, _OUTSIDE)
        elif place:
            yield Rejected(entry.path, entry.problem or _OTHER_NAME)


def _check_name(label: str, *, name: str) -> None:
    """Refuses a name that cannot be a line of the model file's `labels.txt`; `printable` escapes with a backslash."""
    if "\\" in label or label != printable(label):
        raise DataError(
            f"The class folder '{printable(label)}' of {name!r} has a control character, a backslash or bytes that are "
            "not UTF-8 in its name. Expected a line of text, for the name of the class: rename the folder."
        )
