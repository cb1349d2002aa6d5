"""Class names that look the same: those of one class, and those of two classes that may be one by mistake."""

import unicodedata
from collections import defaultdict
from collections.abc import Sequence

from lince.text import listed


def composed(name: str) -> str:
    """The name in Unicode's composed form (NFC), in which names are compared and class names are published.

    An `é` is either one character, or a letter and an accent (NFD, as macOS writes it). Both look the same.
    """
    return unicodedata.normalize("NFC", name)


def similar(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Groups of two or more names that differ only in case, blanks, invisible characters or forms of a letter.

    The names are in composed form and all different; each group has their order.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[_folded(name)].append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def similarity_warnings(classes: Sequence[str]) -> tuple[str, ...]:
    """A sentence for each group of classes whose names are similar."""
    return tuple(
        f"The classes {listed(group)} differ only in case or blanks, or in the form of a letter. If they are one "
        "class, give it one name."
        for group in similar(classes)
    )


def _folded(name: str) -> str:
    """The name without case, blanks and invisible characters (Unicode's Cf), its letters in their plain form (NFKC)."""
    visible = "".join(one for one in name if unicodedata.category(one) != "Cf" and not one.isspace())
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())
