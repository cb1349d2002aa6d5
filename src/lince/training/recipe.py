"""A recipe: every hyper-parameter of an experiment, declared once. `recipes.py` reads it from a file.

Each table of a recipe is declared beside the code that reads it: `[model]` in `networks/`, `[augment]` in
`augmentation/`, `[quantize]` in `quantization/`, `[calibrate]` in `calibration.py`. `[train]` and the rules
between tables are here.
"""

import math
from typing import Annotated, Literal

from msgspec import Meta, Struct

from lince.calibration import Calibrate
from lince.networks.families import Model
from lince.quantization.options import Quantize
from lince.schema import Count, Share
from lince.training.augmentation.options import Augment
from lince.types import ComputeDtype, ImageSpec, ResizeRule

Precision = Literal["auto", ComputeDtype]

# The most pixels of a step. They take 0.8 GB before the first layer, and 17 GB after one with 64 channels. Shipped
# recipes have 1.2 million pixels in a step.
_MOST_PIXELS = 2**26

# The largest network. A float network is exported to a flatbuffer, whose 32-bit offsets reach 2 GB: 2²⁹ weights.
# Keras built 402 layers of `resnet` in 7 s on two busy cores, so 2,000 take about half a minute.
_MOST_WEIGHTS, _MOST_LAYERS = 2**29, 2000


