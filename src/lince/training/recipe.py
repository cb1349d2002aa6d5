"""Recipes: every hyper-parameter of an experiment, declared once; `recipes.py` reads them.

A recipe has five tables. `[model]` names a family of `networks/families.py` and its sizes, `[augment]` what happens to
training images, `[train]` the loop, `[quantize]` and `[calibrate]` what follows.
"""

import math
from typing import Annotated, Literal

from msgspec import Meta, Struct

from lince.model_file.manifest import RangeMethod
from lince.types import ComputeDtype, ImageSpec, ResizeRule

Positive = Annotated[int, Meta(ge=1)]
Channels = Annotated[tuple[Positive, ...], Meta(min_length=1)]
Share = Annotated[float, Meta(ge=0, lt=1)]
Precision = Literal["auto", ComputeDtype]


class Vgg(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="family", tag="vgg"):
    """Blocks of 3×3 convolutions with ReLU, each closed by max pooling and dropout; then dense layers.

    Attributes:
        blocks: channels of each convolution, a list per block.
        block_dropout: dropout rate after each block.
        dense: units of the hidden dense layers.
        dense_dropout: dropout rate after each hidden dense layer.
        initializer: a Keras initialiser's name; `he_normal` keeps the variance through ReLU (He et al. 2015).
    """

    blocks: tuple[tuple[Positive, ...], ...]
    block_dropout: tuple[Share, ...]
    dense: tuple[Positive, ...]
    dense_dropout: Share
    initializer: str = "he_normal"

    def __post_init__(self) -> None:
        if len(self.blocks) != len(self.block_dropout):
            raise ValueError(
                f"{len(self.blocks)} blocks but {len(self.block_dropout)} values in block_dropout; "
                "give one rate per block"
            )

    @property
    def smallest_image(self) -> int:
        """Height and width, pixels, of which every block's pooling leaves one."""
        return 2 ** len(self.blocks)


class Pooled(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="family", tag="pooled"):
    """A whitening stem, stages of 3×3 convolutions with batch norm and ReLU, global max pooling: quick to train.

    Attributes:
        stem: filters of the 2×2 stem, an even number up to 24: the leading principal directions of 2×2 patches of the
            training images, scaled to equal variance, and their negatives; of the stem, biases alone are trained.
        stem_floor: added to the variance of each direction before it is scaled, in units of the variance of a pixel's
            value: the smaller, the more is made of detail that the training images hardly have.
        stages: channels of each convolution, a list per stage; the first of each is followed by 2×2 max pooling.
        shortcut: add the output of a stage's first convolution to that of its last, where it has three or more.
        dropout: rate before the dense layer.
    """

    stem: Annotated[int, Meta(ge=2, le=24, multiple_of=2)] = 24
    stem_floor: Annotated[float, Meta(gt=0)] = 5e-4
    stages: Annotated[tuple[Channels, ...], Meta(min_length=1)]
    shortcut: bool = False
    dropout: Share = 0.0

    def __post_init__(self) -> None:
        for number, channels in enumerate(self.stages, 1):
            if self.shortcut and len(channels) > 2 and channels[0] != channels[-1]:
                raise ValueError(
                    f"stage {number} begins with {channels[0]} channels and ends with {channels[-1]}, which a shortcut "
                    "cannot add; make them equal, or set shortcut to false"
                )

    @property
    def smallest_image(self) -> int:
        """Height and width, pixels, of which every stage's pooling leaves one; the stem takes a pixel off."""
        return 2 ** len(self.stages) + 1


class ResNet(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="family", tag="resnet"):
    """Stages of basic blocks, two 3×3 convolutions with batch norm beside a shortcut (He et al. 2015); average pooling.

    Attributes:
        stages: channels of each stage; every stage but the first halves height and width by its first convolution.
        blocks: basic blocks in each stage.
    """

    stages: Channels
    blocks: Positive = 1

    @property
    def smallest_image(self) -> int:
        """Any: its convolutions round half a pixel up."""
        return 1


Model = Vgg | Pooled | ResNet


