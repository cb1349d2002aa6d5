"""How numbers are written for people: the same in the terminal, in a report and in a model card."""

from lince import text as sentences
from lince.types import Interval


def percent(share: float, digits: int = 2) -> str:
    """A share of images, 0..1, as `81.34 %`; 100 % and 0 % are all and none of them, not nearly so."""
    return sentences.share(share, digits)


def probability(value: float) -> str:
    """A probability as `81.3 %`; at most `> 99.9 %`, at least `< 0.1 %`."""
    return sentences.percent(value, unit=" %")


def sets_size(classes: float | None, digits: int = 2) -> str:
    """Classes a set, on average; a dash where there are no sets."""
    return "–" if classes is None else f"{classes:.{digits}f}"


def percent_range(interval: Interval, digits: int = 2) -> str:
    """The bounds of a share as `80.57–82.09 %`."""
    return f"{100 * interval.low:.{digits}f}–{100 * interval.high:.{digits}f} %"


def points(value: float, digits: int = 2) -> str:
    """Percentage points with their sign, as `+0.12` or `−0.05`; zero has none."""
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text[1:] if float(f"{value:.{digits}f}") == 0 else text


def points_range(interval: Interval, digits: int = 2) -> str:
    """The bounds of a difference in percentage points, as `−0.05 to +0.29`."""
    return f"{points(interval.low, digits)} to {points(interval.high, digits)}"


def file_size(count: int) -> str:
    """Bytes as `98.4 kB` (thousands, as disks and downloads count them)."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def microseconds(value: float) -> str:
    """A latency as `82.7 µs` or `1.34 ms`."""
    return f"{value:.1f} µs" if value < 1000 else f"{value / 1000:.2f} ms"
