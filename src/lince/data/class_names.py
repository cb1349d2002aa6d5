"""Names that look the same: one class, or two that somebody should look at."""

import unicodedata
from collections import defaultdict
from collections.abc import Sequence

from lince.text import listed


def composed(name: str) -> str:
    """The name in Unicode's composed form (NFC), in which names are compared and class names are published.

    An `é` is one character or a letter and an accent (NFD, as macOS writes it): both are shown alike.
    """
    return unicodedata.normalize("NFC", name)


def similar(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Groups of names that differ only in case, in blanks, in characters that cannot be seen or in forms of a letter.

    Args:
        names: in composed form, each once.

    Returns:
        Each group of two or more, in the order of `names`.
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
    """Without case, blanks and what is not seen (Unicode's category Cf); ligatures and wide letters in plain form."""
    visible = "".join(one for one in name if unicodedata.category(one) != "Cf" and not one.isspace())
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())