class Phase(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the training that uses smaller images.

    Attributes:
        until: the share of all steps at which it ends.
        image_size: height and width, pixels, to which images are resized after augmentation.
    """

    until: Annotated[float, Meta(gt=0, lt=1)]
    image_size: Annotated[int, Meta(ge=8, le=1024)]


class Train(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The training loop.

    Attributes:
        epochs: at most this many passes over the training images.
        batch_size: the most images in a step. An epoch is divided into steps of equal size.
        validate_every: epochs from one validation to the next. A checkpoint and a row of the history follow each
            validation, and the last epoch always has one. Raise it for a few hundred images, where validation would
            cost more than the steps.
        optimizer: the name of a Keras optimizer, or `muon`: orthogonalised steps for convolutions that batch norm
            follows (Jordan et al. 2024).
        learning_rate: the step size at the start.
        schedule: of the step size: `constant`, or falling to 0 at the last step, along a line (`linear`) or half a
            cosine wave (`cosine`). `warm_cosine` rises in the first tenth: for weights that are trained already.
        label_smoothing: the share of each target that is spread over all classes (Szegedy et al. 2016,
            arXiv:1512.00567).
        class_balance: an image of a class of n images has a weight proportional to n to the power of minus this. The
            mean weight is 1, the largest 10. With 0 every image has the same weight, with 1 every class.
        phases: parts of the training with smaller images, which cost less. After the last, images have `image_size`.
        teacher_weight: with a teacher, the share of the target that is its answer. The rest is the label.
        teacher_temperature: the teacher's logits are divided by it (Hinton et al. 2015, arXiv:1503.02531).
        teacher_cached: the teacher answers once for each training image, instead of in each step for the picture that
            the network sees. The target is the mean of its logits for three views: the image, and the image shifted by
            one pixel each way. Unless `horizontal_flip` is `none`, their mirror images are used, too.
        validation_fraction: share of the training images held out, stratified.
        patience: stop when `val_loss` has not improved for this many validations in a row, and keep the best weights. 0
            trains to the last epoch and keeps its weights, which suits a schedule that falls to 0.
        precision: of the arithmetic. `auto` is bfloat16 on TensorFlow if the processor has instructions for it, else
            float32.
    """

    epochs: Count
    batch_size: Count
    learning_rate: Annotated[float, Meta(gt=0)]
    validate_every: Count = 1
    optimizer: str = "adam"
    schedule: Literal["constant", "linear", "cosine", "warm_cosine"] = "constant"
    label_smoothing: Share = 0.0
    class_balance: Annotated[float, Meta(ge=0, le=1)] = 0.0
    phases: tuple[Phase, ...] = ()
    teacher_weight: Annotated[float, Meta(ge=0, le=1)] = 0.9
    teacher_temperature: Annotated[float, Meta(gt=0)] = 1.0
    teacher_cached: bool = False
    validation_fraction: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    patience: Annotated[int, Meta(ge=0)] = 0
    precision: Precision = "auto"

    def steps_per_epoch(self, images: int) -> int:
        """Steps in an epoch of this many images. Batches differ by one image at most; none exceeds `batch_size`."""
        return max(1, math.ceil(images / self.batch_size))

    def __post_init__(self) -> None:
        ends = [phase.until for phase in self.phases]
        if ends != sorted(set(ends)):
            raise ValueError(
                f"train.phases end at {ends}. Expected shares in rising order: let each phase end after the one before"
            )


class Recipe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One experiment.

    Attributes:
        name: of the recipe and of its run folder.
        image_size: height and width to which images are resized, pixels.
        fit: how a picture that is not square becomes one: `crop` cuts out the centre, `pad` keeps the whole picture and
            fills the rest with grey, `stretch` ignores the proportions.
    """

    name: str
    image_size: Annotated[int, Meta(ge=8, le=1024)] = 32
    fit: ResizeRule = "crop"
    model: Model
    augment: Augment = Augment()
    train: Train
    quantize: Quantize = Quantize()
    calibrate: Calibrate = Calibrate()

    @property
    def spec(self) -> ImageSpec:
        """Size and shape of the images that the network reads."""
        return ImageSpec(self.image_size, self.image_size, self.fit)

    def __post_init__(self) -> None:
        """Raises ValueError where two values contradict each other. The message starts with the first key."""
        self._check_sizes()
        self._check_family()
        if self.train.teacher_cached and self.augment.teacher_translate:
            raise ValueError(
                f"augment.teacher_translate = {self.augment.teacher_translate} with train.teacher_cached = true. "
                "Expected one of them, since a cached teacher cannot answer for views that are drawn in each step: set "
                "the first to 0, or the second to false"
            )
        for key in ("translate", "cutout", "teacher_translate"):
            pixels = getattr(self.augment, key)
            if pixels >= self.image_size:
                raise ValueError(
                    f"augment.{key} = {pixels}. Expected less than image_size = {self.image_size}, so that a part of "
                    "the image is left"
                )

    def _check_sizes(self) -> None:
        sizes = {"image_size": self.image_size}
        sizes |= {f"train.phases[{place}].image_size": one.image_size for place, one in enumerate(self.train.phases)}
        for key, size in sizes.items():
            if size > self.image_size:
                raise ValueError(f"{key} = {size}. Expected at most image_size = {self.image_size}")
            if size < self.model.smallest_image:
                raise ValueError(
                    f"{key} = {size}. Expected at least {self.model.smallest_image}, since the network halves smaller "
                    "images to nothing: use fewer blocks or stages, or larger images"
                )
        if self.train.batch_size * self.image_size**2 > _MOST_PIXELS:
            raise ValueError(
                f"train.batch_size = {self.train.batch_size}. Expected at most {_MOST_PIXELS // self.image_size**2} "
                f"for images of {self.image_size} × {self.image_size} pixels"
            )
        weights = self.model.kernel_sizes(self.image_size)
        if len(weights) > _MOST_LAYERS:
            raise ValueError(f"model has {len(weights):,} layers. Expected at most {_MOST_LAYERS:,}: use fewer")
        if sum(weights) > _MOST_WEIGHTS:
            received, most = f"{sum(weights):.3g}", f"{_MOST_WEIGHTS:,}"
            raise ValueError(f"model has {received} weights. Expected at most {most}: use fewer or smaller layers")

    def _check_family(self) -> None:
        family = type(self.model).__name__.lower()
        if self.train.phases and not self.model.takes_any_size:
            raise ValueError(
                f"train.phases with model.family = {family!r}. Expected none, since a network of this family takes "
                "images of one size: leave them out"
            )
        if self.train.optimizer.lower() == "muon" and not self.model.has_batch_norm:
            raise ValueError(
                f"train.optimizer = {self.train.optimizer!r} with model.family = {family!r}. Expected another "
                "optimizer such as 'adam': Muon rescales kernels, which only a batch norm undoes, and this family has "
                "none"
            )
