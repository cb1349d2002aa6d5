"""How numbers are written for people: the same in the terminal, in a report and in a model card."""

from lince.types import Interval


def percent(share: float, digits: int = 2) -> str:
    """A share of images, 0..1, as `81.34 %`. Only all images are 100 %, and only none are 0 %: else `> 99.99 %`."""
    return _percent(share, digits, " %", may_be_certain=True)


def probability(value: float, *, unit: str = " %") -> str:
    """A probability as `81.3 %`. It is never 100 % or 0 %: it is exactly 1 or 0 only because float32 rounds it."""
    return _percent(value, 1, unit, may_be_certain=False)


def sets_size(classes: float | None, digits: int = 2) -> str:
    """Classes a set, on average; a dash where there are no sets."""
    return "–" if classes is None else f"{classes:.{digits}f}"


def percent_range(interval: Interval) -> str:
    """The bounds of a share as `80.57–82.09 %`."""
    return f"{100 * interval.low:.2f}–{100 * interval.high:.2f} %"


def points(value: float, digits: int = 2) -> str:
    """Percentage points with their sign, as `+0.12` or `−0.05`; zero has none."""
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text[1:] if float(f"{value:.{digits}f}") == 0 else text


def points_range(interval: Interval) -> str:
    """The bounds of a difference in percentage points, as `−0.05 to +0.29`."""
    return f"{points(interval.low)} to {points(interval.high)}"


def file_size(count: int) -> str:
    """Bytes as `98.4 kB` (thousands, as disks and downloads count them)."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def microseconds(value: float) -> str:
    """A latency as `82.7 µs` or `1.34 ms`."""
    return f"{value:.1f} µs" if value < 1000 else f"{value / 1000:.2f} ms"


def _percent(share: float, digits: int, unit: str, *, may_be_certain: bool) -> str:
    """A share in per cent; one that is nearly 1 or 0 is `>99.9%` or `<0.1%`, instead of being rounded to 100 or 0."""
    text, step = f"{100 * share:.{digits}f}", 10**-digits
    gap = " " if unit.startswith(" ") else ""
    if float(text) >= 100 and not (may_be_certain and share == 1):
        return f">{gap}{100 - step:.{digits}f}{unit}"
    if float(text) <= 0 and not (may_be_certain and share == 0):
        return f"<{gap}{step:.{digits}f}{unit}"
    return f"{text}{unit}"
