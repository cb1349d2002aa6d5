"""The shape of a source: whether its folders are classes, splits with classes in them, or classes with splits in them.

    CLASS/…      TRAIN/CLASS/…  TEST/CLASS/…      CLASS/TRAIN/…  CLASS/TEST/…

Outer folders that hold nothing but the next folder are ignored (the wrapper). TRAIN and TEST are any names that mean a
split, with or without other words (see `split_names`). A folder is a split only if its siblings or its contents agree.
A source that could be read in two ways is refused: the wrong one would train a model of something else.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lince.data.class_names import composed
from lince.data.sources.split_names import Role, have_one_frame, is_word, may_be_splits, roles
from lince.errors import DataError
from lince.text import listed

FolderPath = tuple[str, ...]
"""The parts of a folder's path and an empty name, as of a file directly in it."""

_REPAIR = (
    "Expected CLASS/… alone, or 'train' and 'test' with the same class folders in each: rename the folders, or move "
    "what does not belong elsewhere."
)


@dataclass(frozen=True)
class Place:
    """The split and the class of a folder's images.

    Attributes:
        split: 0 for training images (or all images, where there are only classes), 1 for test images.
        label: the class, composed.
        written: the name of the class as it is on disk.
        folder: the class's folder, or the split's folder in it.
    """

    split: int
    label: str
    written: str
    folder: FolderPath


@dataclass(frozen=True)
class Shape:
    """How the folders of a source are read.

    Attributes:
        wrapper: the folders around all images.
        split_of: 0 (train) or 1 (test) for each split's folder; empty where there are only classes.
        is_inside: whether the splits' folders are inside the classes.
        nested: for a split's folder that holds only one more folder of that split, the name of the inner one.
        trees: names of the two splits, for messages.
        reading: the shape as a sentence.
    """

    wrapper: FolderPath
    reading: str
    split_of: Mapping[str, int] = field(default_factory=dict)
    is_inside: bool = False
    nested: Mapping[str, str] = field(default_factory=dict)
    trees: tuple[str, str] = ("train", "test")

    @property
    def has_test(self) -> bool:
        return 1 in self.split_of.values()

    def place(self, path: FolderPath) -> Place | None:
        """The split and the class of a folder's files; None outside all classes."""
        depth = len(self.wrapper)
        if path[:depth] != self.wrapper:
            return None
        inner = path[depth:]
        if not self.split_of:
            return _place(0, inner[0], path[: depth + 1]) if len(inner) >= 2 else None
        tree, label = (1, 0) if self.is_inside else (0, 1)
        if self.is_inside and len(inner) >= 2 and inner[tree] not in self.split_of:
            return _place(0, inner[0], path[: depth + 1])  # not a split, and without pictures: perhaps an empty class
        if len(inner) < 3 or inner[tree] not in self.split_of:
            return None
        if inner[tree] in self.nested:
            label += 1
            if len(inner) < 4 or inner[1] != self.nested[inner[tree]]:
                return None
        return _place(self.split_of[inner[tree]], inner[label], path[: depth + max(tree, label) + 1])


def _place(split: int, written: str, folder: FolderPath) -> Place:
    return Place(split, composed(written), written, folder)


@dataclass(frozen=True)
class _Folder:
    """One of the folders at a level.

    Attributes:
        has_pictures: whether pictures are directly in it.
        filled: names of the folders in it that hold pictures.
        every: names of all folders in it, as they are on disk.
    """

    has_pictures: bool
    filled: frozenset[str]
    every: frozenset[str]

    @property
    def is_filled(self) -> bool:
        return self.has_pictures or bool(self.filled)

    @property
    def class_names(self) -> frozenset[str]:
        """The names of its classes, if it is a split."""
        return frozenset(map(composed, self.filled or (() if self.has_pictures else self.every)))


def find_shape(pictures: Sequence[FolderPath], everything: Sequence[FolderPath], *, name: str) -> Shape:
    """Finds the shape of a source.

    Args:
        pictures: the folders with pictures directly in them, each once.
        everything: all folders.
        name: of the source, for messages.

    Raises:
        DataError: it could be read in two ways, or has splits of which none means training.
    """
    tree = _Tree(pictures, everything)
    wrapper: FolderPath = ()
    while True:
        level = tree.level(wrapper)
        filled = [folder for folder, content in level.items() if content.is_filled]
        if shape := _inner_splits(tree, level, wrapper, name=name) or _splits(tree, level, wrapper, name=name):
            return shape
        if len(filled) != 1 or level[filled[0]].has_pictures:
            return _classes(level, filled, wrapper, name=name)
        wrapper = (*wrapper, filled[0])


