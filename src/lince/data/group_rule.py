"""Groups that the user names: by the folder of an image, or by a pattern of its name.

A pattern has `{group}` for what the images of a group share, `*` for any text, and `?` for one character:

    {group}_*.jpg        film1_001.jpg and film1_002.jpg are one group, in whatever folder
    {group}/*            images of folders of one name are one group
    {group}/{group}_*    the folder and the begin of the name together are the group

It is matched with the end of the path, part by part, whatever the case of letters. Where several matches are possible,
the first `{group}` or `*` is as long as it can be. The time is proportional to the length of the name: matching never
goes back.
"""

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from lince.data.class_names import composed
from lince.data.sources.class_folders import arrange
from lince.data.sources.image_files import open_source
from lince.errors import DataError
from lince.text import listed, printable, quantity
from lince.types import Split

FOLDER = "folder"
"""The rule that images of one folder below a class folder are a group."""

_GROUP = "{group}"
_WILD = re.compile(r"(\{group\}|\*)")


@dataclass(frozen=True)
class NamedGroups:
    """The groups of a source's images.

    Attributes:
        groups: i64[N], the lowest index in each image's group; its own where the rule matches none.
        names: of the groups, by that index.
        reading: how many images were matched, a sentence.
    """

    groups: Int64[np.ndarray, " n"]
    names: dict[int, str]
    reading: str


def check_rule(rule: str) -> None:
    """Raises DataError unless `rule` is the word `folder` or a pattern with `{group}`."""
    if rule != FOLDER and _GROUP not in rule:
        raise DataError(
            f"Received --groups {printable(rule)!r}. Expected the word {FOLDER!r}, or a pattern of names with "
            f"{_GROUP}, such as '{_GROUP}_*.jpg'."
        )


def named_groups(split: Split, rule: str, *, source: str | Path) -> NamedGroups:
    """Finds the groups of images by a rule.

    Args:
        split: all images of a source.
        rule: `folder` or a pattern, as of `check_rule`.
        source: the folder or .zip; only names are read.

    Raises:
        DataError: no image is in a group.
    """
    keys = _folders(split, Path(source)) if rule == FOLDER else map(_Pattern(rule).group, split.names)
    groups, names, first_of, count = np.arange(len(split)), {}, dict[str, int](), 0
    for index, key in enumerate(keys):
        if key is not None:
            groups[index] = first_of.setdefault(key, index)
            count += 1
    if count == 0:
        raise DataError(_without_groups(split.names, rule, source=printable(str(source))))
    names = {first: key for key, first in first_of.items()}
    example = next(iter(names))
    reading = (
        f"{count:,} of {quantity(len(split), 'image')} are in {quantity(len(names), 'group')} of --groups "
        f"{printable(rule)}, such as {split.names[example]!r} in {names[example]!r}."
    )
    return NamedGroups(groups, names, reading)


def across_splits(named: NamedGroups, *, num_train: int) -> tuple[str, ...]:
    """A warning when groups are in both of a source's own splits; the training images come first."""
    train, test = np.split(named.groups, [num_train])
    if not (is_shared := np.isin(test, train)).any():
        return ()
    shared = [named.names[index] for index in np.unique(test[is_shared]).tolist()]
    images = quantity(int(is_shared.sum()), "test image")
    return (
        f"{quantity(len(shared), 'group')} ({listed(shared)}) with {images} are in both splits of the source, so the "
        "test accuracy may be too high. Move all images of a group to one side.",
    )


def _folders(split: Split, source: Path) -> Iterator[str | None]:
    """For each image its class and the folders below it; None for one directly in its class folder."""
    with open_source(source) as opened:
        class_folders = arrange(opened.walk(), name=opened.name).folders
    found: dict[str, str | None] = {}
    for name in split.names:
        folder = posixpath.dirname(name)
        if folder not in found:
            above = next((one for one in _upwards(folder) if one in class_folders), folder)
            found[folder] = composed(class_folders[above][1] + folder[len(above) :]) if above != folder else None
        yield found[folder]


def _upwards(folder: str) -> Iterator[str]:
    """The folder, and those around it."""
    while folder:
        yield folder
        folder = posixpath.dirname(folder)


class _Pattern:
    """A compiled pattern.

    Each part is matched from its end: a text after a wildcard is taken at its last place, which leaves most to the
    wildcards before it. Where that place fails, no other can succeed, so atomic groups forbid to try one.
    """

    def __init__(self, pattern: str):
        self._parts = [_compiled(part) for part in composed(pattern).split("/")]

    def group(self, name: str) -> str | None:
        """What stands for `{group}` in a path; None where the pattern does not match."""
        parts = composed(name).split("/")[-len(self._parts) :]
        found = [regex.fullmatch(part[::-1]) for regex, part in zip(self._parts, parts, strict=False)]
        if len(parts) < len(self._parts) or not all(found):
            return None
        return "/".join(text[::-1] for match in found if match for text in reversed(match.groups()))


def _compiled(part: str) -> re.Pattern[str]:
    """A part, for the reversed name: its last text, then each wildcard with the text before it."""
    text, *wild = _WILD.split(part)[::-1]
    steps = [
        ("(.+?)" if wildcard == _GROUP else ".*?") + _literal(before)
        for wildcard, before in zip(wild[::2], wild[1::2], strict=True)
    ]
    regex = "".join([_literal(text), *(f"(?>{step})" for step in steps[:-1]), *steps[-1:]])
    return re.compile(regex, re.DOTALL | re.IGNORECASE)


def _literal(text: str) -> str:
    return "".join("." if character == "?" else re.escape(character) for character in reversed(text))


def _without_groups(names: Sequence[str], rule: str, *, source: str) -> str:
    if rule == FOLDER:
        return (
            f"--groups {FOLDER} finds no image of {source!r} in a folder below its class folder; one is {names[0]!r}. "
            f"Expected CLASS/GROUP/…, or a pattern of names such as --groups '{_GROUP}_*.jpg'."
        )
    return (
        f"--groups {printable(rule)!r} matches no image of {source!r}, such as {names[0]!r}. Expected {_GROUP} for the "
        f"part of the name that the images of a group share, such as '{_GROUP}_*.jpg'."
    )
