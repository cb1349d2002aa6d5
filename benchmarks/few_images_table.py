"""The records of `few_images.py`, and its table: is Lince below a baseline by more than one standard error?"""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from lince import schema
from lince.errors import LinceError
from lince.system.files import read_bounded, reason_of, write_atomically

FORMAT = 1
_MAX_BYTES = 2**28


class Trained(Struct, frozen=True, kw_only=True):
    """A run of `lince train`.

    Attributes:
        right: a character for each test image, `1` where the published int8 model is right, `0` where it is wrong.
        seconds: from the start of the process to its end.
        peak_bytes: the largest resident memory of the process and its children together.
        latency_us: of one image on one thread, from the certificate.
        recipe: the recipe that was trained.
        float_accuracy: of the same test images.
    """

    right: str
    seconds: float
    peak_bytes: int
    latency_us: float
    recipe: str
    float_accuracy: float


class Failed(Struct, frozen=True, kw_only=True):
    """A run of `lince train` that published no model: its exit code, and the last lines that it printed."""

    exit_code: int
    message: str


class Fitted(Struct, frozen=True, kw_only=True):
    """A baseline: its right answers as in `Trained`, the settings that cross-validation chose, and its time."""

    right: str
    settings: dict[str, float | str]
    seconds: float


class Result(Struct, kw_only=True):
    """What was measured on one split of one set.

    Attributes:
        data: the set's name, which is that of its folder.
        classes: how many.
        train, test: names of the images; those that Lince validates with are among `train`.
        failed: set where `lince train` ended without a model. It is tried again.
    """

    data: str
    seed: int
    classes: int
    train: tuple[str, ...]
    test: tuple[str, ...]
    lince: Trained | None = None
    failed: Failed | None = None
    baselines: dict[str, Fitted] = {}


class Results(Struct, kw_only=True):
    """The file of `--json`.

    Attributes:
        arguments: what `lince train` was given beside data, seed and places.
        machine: a description.
    """

    arguments: tuple[str, ...]
    machine: str
    results: list[Result] = []
    format: int = FORMAT

    def of(self, data: str, seed: int) -> Result | None:
        """The result of a set and seed, if there is one."""
        return next((one for one in self.results if (one.data, one.seed) == (data, seed)), None)


def read(path: Path) -> Results | None:
    """Reads results; None where there is no file yet.

    Raises:
        LinceError: it is not a file of this benchmark.
    """
    try:
        results = schema.from_json(read_bounded(path, _MAX_BYTES), Results)
    except FileNotFoundError:
        return None
    except (OSError, schema.MisfitError) as error:
        raise LinceError(
            f"{str(path)!r} cannot be read ({reason_of(error)}). Expected results that this benchmark wrote: choose "
            "another --json."
        ) from error
    if results.format != FORMAT:
        raise LinceError(f"{str(path)!r} is of format {results.format}. Expected {FORMAT}: choose another --json.")
    return results