def _classes(level: Mapping[str, _Folder], filled: Sequence[str], wrapper: FolderPath, *, name: str) -> Shape:
    """The shape with classes at this level, unless their names contain the words for splits."""
    deep = {folder: level[folder].class_names for folder in filled if level[folder].filled}
    if may_be_splits(deep) and all(_meets(names, list(deep)[:1], deep) for names in deep.values()):
        raise _ambiguous(list(deep), level, name=name)
    if len(filled) == 1:
        wrapper = wrapper[:1]  # of nested folders, the outer one is the class
    place = f" in {'/'.join(wrapper)!r}" if len(wrapper) > 1 else ""
    return Shape(wrapper, f"Each folder{place} is a class; test images are drawn from each.")


class _Tree:
    def __init__(self, pictures: Sequence[FolderPath], everything: Sequence[FolderPath]):
        self._pictures, self._everything = pictures, everything

    def level(self, wrapper: FolderPath) -> dict[str, _Folder]:
        """The folders directly in `wrapper`."""
        direct: set[str] = set()
        filled: dict[str, set[str]] = {}
        every: dict[str, set[str]] = {}
        for folder, *inside in self._below(self._everything, wrapper):
            every.setdefault(folder, set()).update(inside[:1])
        for folder, *inside in self._below(self._pictures, wrapper):
            if inside:
                filled.setdefault(folder, set()).add(inside[0])
            else:
                direct.add(folder)
        return {
            folder: _Folder(folder in direct, frozenset(filled.get(folder, ())), frozenset(inside))
            for folder, inside in every.items()
        }

    @staticmethod
    def _below(paths: Iterable[FolderPath], wrapper: FolderPath) -> Iterable[FolderPath]:
        depth = len(wrapper)
        return (path[depth:-1] for path in paths if path[:depth] == wrapper and len(path) > depth + 1)


def _splits(tree: _Tree, level: Mapping[str, _Folder], wrapper: FolderPath, *, name: str) -> Shape | None:
    """The shape with splits at this level; None where these folders are classes, or a wrapper."""
    role_of = roles(level)
    others = [folder for folder, content in level.items() if folder not in role_of and content.is_filled]
    flat = [folder for folder in role_of if level[folder].has_pictures and not level[folder].filled]
    nested = {folder: inner for folder in role_of if (inner := _nested(level[folder], role_of[folder]))}
    names = {folder: _class_names(tree, level[folder], (*wrapper, folder), nested.get(folder)) for folder in role_of}
    deep = [folder for folder in role_of if level[folder].filled]
    deep += [folder for folder in role_of if not level[folder].is_filled and _meets(names[folder], deep, names)]
    if not deep:
        if not others and {Role.TRAIN} < {role_of[folder] for folder in flat}:
            raise DataError(
                f"{name!r} holds {listed(sorted(flat))} with pictures directly in them. Expected class folders in "
                "them, such as train/CLASS/…: the class of a picture is the name of its folder."
            )
        return None
    others_names = {folder: level[folder].class_names for folder in others}
    alike = [folder for folder in others if _meets(others_names[folder], deep, names)]
    has_word, has_train = any(map(is_word, deep)), any(role_of[folder] is Role.TRAIN for folder in deep)
    if len(deep) == 1 and not flat:
        if not has_word:
            return None
        is_loose = len(names[deep[0]]) > 1 and not all(others_names[folder] for folder in others)
        if others and not (alike or is_loose):
            return None  # a class with that name: vehicles are `train`, `bus` and `car`
        alike = others
    elif not all(map(is_word, deep)) and not _all_meet(names, deep, role_of):
        if not (has_word or have_one_frame(deep)):
            return None
        alike = alike or deep
    if alike:
        raise _ambiguous([*deep, *alike], level, name=name)
    if not has_train and (len(deep) > 1 or flat):
        raise DataError(
            f"{name!r} holds {listed(sorted(deep))} and nothing to train on. {_REPAIR} To evaluate on one of them, "
            "name it as DATA."
        )
    nested = {folder: inner for folder, inner in nested.items() if folder in deep}
    unread = sorted([*flat, *others])
    return _shape({folder: role_of[folder] for folder in deep}, wrapper, nested=nested, unread=unread)


