"""Names and probabilities in a sentence: thousands of names still make one, and no rounding makes a certainty."""

from collections.abc import Collection, Sequence

_SHOWN = 5


def listed(names: Sequence[str]) -> str:
    """The first few names, quoted, and how many more there are."""
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN:,} more"


def quantity(count: int, noun: str) -> str:
    """How many, with a noun whose plural ends in s: `1 test image`, `1,234 test images`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def brief(names: Sequence[str], *, unlike: Collection[str] = ()) -> str:
    """The first few class names for a sentence, those that `unlike` lacks first, so that a difference shows."""
    ordered = sorted(names, key=unlike.__contains__)
    return ", ".join(ordered[:_SHOWN]) + (", …" if len(ordered) > _SHOWN else "")


def percent(share: float, *, digits: int = 1, unit: str = "%", counted: bool = False) -> str:
    """A share 0..1 in per cent, where rounding makes no certainty: `>99.9%` and `<0.1%` for what is only nearly 1 or 0.

    Args:
        share: 0..1.
        digits: after the point.
        unit: what follows the number, `%` or ` %`.
        counted: a share of images, which may be exactly 0 or 1; otherwise a probability, which float32 rounds to them.
    """
    text, step = f"{100 * share:.{digits}f}", 10**-digits
    gap = " " if unit.startswith(" ") else ""
    if float(text) >= 100 and not (counted and share == 1):
        return f">{gap}{100 - step:.{digits}f}{unit}"
    if float(text) <= 0 and not (counted and share == 0):
        return f"<{gap}{step:.{digits}f}{unit}"
    return f"{text}{unit}"


def share(value: float, digits: int = 2) -> str:
    """A share of images, 0..1, as `81.34 %`; 100 % and 0 % are all and none of them, not nearly so."""
    return percent(value, digits=digits, unit=" %", counted=True)