def write(path: Path, results: Results) -> None:
    """Replaces the file."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(results), indent=1))


class Difference(NamedTuple):
    """Lince's accuracy minus a baseline's, and its standard error, both as shares."""

    value: float
    error: float

    @property
    def is_below(self) -> bool:
        """Lince is worse by more than one standard error."""
        return self.value < -self.error


def difference(pairs: Sequence[tuple[Sequence[str], str, str]]) -> Difference:
    """The paired difference of accuracies over all seeds.

    An image that several seeds were tested on counts as one observation of several answers, since they are not
    independent. For one seed this is the standard error of the difference of two paired binomial shares. As in
    `metrics.paired_difference`, one image is added to each kind of disagreement for the standard error: otherwise a
    single image that one of the two has wrong would be more than one standard error.

    Args:
        pairs: for each seed the names of the test images, and the right answers of Lince and of the baseline to them.

    Source: Cameron and Miller 2015, J. Hum. Resour. 50:317, the variance for clustered observations; Bonett and Price
        2012, J. Educ. Behav. Stat. 37:479, the added images.
    """
    differences = defaultdict(list)
    for names, first, second in pairs:
        for name, ours, theirs in zip(names, first, second, strict=True):
            differences[name].append(int(ours) - int(theirs))
    of_images = list(differences.values())
    value, _ = _clustered(of_images)
    return Difference(value, _clustered([*of_images, [1] * len(pairs), [-1] * len(pairs)])[1])


def _clustered(clusters: list[list[int]]) -> tuple[float, float]:
    """The mean of all numbers, and its standard error where those of a cluster depend on one another."""
    count = sum(map(len, clusters))
    mean = sum(map(sum, clusters)) / count
    return mean, sum((sum(cluster) - mean * len(cluster)) ** 2 for cluster in clusters) ** 0.5 / count


def accuracy(right: str) -> float:
    """The share of right answers."""
    return right.count("1") / len(right)


def table(results: Results) -> str:
    """A Markdown table with a line for each set, in the order of the results."""
    names = list(dict.fromkeys(name for one in results.results for name in one.baselines))
    head = ["set", "classes", "train, test", "Lince, int8 %", "seconds", "peak GB", "latency ms", *names]
    head += ["best baseline", "Lince − best, points", "verdict"]
    sets = dict.fromkeys(one.data for one in results.results)
    rows = [_row([one for one in results.results if one.data == data], names) for data in sets]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(of_set: list[Result], names: list[str]) -> list[str]:
    first = of_set[0]
    fits = {name: [one for one in of_set if name in one.baselines] for name in names}
    means = {
        name: statistics.mean(accuracy(one.baselines[name].right) for one in fitted)
        for name, fitted in fits.items()
        if fitted
    }
    best = max(means, key=lambda name: means[name], default=None)
    differences = {name: _against(fitted, name) for name, fitted in fits.items()}
    found = differences.get(best)
    return [
        first.data,
        str(first.classes),
        f"{len(first.train):,}, {len(first.test):,}",
        *_of_lince(of_set),
        *(f"{100 * means[name]:.1f}" if name in means else "–" for name in names),
        f"{best} {100 * means[best]:.1f}" if best else "–",
        f"{100 * found.value:+.1f} ± {100 * found.error:.1f}" if found else "–",
        _verdict(of_set, differences),
    ]


def _of_lince(of_set: list[Result]) -> list[str]:
    """Accuracy, seconds, memory and latency, each the mean of the seeds with its spread, or the highest."""
    runs = [one.lince for one in of_set if one.lince]
    if not runs:
        return ["–"] * 4
    return [
        _mean_and_spread([100 * accuracy(run.right) for run in runs], ".1f"),
        _mean_and_spread([run.seconds for run in runs], ".0f"),
        f"{max(run.peak_bytes for run in runs) / 1e9:.2f}",
        _mean_and_spread([run.latency_us / 1000 for run in runs], ".2f"),
    ]


def _mean_and_spread(values: list[float], digits: str) -> str:
    """The mean, and the sample's standard deviation where there are several values."""
    mean = format(statistics.mean(values), digits)
    return f"{mean} ± {format(statistics.stdev(values), digits)}, n = {len(values)}" if len(values) > 1 else mean


def _against(fitted: list[Result], name: str) -> Difference | None:
    pairs = [(one.test, one.lince.right, one.baselines[name].right) for one in fitted if one.lince]
    return difference(pairs) if pairs else None


def _verdict(of_set: list[Result], differences: dict[str, Difference | None]) -> str:
    failed = [str(one.seed) for one in of_set if one.failed]
    if failed:
        return f"**no model** of seed {', '.join(failed)}"
    if not any(differences.values()):
        return "–"
    below = [name for name, found in differences.items() if found and found.is_below]
    return f"**below** {', '.join(below)}" if below else "ok"
