"""Golden images are drawn from a seed, look like pictures, and fit any size."""

import hashlib

import numpy as np
import pytest

from lince.model_file import golden_images
from lince.types import ImageSpec


class TestDrawImages:
    @pytest.mark.parametrize("spec", [ImageSpec(), ImageSpec(8, 8), ImageSpec(20, 48)])
    def test_shape(self, spec):
        """32 pictures of the size asked for."""
        images = golden_images.draw_images(spec, seed=0)
        assert (golden_images.COUNT, *spec.shape) == images.shape
        assert np.uint8 == images.dtype

    def test_same_seed_same_bytes(self):
        """The drawing depends on the seed, and on nothing else."""
        digest = hashlib.sha256(golden_images.draw_images(ImageSpec(), seed=0).tobytes()).hexdigest()
        assert digest == hashlib.sha256(golden_images.draw_images(ImageSpec(), seed=0).tobytes()).hexdigest()
        assert digest != hashlib.sha256(golden_images.draw_images(ImageSpec(), seed=1).tobytes()).hexdigest()

    def test_all_pictures_differ(self):
        """Each of the 32 asks something else, and none is a single colour."""
        images = golden_images.draw_images(ImageSpec(), seed=0)
        assert golden_images.COUNT == len({image.tobytes() for image in images})
        flat = images.reshape(golden_images.COUNT, -1, 3)
        assert (flat.max(1) > flat.min(1)).any(1).all()

    def test_pixels_use_the_whole_range(self):
        """Dark and bright pixels occur, so that saturation would be seen."""
        images = golden_images.draw_images(ImageSpec(), seed=0)
        assert images.min() < 10
        assert images.max() > 245

    def test_kinds_take_turns(self):
        """A gradient has many colours, a disc two, stripes many, and coarse noise is made of square cells."""
        gradient, disc, stripes, _ = golden_images.draw_images(ImageSpec(), seed=0)[:4]
        colours = [len(np.unique(image.reshape(-1, 3), axis=0)) for image in (gradient, disc, stripes)]
        assert 2 == colours[1]
        assert min(colours[0], colours[2]) > 20