class Augment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to training images, drawn anew each time that an image is shown.

    Attributes:
        rotation_degrees: up to this many degrees either way.
        zoom: up to this share larger or smaller.
        translate: shift by up to this many pixels each way; what comes in is the picture mirrored at its edge.
        horizontal_flip: `random` mirrors half of the images in each turn through all of them; `alternating` mirrors
            each image in every other turn, so that two show all of them both ways round (Jordan 2024,
            arXiv:2404.00498).
        cutout: side, pixels, of a square painted in the image's mean colour somewhere in it (DeVries & Taylor 2017,
            arXiv:1708.04552); 0 for none.
        cutmix: share of the images of which a rectangle is that of another image, and as much of the target (Yun et al.
            2019, arXiv:1905.04899).
        teacher_translate: with a teacher, it is asked about the picture shifted anew by up to this many pixels each way
            and, unless `horizontal_flip` is `none`, mirrored for half of the images: over the steps the network learns
            the mean of what the teacher says of such views. 0 shows it the picture that the network sees. Not with
            `train.teacher_cached`.
        degraded: share of the images that are blurred; as large a share, drawn on its own, is faded, and another made
            noisy. A teacher answers for the picture as it was before.
        blur: of a blurred image, up to this standard deviation of a Gaussian, pixels; 0.2 or less changes nothing.
        fade: of a faded image, up to this share of the contrast is taken away.
        noise: of a noisy image, up to this standard deviation, grey levels of 255, each pixel and channel on its own.
    """

    rotation_degrees: Annotated[float, Meta(ge=0, le=180)] = 0.0
    zoom: Share = 0.0
    translate: Annotated[int, Meta(ge=0)] = 0
    horizontal_flip: Literal["none", "random", "alternating"] = "none"
    cutout: Annotated[int, Meta(ge=0)] = 0
    cutmix: Annotated[float, Meta(ge=0, le=1)] = 0.0
    teacher_translate: Annotated[int, Meta(ge=0)] = 0
    degraded: Annotated[float, Meta(ge=0, le=1)] = 0.0
    blur: Annotated[float, Meta(ge=0, le=10)] = 0.0
    fade: Share = 0.0
    noise: Annotated[float, Meta(ge=0, le=255)] = 0.0


class Phase(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the training on smaller images.

    Attributes:
        until: the share of all steps at which it ends.
        image_size: height and width, pixels, to which images are brought once they are augmented.
    """

    until: Annotated[float, Meta(gt=0, lt=1)]
    image_size: Annotated[int, Meta(ge=8, le=1024)]


