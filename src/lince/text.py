"""Lists of names and counts as parts of a sentence, and names of others as printable text."""

import re
from collections.abc import Collection, Sequence
from contextlib import suppress

_SHOWN = 5
# C0, DEL and C1 control characters; line and paragraph separators; characters that change the direction of text
# (Unicode UAX 9); and single surrogates, which Python uses for bytes that are not UTF-8.
_HARMFUL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
"""A name that may stand in an address, as a file's name, and in a line of words: of a model or an API key."""


def listed(names: Sequence[str]) -> str:
    """The first few names, quoted, and the number of the others."""
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN:,} more"


def printable(name: str) -> str:
    """The name for terminals, JSON and lines of text, with control characters and line ends escaped.

    Args:
        name: as the file system, an archive or a server has it.

    Returns:
        The name with Python's escapes, such as `\\x1b`. Different names without a backslash stay different. Bytes that
        are valid UTF-8 are decoded as UTF-8, also in a locale such as C, whose encoding is ASCII.
    """
    with suppress(UnicodeError):
        name = name.encode("utf-8", "surrogateescape").decode("utf-8")
    return _HARMFUL.sub(lambda found: found[0].encode("unicode_escape").decode(), name)


def quantity(count: int, noun: str) -> str:
    """A count with its noun, whose plural ends in s: `1 test image`, `1,234 test images`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def brief(names: Sequence[str], *, unlike: Collection[str] = ()) -> str:
    """The first few class names for a sentence; those that are not in `unlike` come first, to show the difference."""
    ordered = sorted(names, key=unlike.__contains__)
    return ", ".join(ordered[:_SHOWN]) + (", …" if len(ordered) > _SHOWN else "")
