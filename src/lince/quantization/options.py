"""The `[quantize]` table of a recipe."""

from typing import Annotated

from msgspec import Meta, Struct


class Quantize(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Static int8.

    Attributes:
        calibration_images: training images, stratified and seeded, from which activation ranges are read.
        max_drop_points: the most accuracy that int8 may lose, percentage points. Publishing is refused when the paired
            interval shows a larger loss, or when the measured loss exceeds this, 5 points and 3 images.
    """

    calibration_images: Annotated[int, Meta(ge=1)] = 1000
    max_drop_points: Annotated[float, Meta(ge=0, le=100)] = 0.5
