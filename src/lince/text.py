"""Lists of names, counts and percentages as parts of a sentence.

Long lists are shortened, and no percentage is rounded to 0 or 100.
"""

from collections.abc import Collection, Sequence

_SHOWN = 5


def listed(names: Sequence[str]) -> str:
    """The first few names, quoted, and the number of the others."""
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN:,} more"


def quantity(count: int, noun: str) -> str:
    """A count with its noun, whose plural ends in s: `1 test image`, `1,234 test images`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def brief(names: Sequence[str], *, unlike: Collection[str] = ()) -> str:
    """The first few class names for a sentence; those that are not in `unlike` come first, to show the difference."""
    ordered = sorted(names, key=unlike.__contains__)
    return ", ".join(ordered[:_SHOWN]) + (", …" if len(ordered) > _SHOWN else "")


def percent(share: float, *, digits: int = 1, unit: str = "%", counted: bool = False) -> str:
    """A share in per cent; one that is nearly 1 or 0 is `>99.9%` or `<0.1%`, instead of being rounded to 100 or 0.

    Args:
        share: 0..1.
        digits: after the point.
        unit: the text after the number, `%` or ` %`.
        counted: true for a share of images, which may be exactly 0 or 1. A probability is exactly 0 or 1 only because
            float32 rounds it.
    """
    text, step = f"{100 * share:.{digits}f}", 10**-digits
    gap = " " if unit.startswith(" ") else ""
    if float(text) >= 100 and not (counted and share == 1):
        return f">{gap}{100 - step:.{digits}f}{unit}"
    if float(text) <= 0 and not (counted and share == 0):
        return f"<{gap}{step:.{digits}f}{unit}"
    return f"{text}{unit}"


def share(value: float, digits: int = 2) -> str:
    """A share of images, 0..1, as `81.34 %`; only all images are 100 %, and only none are 0 %."""
    return percent(value, digits=digits, unit=" %", counted=True)