def _inner_splits(tree: _Tree, level: Mapping[str, _Folder], wrapper: FolderPath, *, name: str) -> Shape | None:
    """The shape with splits inside each class; None where there are none."""
    classes = [folder for folder, content in level.items() if content.is_filled]
    role_of = {folder: roles(level[folder].filled) for folder in classes}
    divided = [folder for folder in classes if {Role.TRAIN} < set(role_of[folder].values())]
    whole = [folder for folder in classes if level[folder].has_pictures or set(role_of[folder]) != level[folder].filled]
    together = {role for found in role_of.values() for role in found.values()}
    if not (divided or whole or roles(classes)) and {Role.TRAIN} < together:
        divided = classes  # one class has only training images, another only test images
    if len(classes) < 2 or not divided:
        return None
    if whole:
        raise DataError(
            f"It is unclear how {name!r} is split: {_seen([divided[0], whole[0]], level)}. "
            "Expected the same splits in every class folder, or in none: move the pictures, or rename the folders."
        )
    inside = (tree.level((*wrapper, folder)) for folder in classes)
    if shared := _shared(content for splits in inside for content in splits.values() if content.is_filled):
        raise DataError(
            f"{name!r} holds {listed(sorted(classes))}, each with splits in it that hold {listed(sorted(shared))}. "
            "Expected one dataset: name one of these folders as DATA."
        )
    found = {split: role for folder in classes for split, role in role_of[folder].items()}
    return _shape(found, wrapper, prefix="CLASS/")


def _shared(contents: Iterable[_Folder]) -> frozenset[str]:
    """The names that all folders hold, two or more; none where pictures are directly in one of the folders.

    Usually the first folder decides: looking into all of 20,000 classes takes minutes.
    """
    shared: frozenset[str] | None = None
    for content in contents:
        names = frozenset[str]() if content.has_pictures else content.class_names
        shared = names if shared is None else shared & names
        if len(shared) < 2:
            break
    return shared if shared and len(shared) > 1 else frozenset()


def _shape(
    role_of: Mapping[str, Role],
    wrapper: FolderPath,
    *,
    nested: Mapping[str, str] | None = None,
    unread: Sequence[str] = (),
    prefix: str = "",
) -> Shape:
    """The shape with these splits. Validation images are the test where there is none, else training images.

    In the second case new validation images are drawn from all training images.
    """
    found = set(role_of.values())
    held = Role.TEST if Role.TEST in found else Role.VALIDATION
    split_of = {folder: int(role is held) for folder, role in role_of.items()}
    train, test = ([prefix + folder for folder in sorted(split_of) if split_of[folder] == split] for split in (0, 1))
    if not test:
        reading = f"{listed(train)} to train on; test images are drawn from it."
    elif not train:
        reading = f"{listed(test)} to test on, and nothing to train on."
    else:
        joined = " (validation images are drawn from all of these)" if {Role.VALIDATION} < found - {Role.TRAIN} else ""
        reading = f"{listed(train)} to train on{joined}, {listed(test)} to test on."
    if unread:
        reading += f" Not read: {listed(unread)}."
    trees = (_either(train or ["train"]), _either(test or ["test"]))
    return Shape(wrapper, reading, split_of, bool(prefix), nested or {}, trees)


def _either(folders: Sequence[str]) -> str:
    return "/ or ".join(folders[:3]) + (" and so on" if len(folders) > 3 else "")


def _nested(folder: _Folder, role: Role) -> str | None:
    """The only folder in a split's folder, if it means the same split: `seg_train/seg_train/CLASS`."""
    if folder.has_pictures or len(folder.filled) != 1:
        return None
    (inner,) = folder.filled
    return inner if roles([inner]).get(inner) is role else None


def _class_names(tree: _Tree, folder: _Folder, path: FolderPath, inner: str | None) -> frozenset[str]:
    return tree.level(path)[inner].class_names if inner else folder.class_names


def _meets(names: Collection[str], folders: Iterable[str], names_of: Mapping[str, frozenset[str]]) -> bool:
    return any(not names_of[folder].isdisjoint(names) for folder in folders)


def _all_meet(names: Mapping[str, frozenset[str]], folders: Sequence[str], role_of: Mapping[str, Role]) -> bool:
    """Whether each split shares a class with a training split, and each training split with the first of them."""
    train = [folder for folder in folders if role_of[folder] is Role.TRAIN]
    first = train[:1] or folders[:1]
    return all(_meets(names[folder], first if folder in train else train or first, names) for folder in folders)


def _ambiguous(folders: Sequence[str], level: Mapping[str, _Folder], *, name: str) -> DataError:
    return DataError(
        f"It is unclear whether the folders of {name!r} are splits or classes: {_seen(folders, level)}. {_REPAIR}"
    )


def _seen(folders: Iterable[str], level: Mapping[str, _Folder]) -> str:
    """The contents of folders, for a sentence."""
    return "; ".join(
        f"{folder!r} holds {listed(sorted(level[folder].class_names)) if level[folder].class_names else 'pictures'}"
        + (" and pictures" if level[folder].has_pictures and level[folder].class_names else "")
        for folder in dict.fromkeys(folders)
    )
