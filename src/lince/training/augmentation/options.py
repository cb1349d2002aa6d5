"""The recipe's `[augment]` table: which augmentations are applied, and how strongly."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from lince.schema import Share


class Augment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Random changes of training images, drawn each time that an image is used.

    Attributes:
        rotation_degrees: rotation by up to this many degrees in both directions.
        zoom: enlargement or reduction by up to this share.
        translate: shift by up to this many pixels in each direction. The picture mirrored at its edge fills the space
            left.
        horizontal_flip: `random` mirrors half of the images in each epoch. `alternating` mirrors each image in every
            second epoch, so that two epochs show each image in both ways (Jordan 2024, arXiv:2404.00498).
        cutout: side, pixels, of a square that is painted into the image in its mean colour, at a random place (DeVries
            & Taylor 2017, arXiv:1708.04552); 0 for none.
        cutmix: share of the images in which a rectangle, and the same share of the target, comes from another image
            (Yun et al. 2019, arXiv:1905.04899).
        teacher_translate: the teacher answers for another view of the picture, shifted by up to this many pixels in
            each direction. Unless `horizontal_flip` is `none`, half of the views are mirrored, too. Over the steps the
            network learns the mean of the teacher's answers for such views. With 0 the teacher answers for the picture
            that the network sees. It cannot be combined with `train.teacher_cached`.
        degraded: share of the images that are blurred. Another random share of the same size is faded, and a third one
            gets noise. A teacher answers for the picture before that.
        blur: the largest standard deviation of the Gaussian blur, pixels; 0.2 or less changes nothing.
        fade: the largest share of the contrast that fading takes away.
        noise: the largest standard deviation of the noise, grey levels of 255, drawn for each pixel and channel.
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
