"""The recipe's `[augment]` table: which augmentations are applied, and how strongly."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from lince.schema import Share


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
