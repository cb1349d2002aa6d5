"""The recipe for a source whose user named none, from a look at its pictures. `trial.py` decides between two."""

from dataclasses import dataclass

from lince.data.overview import Overview
from lince.training import recipes
from lince.training.advice import suited_batch

DEFAULT = "default"

# With so many training images of a class, a network trained from scratch is as accurate as a pretrained one. With all
# of CIFAR-10, EfficientNet-Lite0 was fine-tuned to 91.3 % of 10,000 test images, and `default` had 91.2 % (n = 1).
_ENOUGH = 1000

# `default` reads pictures at 32 × 32, `photos-scratch` at 96 × 96. The border lies between, nearer to the cheaper one.
_LARGE_SIDE = 64

# The most images of a batch from scratch where there are few. With 1,920 digits `default` was right for 99.6 % of 480
# validation images after 8 epochs in batches of 64, and for 99.0 % after 46 epochs in batches of 240 (n = 1).
_SMALL_BATCH = 64

# The share of a head's mistakes that fine-tuning is expected to leave. It left 88 % (icons), 73 % (emoji), 71 %
# (20 images a class of CIFAR-10), 51 % (200 images a class) and 21 % (300 digits a class); float networks, n = 1.
_LEFT_BY_FINE_TUNING = 0.5

# The share of a time budget that the trial of a network from scratch may take, and the fewest seconds in which it can
# show anything: building and tracing the network takes some of them.
_SHARE_OF_TRIAL, _LEAST_TRIAL_SECONDS = 1 / 6, 20


@dataclass(frozen=True)
class Candidate:
    """A recipe that ships, with overrides that suit the source."""

    name: str
    overrides: tuple[str, ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        """The options of `lince train` that name it."""
        return ("--recipe", self.name, *(f"--set={override}" for override in self.overrides))


@dataclass(frozen=True)
class Recommendation:
    """Which recipe to use for a source.

    Attributes:
        chosen: the recipe to use, unless a trial finds that `other` is better.
        other: the alternative.
        why: the property of the images that decides, as part of a sentence.
        is_tried: the property does not decide: a trial should, where there is time for it.
    """

    chosen: Candidate
    other: Candidate
    why: str
    is_tried: bool = False


def recommend(seen: Overview) -> Recommendation:
    """The recipe for a source, by the number, the colour and the size of its pictures."""
    scratch, count = _from_scratch(seen), f"{seen.per_class:,.0f} training images a class"
    if seen.is_grey:
        return Recommendation(Candidate("photos"), scratch, f"the pictures are grey, with {count}", is_tried=True)
    if seen.per_class < _ENOUGH:
        return Recommendation(Candidate("photos"), scratch, f"the pictures are in colour, with {count}")
    return Recommendation(Candidate(DEFAULT), Candidate("photos"), f"there are {count}")


def trial_seconds(budget: float) -> float | None:
    """The seconds of a time budget in which a trial may train; None where they are too few for one."""
    seconds = _SHARE_OF_TRIAL * budget
    return seconds if seconds >= _LEAST_TRIAL_SECONDS else None


def prefers_scratch(*, head: float, scratch: float) -> bool:
    """Whether a network from scratch is preferred to a pretrained one, by their accuracies in a trial.

    Args:
        head: of a linear head on the pretrained network's features, before fine-tuning, 0 to 1.
        scratch: of the network from scratch, 0 to 1.
    """
    return 1 - scratch < _LEFT_BY_FINE_TUNING * (1 - head)


def _from_scratch(seen: Overview) -> Candidate:
    """The network from scratch for pictures of this size. With few images it takes small batches.

    Grey pictures are not mirrored: they are mostly digits, letters, drawings and scans. At least 15 % of few images are
    held out, as `photos-scratch` does: a twentieth is too few to calibrate with.
    """
    unmirrored = ("augment.horizontal_flip=none",) if seen.is_grey else ()
    if seen.side >= _LARGE_SIDE:
        return Candidate("photos-scratch", unmirrored)
    if seen.per_class >= _ENOUGH:
        return Candidate(DEFAULT, unmirrored)
    batch = min(_SMALL_BATCH, suited_batch(recipes.load(DEFAULT).train, seen.num_train))
    return Candidate(DEFAULT, (*unmirrored, "train.validation_fraction=0.15", f"train.batch_size={batch}"))