class Train(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The loop.

    Attributes:
        epochs: at most this many.
        batch_size: images a step, about: an epoch is cut into equal parts.
        repeats: how often an epoch shows each image: more for a few hundred images, so that validation and checkpoints
            cost little beside the steps.
        optimizer: a Keras optimiser's name, or `muon`: orthogonalised steps for convolutions that batch norm follows
            (Jordan et al. 2024).
        learning_rate: its step size at the start, or after the warm-up.
        schedule: of the step size after the warm-up: `constant`, or falling step by step to 0 at the end, `linear` or
            as half a `cosine`.
        warmup: the share of all steps, at the beginning, in which the step size rises from 0.
        label_smoothing: the share of each target that is spread over all classes (Szegedy et al. 2016,
            arXiv:1512.00567).
        class_balance: images of a class that has n of them weigh as n to the power of minus this, 1 on average and at
            most 10: 0 counts every image alike, 1 every class.
        phases: smaller images to begin with, which cost less; then `image_size`.
        teacher_weight: with a teacher, the share of the target that is its answer; the label has the rest.
        teacher_temperature: by which the teacher's logits are divided (Hinton et al. 2015, arXiv:1503.02531).
        teacher_cached: ask the teacher once about each training image, and not in each step about the picture that is
            shown: the target is the mean of its logits for the image as it is, a pixel down and right, and a pixel up
            and left, and, unless `horizontal_flip` is `none`, for the mirror images of the three.
        validation_fraction: share of the training images held out, stratified.
        patience: stop when `val_loss` has not improved for this many epochs, and keep the best weights; 0 goes on to
            the last epoch and keeps its weights, which suits a schedule that falls to 0.
        replicate: which of several trainings alike: another number gives other weights to begin with, and another order
            and augmentation, but holds out the same images, so that `lince ensemble` can take the networks together.
        precision: of the arithmetic; `auto` is bfloat16 on TensorFlow where the processor computes in it, else float32.
    """

    epochs: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Meta(gt=0)]
    repeats: Positive = 1
    optimizer: str = "adam"
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: Share = 0.0
    label_smoothing: Share = 0.0
    class_balance: Annotated[float, Meta(ge=0, le=1)] = 0.0
    phases: tuple[Phase, ...] = ()
    teacher_weight: Annotated[float, Meta(ge=0, le=1)] = 0.9
    teacher_temperature: Annotated[float, Meta(gt=0)] = 2.0
    teacher_cached: bool = False
    validation_fraction: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    patience: Annotated[int, Meta(ge=0)] = 0
    replicate: Annotated[int, Meta(ge=0)] = 0
    precision: Precision = "auto"

    def steps_in_a_turn(self, images: int) -> int:
        """To see so many images once, in batches of one size but for one image, none above `batch_size`."""
        return max(1, math.ceil(images / self.batch_size))

    def __post_init__(self) -> None:
        ends = [phase.until for phase in self.phases]
        if ends != sorted(set(ends)):
            raise ValueError(
                f"phases end at {ends} of the training; put them in order, each ending after the one before"
            )


class Quantize(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Static int8.

    Attributes:
        calibration_images: training images, stratified and seeded, from which activation ranges are read.
        ranges: how they become a range: `min_max` holds all of them, `q99` and `q99.9` all values of so many per cent
            of the images, `moving_average` is the quantiser's own.
        max_drop_points: refuse to publish when the paired interval shows that int8 loses more accuracy than this, in
            percentage points; or when it was seen to lose more than this, more than 5 points and more than 3 images.
        fallback: what `--fallback` tries, in this order, when int8 loses more: `mixed` keeps the most sensitive layers
            in float, `int16` has activations of 16 bits, `dynamic` takes ranges from each image as it comes.
        max_float_layers: the most layers that `mixed` keeps in float.
    """

    calibration_images: Positive = 1000
    ranges: RangeMethod = "q99"
    max_drop_points: Annotated[float, Meta(ge=0, le=100)] = 0.5
    fallback: tuple[Literal["mixed", "int16", "dynamic"], ...] = ("mixed", "int16", "dynamic")
    max_float_layers: Annotated[int, Meta(ge=0)] = 4


class Calibrate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Honest probabilities, fitted on validation images through the int8 model.

    Attributes:
        coverage: share of images whose true class the prediction set should hold; 0.95 needs 19 validation images, 0.9
            needs 9, and with fewer there are no sets.
        abstain: share of validation images on which the model answers "I don't know".
    """

    coverage: Annotated[float, Meta(gt=0, lt=1)] = 0.95
    abstain: Share = 0.05


class Recipe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One experiment.

    Attributes:
        name: of the recipe, and of its run folder.
        image_size: height and width that images are brought to, pixels.
        fit: how pictures of other proportions become squares: `crop` cuts out the centre, `pad` keeps the whole picture
            and fills the rest with grey, `stretch` ignores the proportions.
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
        """The images that the recipe wants."""
        return ImageSpec(self.image_size, self.image_size, self.fit)

    def __post_init__(self) -> None:
        sizes = [*(phase.image_size for phase in self.train.phases), self.image_size]
        if min(sizes) < self.model.smallest_image:
            raise ValueError(
                f"the network halves images of {min(sizes)} pixels to nothing, it takes {self.model.smallest_image} or "
                "more; use fewer blocks or stages, or larger images"
            )
        if max(sizes) > self.image_size:
            raise ValueError(
                f"train.phases has images of {max(sizes)} pixels; use at most image_size={self.image_size}"
            )
        if self.train.phases and isinstance(self.model, Vgg):
            raise ValueError("family 'vgg' takes images of one size only; leave out train.phases")
        if self.train.optimizer.lower() == "muon" and isinstance(self.model, Vgg):
            raise ValueError(
                "optimizer 'muon' rescales kernels, which batch norm must undo, and family 'vgg' has none; "
                "use 'adam', or another family"
            )
        if self.train.teacher_cached and self.augment.teacher_translate:
            raise ValueError(
                "with train.teacher_cached a teacher is asked about fixed views, not about those that "
                f"augment.teacher_translate={self.augment.teacher_translate} draws; set one of them to false or 0"
            )
        for key in ("translate", "cutout", "teacher_translate"):
            reach = getattr(self.augment, key)
            if reach >= self.image_size:
                raise ValueError(
                    f"augment.{key}={reach} leaves nothing of images of {self.image_size} pixels; lower it"
                )
