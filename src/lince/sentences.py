"""Names in a sentence, so that thousands of them still make one."""

from collections.abc import Collection, Sequence

_SHOWN = 5


def listed(names: Sequence[str]) -> str:
    """The first few names, quoted, and how many more there are."""
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN:,} more"


def brief(names: Sequence[str], *, unlike: Collection[str] = ()) -> str:
    """The first few class names for a sentence, those that `unlike` lacks first, so that a difference shows."""
    ordered = sorted(names, key=unlike.__contains__)
    return ", ".join(ordered[:_SHOWN]) + (", …" if len(ordered) > _SHOWN else "")
