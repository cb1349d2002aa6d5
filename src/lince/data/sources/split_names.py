"""Which split the name of a folder means: `train`, `seg_test`, `imagesVal`; not `trains`, `contest` or `valley`."""

import re
from collections.abc import Iterable, Sequence
from enum import Enum

from lince.data.class_names import composed


class Role(Enum):
    """What the images of a split are for."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


_ROLE_OF = {
    "train": Role.TRAIN,
    "training": Role.TRAIN,
    "test": Role.TEST,
    "testing": Role.TEST,
    "eval": Role.TEST,
    "evaluation": Role.TEST,
    "val": Role.VALIDATION,
    "valid": Role.VALIDATION,
    "validation": Role.VALIDATION,
    "dev": Role.VALIDATION,
}
_WORD = re.compile("|".join(sorted(_ROLE_OF, key=len, reverse=True)))  # the longest first: "validation", not "val"
# Words that are written together with a split's, without a sign between them: `trainset`, `testimages`.
_ATTACHED = frozenset(
    {*_ROLE_OF, "set", "sets", "data", "dataset", "images", "image", "imgs", "img", "pictures", "pics", "photos"}
    | {"folder", "dir", "split"}
)
_LETTERS = re.compile(r"[^\W\d_]+")
_CASE_CHANGE = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def is_word(name: str) -> bool:
    """Whether a name is just the word for a split."""
    return composed(name).lower() in _ROLE_OF


def roles(names: Iterable[str]) -> dict[str, Role]:
    """The splits that the names of sibling folders mean, for each name that means one.

    A name for training and validation images together (`trainval`) means training; one for training and test images
    means no split.
    """
    names = list(names)
    found = {name: role for name in names if (role := _role(name))}
    return _framed(name for name in names if name not in found) | found


def may_be_splits(names: Iterable[str]) -> bool:
    """Whether every name contains the word for a split, even inside another word, and one of them means training."""
    held = [_held(name) for name in names]
    return all(held) and any(Role.TRAIN in one for one in held) and len(set().union(*held)) > 1


def have_one_frame(names: Sequence[str]) -> bool:
    """Whether names differ only in the word for the split."""
    return len(names) > 1 and len({_WORD.sub("", composed(name).lower(), count=1) for name in names}) == 1


def _role(name: str) -> Role | None:
    spoken = {_ROLE_OF[word] for run in _LETTERS.findall(composed(name)) for word in _words(run)}
    if spoken == {Role.TRAIN, Role.VALIDATION}:
        return Role.TRAIN
    return spoken.pop() if len(spoken) == 1 else None


def _held(name: str) -> set[Role]:
    """The splits whose words are anywhere in a name."""
    return {_ROLE_OF[word] for word in _WORD.findall(composed(name).lower())}


def _words(run: str) -> list[str]:
    """The split's words in a run of letters: separated by a change of case, or beside an attached word."""
    for parts in (_CASE_CHANGE.split(run), [run]):  # `imagesTrain`; but in `TRAINset` the case changes inside a word
        if found := [word for part in parts for word in _in_part(part.lower())]:
            return found
    return []


def _in_part(part: str) -> list[str]:
    pieces = [piece for piece in re.split(f"({_WORD.pattern})", part) if piece]
    return [piece for piece in pieces if piece in _ROLE_OF] if _ATTACHED.issuperset(pieces) else []


def _framed(names: Iterable[str]) -> dict[str, Role]:
    """Names with the same letters around the words for splits, of which one means training: `segtrain`, `segtest`."""
    frames: dict[tuple[str, str], dict[str, Role]] = {}
    for name in (name for name in names if len(_held(name)) == 1):
        for run in _LETTERS.findall(composed(name).lower()):
            for word in _WORD.finditer(run):
                frames.setdefault((run[: word.start()], run[word.end() :]), {})[name] = _ROLE_OF[word[0]]
    found: dict[str, Role] = {}
    for members in frames.values():
        if Role.TRAIN in members.values() and len(set(members.values())) > 1:
            found |= members
    return found
