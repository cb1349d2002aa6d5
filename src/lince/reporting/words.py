"""The texts and numbers of a report in its language."""

from lince import number_formats
from lince.language import Language, number, text
from lince.types import Interval


class Words:
    """Texts by their keys without `report.`, and numbers as `number_formats` writes them."""

    def __init__(self, language: Language):
        self.language = language
        self.html = {"en": "en", "pt": "pt-BR"}[language]

    def __call__(self, key: str, **values: object) -> str:
        return text(self.language, f"report.{key}", **values)

    def count(self, value: float) -> str:
        """A whole number."""
        return number(self.language, f"{value:,.0f}")

    def decimal(self, value: float, digits: int) -> str:
        """A number with so many digits behind the point."""
        return number(self.language, f"{value:,.{digits}f}")

    def percent(self, share: float, digits: int = 2) -> str:
        """As `number_formats.percent`."""
        return self._number(number_formats.percent(share, digits))

    def percent_range(self, interval: Interval, digits: int = 2) -> str:
        """The bounds of a share, in words."""
        return self("range", low=self.percent(interval.low, digits), high=self.percent(interval.high, digits))

    def probability(self, value: float) -> str:
        """As `number_formats.probability`."""
        return self._number(number_formats.probability(value))

    def points(self, value: float, digits: int = 2) -> str:
        """Percentage points with their sign, and the word for them."""
        return self("points", points=self.signed(value, digits))

    def points_range(self, interval: Interval) -> str:
        """The bounds of a difference in percentage points, in words."""
        return self("range", low=self.signed(interval.low), high=self.signed(interval.high))

    def signed(self, value: float, digits: int = 2) -> str:
        """A number with its sign."""
        return number(self.language, number_formats.points(value, digits))

    def size(self, count: int) -> str:
        """As `number_formats.file_size`."""
        return self._number(number_formats.file_size(count))

    def time(self, value: float) -> str:
        """A latency; as `number_formats.microseconds`."""
        return self._number(number_formats.microseconds(value))

    def duration(self, seconds: float) -> str:
        """A duration as `2 h 05 min`, `3 min 20 s` or `45 s`."""
        whole = round(seconds)
        if whole >= 3600:
            return f"{whole // 3600} h {whole % 3600 // 60:02} min"
        return f"{whole // 60} min {whole % 60:02} s" if whole >= 60 else f"{whole} s"

    def many(self, value: float) -> str:
        """A large number in short, as `1.8 M`."""
        for unit, size in ((" G", 10**9), (" M", 10**6), (" k", 10**3)):
            if value >= size:
                return self._number(f"{value / size:.1f}{unit}")
        return self.count(value)

    def _number(self, formatted: str) -> str:
        """A number with its unit, between which no line ends."""
        return number(self.language, formatted).replace(" ", "\u00a0")
