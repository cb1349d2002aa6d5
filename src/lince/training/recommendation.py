"""The recipe for a source whose user named none, from a look at its pictures. `trial.py` decides between two."""

from dataclasses import dataclass

from lince.data.overview import Overview
from lince.training import recipes
from lince.training.advice import suited_batch

DEFAULT = "default"

# With so many small training images of a class, a network trained from scratch is as accurate as a pretrained one. With
# all of CIFAR-10, EfficientNet-Lite0 was fine-tuned to 91.3 % of 10,000 test images, and `default` had 91.2 % (n = 1).
# Of large pictures `default` would see 32 × 32 pixels. No set of many large pictures was at hand to measure with.
_ENOUGH = 1000

# `default` reads pictures at 32 × 32, `photos-scratch` at 96 × 96. The border lies between, nearer to the cheaper one.
_LARGE_SIDE = 64

# The most images of a batch from scratch where there are few. With 1,920 digits `default` was right for 99.6 % of 480
# validation images after 8 epochs in batches of 64, and for 99.0 % after 46 epochs in batches of 240 (n = 1).
_SMALL_BATCH = 64

# From scratch with few images: so many steps in small batches, in no fewer epochs than these.
_ENOUGH_STEPS, _FEWEST_FROM_SCRATCH = 1000, 16

# Fine-tuning by the number n of training images. Larger images are more accurate, also where the pictures are smaller:
# with 20 pictures of 32 × 32 a class, 75 % of 1,000 test images at 192 × 192 against 73 % at 128 × 128 (float, three
# seeds). 192 × 192 takes 1.4 times as long as 160 × 160, needs more than 2 GB, and was not shown to be better. The
# validation loss no longer changes in the last third of the epochs (500 and 708 images, three seeds each).
_SIDE, _UP_TO, _SIDE_OF_MANY = 160, 3000, 128
_EPOCHS, _AT, _POWER, _FEWEST = 14, 200, -0.3, 4
_SHIFT = 3 / 32  # of the image's side
_TIME_FOR_LARGE = 180  # seconds of a time budget

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


def recommend(seen: Overview, *, seconds: float | None = None) -> Recommendation:
    """The recipe for a source, by the number, the colour and the size of its pictures, and by a time budget."""
    photos, scratch = _photos(seen, seconds), _from_scratch(seen, seconds)
    count = f"{seen.per_class:,.0f} training images a class"
    if seen.is_grey:
        return Recommendation(photos, scratch, f"the pictures are grey, with {count}", is_tried=True)
    if seen.per_class < _ENOUGH:
        return Recommendation(photos, scratch, f"the pictures are in colour, with {count}")
    if seen.side >= _LARGE_SIDE:
        return Recommendation(photos, scratch, f"the pictures are in colour and large, with {count}")
    return Recommendation(Candidate(DEFAULT), photos, f"there are {count}")


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


def _photos(seen: Overview, seconds: float | None) -> Candidate:
    """The pretrained network, with an image size and a number of epochs for so many images. A time budget has its own.

    A head on the features cannot decide about mirror images: to it, digits and mirrored digits are equally good
    (docs/experiments.md). So their colour does.
    """
    has_time = seconds is None or seconds >= _TIME_FOR_LARGE
    side = _SIDE if has_time and seen.num_train <= _UP_TO else _SIDE_OF_MANY
    epochs = max(_FEWEST, round(_EPOCHS * (max(1, seen.num_train) / _AT) ** _POWER))
    given = () if seconds is not None else (f"train.epochs={epochs}",)
    return Candidate(
        "photos", (f"image_size={side}", f"augment.translate={round(_SHIFT * side)}", *given, *_unmirrored(seen))
    )


def _unmirrored(seen: Overview) -> tuple[str, ...]:
    """Grey pictures are not mirrored: they are mostly digits, letters, drawings and scans."""
    return ("augment.horizontal_flip=none",) if seen.is_grey else ()


def _from_scratch(seen: Overview, seconds: float | None) -> Candidate:
    """The network from scratch for pictures of this size. With few images it takes small batches.

    At least 15 % of few images are held out, as `photos-scratch` does: a twentieth is too few to calibrate with.
    """
    unmirrored = _unmirrored(seen)
    if seen.side >= _LARGE_SIDE:
        return Candidate("photos-scratch", unmirrored)
    if seen.per_class >= _ENOUGH:
        return Candidate(DEFAULT, unmirrored)
    options = recipes.load(DEFAULT).train
    batch = min(_SMALL_BATCH, suited_batch(options, seen.num_train))
    epochs = max(_FEWEST_FROM_SCRATCH, min(options.epochs, _ENOUGH_STEPS * batch // max(1, seen.num_train)))
    given = () if seconds is not None else (f"train.epochs={epochs}",)
    return Candidate(DEFAULT, (*unmirrored, "train.validation_fraction=0.15", f"train.batch_size={batch}", *given))
